//! What strangers send to the gateway's ports: MQTT in both versions, packet by packet and as a session, and queries
//! over HTTP.

use bytes::BytesMut;
use weir_gateway::mqtt::packet::{Packet, Publish, Subscribe, Version};
use weir_gateway::mqtt::read::{MAX_PACKET, read, read_connect};
use weir_gateway::mqtt::topic;
use weir_gateway::mqtt::tree::FilterTree;
use weir_gateway::mqtt::write::{AckKind, Message, Writer};

use crate::target::Target;

pub(super) const PACKETS: Target =
    Target { name: "mqtt", run, max_len: 4096, memory: 256 << 10, inputs: 100_000, seeds };

pub(super) const QUERY: Target = Target {
    name: "http",
    run: weir_gateway::http::fuzz::query,
    max_len: 1024,
    memory: 256 << 10,
    inputs: 200_000,
    seeds: || {
        vec![
            ("offset", b"/topics/readings/partitions/0/records?offset=18446744073709551615&limit=100".to_vec()),
            ("time", b"/topics/readings/partitions/3/records?time=2026-11-21T08:30:00.25%2B01:00&limit=1".to_vec()),
            ("tail", b"/topics/weir.loss/tail?offset=latest&partition=2".to_vec()),
            ("event-id", b"12,0,7,99".to_vec()),
        ]
    },
};

fn run(bytes: &[u8]) {
    weir_gateway::front::fuzz::mqtt(bytes);
    let mut stream = BytesMut::from(bytes);
    let connected = match read_connect(&mut stream) {
        Ok(Some((version, connect))) => {
            assert!(connect.receive_maximum > 0 && connect.max_packet > 0);
            assert!(connect.will.is_none_or(|will| topic::is_name(std::str::from_utf8(&will.topic).expect("UTF-8"))));
            Some(version)
        }
        Ok(None) | Err(_) => None,
    };
    for version in [connected, Some(Version::V4), Some(Version::V5)].into_iter().flatten() {
        packets(stream.clone(), version);
    }
}

/// Reads packet by packet; what was read holds to the rules of the standard, and is answered within what the client takes.
fn packets(mut stream: BytesMut, version: Version) {
    let mut tree = FilterTree::new(64);
    let mut out = BytesMut::new();
    loop {
        let before = stream.len();
        let Ok(Some(packet)) = read(&mut stream, version, MAX_PACKET) else { return };
        let taken = before - stream.len();
        assert!(taken > 0, "a packet takes bytes");
        out.clear();
        match packet {
            Packet::Publish(publish) => written_again(&publish, version, &mut out),
            Packet::Subscribe(subscribe) => subscribed(&subscribe, taken, &mut tree),
            Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.iter().for_each(|filter| drop(tree.remove(filter))),
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                let writer = Writer { version, reasons: true, max_packet: 4 + u32::from(ack.id) % 64 };
                writer.acknowledge_with(&mut out, AckKind::PubRec, ack.id, 0x97, "any sentence");
                assert!(ack.id > 0 && (out.len() <= writer.max_packet as usize || out.len() == 5));
            }
            Packet::Connect(_) | Packet::PingReq | Packet::Disconnect(_) | Packet::Auth => (),
        }
    }
}

/// A message that was read is one that may be sent on, and says the same there.
fn written_again(publish: &Publish, version: Version, out: &mut BytesMut) {
    let name = std::str::from_utf8(&publish.topic).expect("UTF-8");
    assert!(topic::is_name(name) || name.is_empty() && publish.alias.is_some());
    assert!(publish.alias != Some(0) && (publish.id > 0) == (publish.qos as u8 > 0));
    let message = Message {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: &publish.topic,
        id: publish.id,
        alias: publish.alias,
        payload: &publish.payload,
        expiry: publish.properties.expiry,
        forwarded: &publish.properties.forwarded,
        identifiers: &[],
    };
    let writer = Writer { version, reasons: true, max_packet: u32::MAX };
    writer.publish(out, &message).expect("room");
    let size = u32::try_from(out.len()).expect("a packet");
    let again = read(out, version, MAX_PACKET);
    assert_eq!(again, Ok(Some(Packet::Publish(Box::new(publish.clone())))));
    assert!(Writer { max_packet: size - 1, ..writer }.publish(out, &message).is_err() && out.is_empty());
}

