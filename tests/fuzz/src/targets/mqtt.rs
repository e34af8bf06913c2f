//! What strangers send to the gateway's ports: MQTT in both versions, packet by packet and as a session, and queries
//! over HTTP.

use bytes::BytesMut;
use weir_gateway::mqtt::packet::Version;
use weir_gateway::mqtt::read::{MAX_PACKET, read, read_connect};

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
    let version = match read_connect(&mut stream) {
        Ok(Some((version, _))) => Some(version),
        Ok(None) | Err(_) => None,
    };
    for version in [version, Some(Version::V4), Some(Version::V5)].into_iter().flatten() {
        let mut stream = stream.clone();
        loop {
            let before = stream.len();
            match read(&mut stream, version, MAX_PACKET) {
                Ok(Some(_)) => assert!(stream.len() < before, "a packet takes bytes"),
                Ok(None) | Err(_) => break,
            }
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
    vec![("session.v4", v4.concat()), ("session.v5", v5.concat())]
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8], body].concat()
}
