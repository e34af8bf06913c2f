use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::*;
use crate::mqtt::packet::{Packet, QoS};
use crate::mqtt::read::{MAX_PACKET, read};

const PLAIN: Writer = Writer { version: Version::V4, reasons: false, max_packet: u32::MAX };
const FULL: Writer = Writer { version: Version::V5, reasons: true, max_packet: u32::MAX };

/// What another codec reads of a packet of MQTT 3.1.1.
fn v4(writer: Writer, write: impl FnOnce(Writer, &mut BytesMut)) -> v4::Packet {
    let mut out = BytesMut::new();
    write(writer, &mut out);
    let packet = v4::Packet::read(&mut out, 1 << 20).unwrap();
    assert!(out.is_empty());
    packet
}

/// What another codec reads of a packet of MQTT 5.
fn v5(writer: Writer, write: impl FnOnce(Writer, &mut BytesMut)) -> v5::Packet {
    let mut out = BytesMut::new();
    write(writer, &mut out);
    let packet = v5::Packet::read(&mut out, None).unwrap();
    assert!(out.is_empty());
    packet
}

fn bytes(writer: Writer, write: impl FnOnce(Writer, &mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(writer, &mut out);
    out.to_vec()
}

#[test]
fn a_client_learns_what_it_may_from_connack() {
    let ack = ConnAck {
        session_present: true,
        receive_maximum: 100,
        max_packet: MAX_PACKET as u32,
        topic_alias_maximum: 8,
        session_expiry: Some(60),
        assigned_client_id: Some("auto-1"),
        server_keep_alive: Some(30),
        response_information: Some("reply/"),
        user_property: Some(("weir", "0.1.0")),
    };
    let v5::Packet::ConnAck(read) = v5(FULL, |writer, out| writer.accepted(out, &ack).unwrap()) else { panic!() };
    let properties = read.properties.unwrap();
    assert!(read.session_present);
    assert_eq!((properties.receive_max, properties.max_packet_size), (Some(100), Some(MAX_PACKET as u32)));
    assert_eq!((properties.topic_alias_max, properties.session_expiry_interval), (Some(8), Some(60)));
    assert_eq!(properties.assigned_client_identifier.as_deref(), Some("auto-1"));
    assert_eq!((properties.server_keep_alive, properties.max_qos), (Some(30), None));
    assert_eq!(properties.response_information.as_deref(), Some("reply/"));
    assert_eq!(properties.shared_subscription_available, Some(0));
    assert_eq!(properties.wildcard_subscription_available, None);
    assert_eq!(properties.user_properties, [("weir".to_owned(), "0.1.0".to_owned())]);

    // [MQTT-3.2.2-20]: who takes no packet of that size gets the rest.
    let whole = bytes(FULL, |writer, out| writer.accepted(out, &ack).unwrap()).len() as u32;
    let tight = Writer { max_packet: whole - 1, ..FULL };
    let v5::Packet::ConnAck(read) = v5(tight, |writer, out| writer.accepted(out, &ack).unwrap()) else { panic!() };
    assert_eq!(read.properties.map(|properties| properties.user_properties), Some(Vec::new()));

    let v4::Packet::ConnAck(read) = v4(PLAIN, |writer, out| writer.accepted(out, &ack).unwrap()) else { panic!() };
    assert!(read.session_present && read.code == v4::ConnectReturnCode::Success);
    let small = Writer { max_packet: 12, ..FULL };
    let mut out = BytesMut::new();
    assert_eq!(small.accepted(&mut out, &ack), Err(TooLarge));
    assert!(out.is_empty());
}

#[test]
fn a_refusal_is_told_in_the_version_of_the_client() {
    assert_eq!(bytes(PLAIN, |writer, out| writer.refused(out, 5, "no")), [0x20, 2, 0, 5]);
    let v5::Packet::ConnAck(read) = v5(FULL, |writer, out| writer.refused(out, 0x87, "no")) else { panic!() };
    assert_eq!(read.code, v5::ConnectReturnCode::NotAuthorized);
    assert_eq!(read.properties.unwrap().reason_string.as_deref(), Some("no"));
    assert_eq!(bytes(PLAIN, |writer, out| writer.disconnect(out, 0x8b, "no")), b"", "3.1.1 servers just close");
    let v5::Packet::Disconnect(read) = v5(FULL, |writer, out| writer.disconnect(out, 0x8b, "no")) else { panic!() };
    assert_eq!(read.properties.unwrap().reason_string.as_deref(), Some("no"));
}

/// Sections 3.1.2.11.7 and 3.1.2.11.4: who asked for none gets them on CONNACK and DISCONNECT alone, and nobody where they
/// do not fit.
#[test]
fn reasons_are_told_to_those_who_want_them_and_where_they_fit() {
    let refused = |writer: Writer, out: &mut BytesMut| writer.acknowledge_with(out, AckKind::PubAck, 7, 0x99, "reason");
    let v5::Packet::PubAck(ack) = v5(FULL, refused) else { panic!() };
    assert_eq!((ack.pkid, ack.reason), (7, v5::PubAckReason::PayloadFormatInvalid));
    assert_eq!(ack.properties.unwrap().reason_string.as_deref(), Some("reason"));
    let quiet = Writer { reasons: false, ..FULL };
    assert_eq!(bytes(quiet, refused), [0x40, 3, 0, 7, 0x99]);
    assert_eq!(bytes(Writer { max_packet: 14, ..FULL }, refused), [0x40, 3, 0, 7, 0x99], "14 bytes do not hold it");
    assert_eq!(bytes(Writer { max_packet: 15, ..FULL }, refused).len(), 15);
    assert_eq!(bytes(PLAIN, refused), [0x40, 2, 0, 7]);
    let goodbye = |writer: Writer, out: &mut BytesMut| writer.disconnect(out, 0x8b, "reason");
    assert_eq!(bytes(quiet, goodbye).len(), 2 + 1 + 1 + 3 + 6);
    assert_eq!(bytes(Writer { max_packet: 4, ..quiet }, goodbye), [0xe0, 1, 0x8b]);
    let no = |writer: Writer, out: &mut BytesMut| writer.refused(out, 0x87, "reason");
    assert_eq!(bytes(Writer { max_packet: 5, ..FULL }, no), [0x20, 3, 0, 0x87, 0]);
}

#[test]
fn every_acknowledgement_is_read_by_another_codec() {
    let kinds = [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp];
    for kind in kinds {
        let pkid = match v5(FULL, |writer, out| writer.acknowledge(out, kind, 0x1234)) {
            v5::Packet::PubAck(ack) if kind == AckKind::PubAck => ack.pkid,
            v5::Packet::PubRec(ack) if kind == AckKind::PubRec => ack.pkid,
            v5::Packet::PubRel(ack) if kind == AckKind::PubRel => ack.pkid,
            v5::Packet::PubComp(ack) if kind == AckKind::PubComp => ack.pkid,
            other => panic!("{other:?}"),
        };
        assert_eq!(pkid, 0x1234);
        assert_eq!(bytes(PLAIN, |writer, out| writer.acknowledge(out, kind, 0x1234))[1..], [2, 0x12, 0x34]);
    }
}

#[test]
fn lists_of_codes_are_answered_in_each_version() {
    let subscribed = |writer: Writer, out: &mut BytesMut| writer.subscribed(out, 5, &[0, 1, 0x8f]).unwrap();
    assert_eq!(bytes(PLAIN, subscribed), [0x90, 5, 0, 5, 0, 1, 0x80], "3.1.1 has one failure");
    assert_eq!(bytes(FULL, subscribed), [0x90, 6, 0, 5, 0, 0, 1, 0x8f]);
    let unsubscribed = |writer: Writer, out: &mut BytesMut| writer.unsubscribed(out, 5, &[0, 0x11]).unwrap();
    assert_eq!(bytes(PLAIN, unsubscribed), [0xb0, 2, 0, 5], "3.1.1 has no codes");
    assert_eq!(bytes(FULL, unsubscribed), [0xb0, 5, 0, 5, 0, 0, 0x11]);
    assert!(matches!(v4(PLAIN, unsubscribed), v4::Packet::UnsubAck(ack) if ack.pkid == 5));
    let mut out = BytesMut::new();
    assert_eq!(Writer { max_packet: 6, ..FULL }.subscribed(&mut out, 5, &[0, 0, 0]), Err(TooLarge));
    assert!(out.is_empty());
    assert_eq!(bytes(FULL, |writer, out| writer.pong(out)), [0xd0, 0]);
}

#[test]
fn a_message_is_written_with_everything_that_belongs_to_it() {
    let message = Message {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: b"a/b",
        id: 9,
        alias: Some(4),
        payload: b"payload",
        expiry: Some(60),
        forwarded: b"\x01\x01\x26\x00\x01k\x00\x01v",
        identifiers: &[1, 300],
    };
    let v5::Packet::Publish(read) = v5(FULL, |writer, out| writer.publish(out, &message).unwrap()) else { panic!() };
    assert_eq!(
        (read.pkid, read.dup, read.retain, &read.topic[..], &read.payload[..]),
        (9, true, true, &b"a/b"[..], &b"payload"[..])
    );
    let properties = read.properties.unwrap();
    assert_eq!((properties.message_expiry_interval, properties.topic_alias), (Some(60), Some(4)));
    assert_eq!((properties.subscription_identifiers, properties.payload_format_indicator), (vec![1, 300], Some(1)));
    assert_eq!(properties.user_properties, [("k".to_owned(), "v".to_owned())]);

    let v4::Packet::Publish(read) = v4(PLAIN, |writer, out| writer.publish(out, &message).unwrap()) else { panic!() };
    assert_eq!(
        (read.pkid, read.dup, read.topic.as_str(), read.payload),
        (9, true, "a/b", Bytes::from_static(b"payload"))
    );
    let quiet = Message { qos: QoS::AtMostOnce, topic: b"a", payload: b"p", ..Message::default() };
    assert_eq!(bytes(FULL, |writer, out| writer.publish(out, &quiet).unwrap()), [0x30, 5, 0, 1, b'a', 0, b'p']);
    assert_eq!(bytes(PLAIN, |writer, out| writer.publish(out, &quiet).unwrap()), [0x30, 4, 0, 1, b'a', b'p']);
}

#[test]
fn a_message_that_is_larger_than_the_client_takes_is_not_written() {
    for (length, header) in [(100, 2), (200, 3), (20_000, 4)] {
        let payload = vec![7; length];
        let message = Message { topic: b"a", payload: &payload, ..Message::default() };
        let size = (header + 3 + 1 + length) as u32;
        let mut out = BytesMut::new();
        assert_eq!(Writer { max_packet: size - 1, ..FULL }.publish(&mut out, &message), Err(TooLarge));
        assert!(out.is_empty());
        Writer { max_packet: size, ..FULL }.publish(&mut out, &message).unwrap();
        assert_eq!(out.len() as u32, size);
    }
}

#[test]
fn what_is_written_is_read_back() {
    let properties = b"\x03\x00\x04text\x26\x00\x01k\x00\x01v";
    let message =
        Message { topic: b"a/b", payload: b"x", expiry: Some(1), forwarded: properties, ..Message::default() };
    let mut out = BytesMut::new();
    FULL.publish(&mut out, &message).unwrap();
    let Packet::Publish(back) = read(&mut out, Version::V5, MAX_PACKET).unwrap().unwrap() else { panic!() };
    assert_eq!(
        (&back.topic[..], &back.payload[..], &back.properties.forwarded[..]),
        (&b"a/b"[..], &b"x"[..], &properties[..])
    );
    assert_eq!(back.properties.expiry, Some(1));
}