/// Filters of a SUBSCRIBE find what they match, as one after the other does.
fn subscribed(subscribe: &Subscribe, taken: usize, tree: &mut FilterTree<String>) {
    assert!(subscribe.id > 0 && subscribe.identifier != Some(0) && !subscribe.filters.is_empty());
    assert!(subscribe.filters.len() <= taken / 3);
    for filter in subscribe.filters.iter().map(|filter| &filter.filter).filter(|filter| topic::is_filter(filter)) {
        // Over the limit, or too deep.
        let _ = tree.get_or_insert_with(filter, || filter.clone());
    }
    for name in subscribe.filters.iter().map(|filter| filter.filter.replace(['+', '#'], "x")) {
        if topic::is_name(&name) {
            tree.matching(&name, |filter| assert!(topic::matches(&name, filter), "{name} for {filter}"));
        }
    }
}

/// Sessions of both versions: CONNECT with a will, SUBSCRIBE, PUBLISH, PINGREQ, UNSUBSCRIBE, DISCONNECT.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let connect = |level: u8, properties: &[u8]| {
        let mut body = b"\x00\x04MQTT".to_vec();
        body.extend([level, 0x2e, 0, 30]);
        body.extend_from_slice(properties);
        body.extend_from_slice(b"\x00\x06edge-1");
        if level == 5 {
            body.push(0);
        }
        body.extend_from_slice(b"\x00\x1cweir/1/default/edge-1/status\x00\x02{}");
        packet(0x10, &body)
    };
    let publish = |property: &[u8]| {
        let body = [b"\x00\x1bweir/1/default/edge-1/batch\x00\x07", property, b"payload"].concat();
        packet(0x32, &body)
    };
    let subscribe = |property: &[u8]| {
        let body = [b"\x00\x01", property, b"\x00\x1dweir/1/default/edge-1/command\x01"].concat();
        packet(0x82, &body)
    };
    let unsubscribe = |property: &[u8]| {
        let body = [b"\x00\x02", property, b"\x00\x1dweir/1/default/edge-1/command"].concat();
        packet(0xa2, &body)
    };
    let ping = packet(0xc0, b"");
    let v4 = [connect(4, b""), subscribe(b""), publish(b""), ping.clone(), unsubscribe(b""), packet(0xe0, b"")];
    let properties = [0x21, 0, 20, 0x27, 0, 1, 0, 0, 0x17, 1];
    let with_length: Vec<u8> = [&[properties.len() as u8], properties.as_slice()].concat();
    let v5 = [
        connect(5, &with_length),
        subscribe(&[2, 0x0b, 7]),
        publish(&[3, 0x23, 0, 1]),
        ping,
        unsubscribe(&[0]),
        packet(0xe0, &[4, 0]),
    ];
    let rich = packet(0x3d, b"\x00\x01t\x00\x05\x22\x01\x01\x02\x00\x00\x00\x3c\x03\x00\x01c\x23\x00\x01\x08\x00\x01r\x09\x00\x02\x00\xff\x26\x00\x01k\x00\x01vpayload");
    let all = [
        packet(0x10, b"\x00\x04MQTT\x05\xce\x00\x1e\x05\x11\x00\x00\x0e\x10\x00\x01a\x05\x18\x00\x00\x00\x05\x00\x01w\x00\x00\x00\x01u\x00\x01p"),
        rich,
        packet(0x62, &[0, 5, 0x92, 0]),
        packet(0x82, b"\x00\x09\x02\x0b\x07\x00\x03t/+\x2e\x00\x01#\x01\x00\x0b$share/g/t/#\x00"),
        packet(0x50, &[0, 7, 0x97]),
        packet(0x70, &[0, 7]),
        packet(0xf0, &[0x18, 0]),
        packet(0xe0, &[0x04, 5, 0x11, 0, 0, 0, 9]),
    ];
    vec![("session.v4", v4.concat()), ("session.v5", v5.concat()), ("everything.v5", all.concat())]
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8], body].concat()
}
