//! What reading a PUBLISH at QoS 1 and writing its PUBACK costs, beside the codec of rumqttc in the same alternating run.
//!
//! `cargo bench -p weir-gateway --bench codec`: packets of 200 B as they lie in one read of 64 KiB. Prints the best of
//! several rounds in nanoseconds a message.

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};
use rumqttc::v5::mqttbytes::v5;
use weir_gateway::mqtt::packet::{Packet, Version};
use weir_gateway::mqtt::read::{MAX_PACKET, read};
use weir_gateway::mqtt::write::{AckKind, Writer};

const ROUNDS: usize = 15;
const READS: usize = 400;

fn main() {
    for version in [Version::V4, Version::V5] {
        let (block, messages) = block(version);
        let mut best = [f64::INFINITY; 2];
        for _ in 0..ROUNDS {
            best[0] = best[0].min(round(&block, messages, |stream, out| own(stream, out, version)));
            best[1] = best[1].min(round(&block, messages, |stream, out| match version {
                Version::V4 => rumqttc_v4(stream, out),
                Version::V5 => rumqttc_v5(stream, out),
            }));
        }
        let [own, reference] = best;
        println!("{version:?}  own {own:.0} ns  rumqttc {reference:.0} ns  ratio {:.2}", reference / own);
    }
}

/// As many PUBLISHes as one read brings.
fn block(version: Version) -> (BytesMut, usize) {
    let (topic, payload) = ("weir/1/default/edge-1/batch", vec![7; 200]);
    let mut block = BytesMut::new();
    let mut messages = 0;
    while block.len() < 64 << 10 {
        messages += 1;
        match version {
            Version::V4 => {
                let publish = v4::Publish { pkid: 7, ..v4::Publish::new(topic, QoS::AtLeastOnce, payload.clone()) };
                publish.write(&mut block).expect("a packet");
            }
            Version::V5 => {
                let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
                let mut publish = v5::Publish::new(topic, qos, payload.clone(), None);
                publish.pkid = 7;
                publish.write(&mut block).expect("a packet");
            }
        }
    }
    (block, messages)
}

/// Nanoseconds a message.
fn round(block: &BytesMut, messages: usize, mut all: impl FnMut(&mut BytesMut, &mut BytesMut)) -> f64 {
    let mut streams: Vec<BytesMut> = (0..READS).map(|_| block.clone()).collect();
    let mut out = BytesMut::with_capacity(messages * 4);
    let start = Instant::now();
    for stream in &mut streams {
        all(stream, &mut out);
        out.clear();
    }
    start.elapsed().as_nanos() as f64 / (READS * messages) as f64
}

fn own(stream: &mut BytesMut, out: &mut BytesMut, version: Version) {
    let writer = Writer { version, reasons: true, max_packet: u32::MAX };
    while let Ok(Some(Packet::Publish(publish))) = read(stream, version, MAX_PACKET) {
        black_box((&publish.topic, &publish.payload));
        writer.acknowledge(out, AckKind::PubAck, publish.id);
    }
}

fn rumqttc_v4(stream: &mut BytesMut, out: &mut BytesMut) {
    while let Ok(v4::Packet::Publish(publish)) = v4::Packet::read(stream, MAX_PACKET) {
        black_box((&publish.topic, &publish.payload));
        v4::PubAck::new(publish.pkid).write(out).expect("room");
    }
}

fn rumqttc_v5(stream: &mut BytesMut, out: &mut BytesMut) {
    while let Ok(v5::Packet::Publish(publish)) = v5::Packet::read(stream, u32::try_from(MAX_PACKET).ok()) {
        black_box((&publish.topic, &publish.payload));
        v5::PubAck::new(publish.pkid, None).write(out).expect("room");
    }
}
