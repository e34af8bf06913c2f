use bytes::{BufMut, Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::*;
use crate::mqtt::packet::{Ack, Disconnect, QoS, RetainHandling, Version::*};

/// A packet of one first byte and what is behind the fixed header.
fn framed(first: u8, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::from(&[first][..]);
    let mut length = body.len();
    while length >= 0x80 {
        bytes.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.put_u8(length as u8);
    bytes.put_slice(body);
    bytes
}

fn body(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn code(version: Version, first: u8, parts: &[&[u8]]) -> u8 {
    let mut stream = framed(first, &body(parts));
    read(&mut stream, version, MAX_PACKET).expect_err("it is refused").fault.code()
}

fn good(version: Version, first: u8, parts: &[&[u8]]) -> Packet {
    let mut stream = framed(first, &body(parts));
    let packet = read(&mut stream, version, MAX_PACKET).unwrap().expect("it is all there");
    assert!(stream.is_empty());
    packet
}

fn connect(level: u8, flags: u8, behind: &[&[u8]]) -> BytesMut {
    framed(0x10, &body(&[b"\x00\x04MQTT", &[level, flags, 0, 30], &behind.concat()]))
}

fn connected(level: u8, flags: u8, behind: &[&[u8]]) -> Connect {
    *read_connect(&mut connect(level, flags, behind)).unwrap().expect("it is all there").1
}

fn connect_code(level: u8, flags: u8, behind: &[&[u8]]) -> (Version, u8) {
    let (version, malformed) = read_connect(&mut connect(level, flags, behind)).expect_err("it is refused");
    (version, malformed.fault.code())
}

#[test]
fn a_packet_is_taken_when_its_last_byte_is_there() {
    let whole = [
        framed(0x32, &body(&[&text("a/b"), &[0, 7], b"payload"])),
        framed(0x82, &body(&[&[0, 8], &text("a/#"), &[1]])),
        framed(0xc0, b""),
    ];
    for packet in whole {
        for cut in 0..packet.len() {
            let mut stream = BytesMut::from(&packet[..cut]);
            assert_eq!(read(&mut stream, V4, MAX_PACKET), Ok(None));
            assert_eq!(stream.len(), cut, "nothing is taken");
        }
        let mut stream = packet;
        stream.put_slice(b"\xc0");
        assert!(read(&mut stream, V4, MAX_PACKET).unwrap().is_some());
        assert_eq!(&stream[..], b"\xc0", "what follows stays");
    }
    let whole = connect(5, 0x02, &[&[0], &text("a")]);
    for cut in 0..whole.len() {
        assert_eq!(read_connect(&mut BytesMut::from(&whole[..cut])), Ok(None));
    }
}

#[test]
fn a_topic_and_a_payload_are_slices_of_what_was_read() {
    let mut stream = framed(0x32, &body(&[&text("a/b"), &[0, 7], b"payload"]));
    let there = stream.as_ptr() as usize..stream.as_ptr() as usize + stream.len();
    let Packet::Publish(publish) = read(&mut stream, V4, MAX_PACKET).unwrap().unwrap() else { panic!() };
    assert_eq!((&publish.topic[..], &publish.payload[..], publish.id), (&b"a/b"[..], &b"payload"[..], 7));
    assert!(there.contains(&(publish.topic.as_ptr() as usize)) && there.contains(&(publish.payload.as_ptr() as usize)));
}

#[test]
fn a_packet_that_may_not_come_is_refused_by_its_first_byte() {
    for version in [V4, V5] {
        for first in 0..=u8::MAX {
            let refused = read(&mut BytesMut::from(&[first][..]), version, MAX_PACKET);
            let fine = match first >> 4 {
                1 | 4 | 5 | 7 | 12 | 14 => first & 15 == 0,
                3 => true,
                6 | 8 | 10 => first & 15 == 2,
                15 => first & 15 == 0 && version == V5,
                _ => false,
            };
            assert_eq!(refused.is_ok(), fine, "{first:#x} of {version:?}");
            if matches!(first >> 4, 2 | 9 | 11 | 13) {
                assert_eq!(refused.unwrap_err().fault.code(), 0x82, "only servers send {first:#x}");
            }
        }
    }
}

#[test]
fn a_length_is_checked_before_anything_is_waited_for() {
    let refused = |version, bytes: &[u8]| read(&mut BytesMut::from(bytes), version, 1000).map_err(|e| e.fault.code());
    assert_eq!(refused(V5, &[0x30, 0xe9, 0x07]), Err(0x95), "1001 bytes");
    assert_eq!(refused(V5, &[0x30, 0xe8, 0x07]), Ok(None), "1000 bytes");
    assert_eq!(refused(V5, &[0x82, 0x80, 0x80, 0x04]), Err(0x95));
    assert_eq!(refused(V5, &[0x30, 0x80, 0x80, 0x80, 0x80]), Err(0x81), "five bytes");
    assert_eq!(refused(V5, &[0xc0, 0x80, 0x00]), Err(0x81), "not the shortest");
    assert_eq!(refused(V4, &[0xc0, 0x80, 0x00]), Ok(Some(Packet::PingReq)), "3.1.1 does not mind");
    let mut long = BytesMut::from(&[0x10, 0x81, 0x40][..]);
    assert_eq!(read_connect(&mut long).unwrap_err().1.fault.code(), 0x95, "a CONNECT of 8193 bytes");
}

#[test]
fn a_connect_of_each_version_is_read_whole() {
    let will = body(&[&text("t/will"), &text("gone")]);
    let plain = connected(4, 0xec, &[&text("pump"), &will, &text("me"), &text("secret")]);
    assert_eq!((plain.client_id.as_str(), plain.keep_alive, plain.clean_start), ("pump", 30, false));
    assert_eq!((plain.session_expiry, plain.receive_maximum, plain.max_packet), (u32::MAX, u16::MAX, u32::MAX));
    assert_eq!((plain.username.as_deref(), plain.password.as_deref()), (Some("me"), Some(&b"secret"[..])));
    let left = plain.will.unwrap();
    assert_eq!((&left.topic[..], &left.payload[..]), (&b"t/will"[..], &b"gone"[..]));
    assert_eq!((left.qos, left.retain, left.delay), (QoS::AtLeastOnce, true, 0));

    let properties = body(&[
        &[0x11, 0, 0, 0, 60, 0x21, 0, 5, 0x27, 0, 0, 4, 0, 0x22, 0, 9, 0x19, 1, 0x17, 0, 0x15],
        &text("SCRAM"),
        &[0x16],
        &text("data"),
        &[0x26],
        &text("k"),
        &text("v"),
    ]);
    let will_properties = body(&[&[0x18, 0, 0, 0, 7, 0x01, 1, 0x02, 0, 0, 0, 9, 0x26], &text("k"), &text("v")]);
    let counted = |bytes: &[u8]| body(&[&[bytes.len() as u8], bytes]);
    let full = connected(
        5,
        0x76,
        &[&counted(&properties), &text(""), &counted(&will_properties), &text("w"), &text(""), &text("token")],
    );
    assert_eq!((full.client_id.as_str(), full.clean_start, full.session_expiry), ("", true, 60));
    assert_eq!((full.receive_maximum, full.max_packet, full.topic_alias_maximum), (5, 1024, 9));
    assert!(full.request_response_information && !full.request_problem_information);
    assert_eq!(full.authentication_method.as_deref(), Some("SCRAM"));
    assert_eq!((full.username, full.password.as_deref()), (None, Some(&b"token"[..])), "5 allows it");
    let left = full.will.unwrap();
    assert_eq!((left.delay, left.qos, left.retain, left.properties.expiry), (7, QoS::ExactlyOnce, true, Some(9)));
    assert_eq!(&left.properties.forwarded[..], b"\x01\x01\x26\x00\x01k\x00\x01v");

    let defaults = connected(5, 0, &[&[0], &text("a")]);
    assert_eq!((defaults.session_expiry, defaults.receive_maximum, defaults.max_packet), (0, u16::MAX, u32::MAX));
    assert!(defaults.request_problem_information && !defaults.request_response_information);
}

#[test]
fn a_connect_of_another_protocol_is_answered_in_a_version_that_it_may_know() {
    assert_eq!(connect_code(3, 2, &[&text("a")]), (V4, 0x84));
    assert_eq!(connect_code(6, 2, &[&[0], &text("a")]), (V5, 0x84));
    let mut old = framed(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x1e\x00\x01a");
    assert_eq!(read_connect(&mut old).unwrap_err().1.fault.connack_code(V4), Some(1));
    for other in [&b"\x00\x04mqtt\x04\x02\x00\x1e\x00\x01a"[..], b"GET / HTTP/1.1", b"\x00\x04", b""] {
        assert_eq!(read_connect(&mut framed(0x10, other)).unwrap_err().1.fault.code(), 0x81, "{other:?}");
    }
    assert_eq!(read_connect(&mut BytesMut::from(&b"\x30"[..])).unwrap_err().1.fault.code(), 0x82);
}

#[test]
fn a_connect_that_breaks_a_rule_is_refused() {
    let id = text("a");
    for level in [4, 5] {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let version = if level == 5 { V5 } else { V4 };
        for (flags, what) in
            [(0x03, "reserved"), (0x0a, "QoS of no will"), (0x22, "retain of no will"), (0x1e, "QoS 3")]
        {
            assert_eq!(connect_code(level, flags, &[properties, &id, properties, &id, &id]), (version, 0x81), "{what}");
        }
        assert_eq!(connect_code(level, 0x06, &[properties, &id, properties, &text("a/#"), &id]), (version, 0x81));
        assert_eq!(connect_code(level, 0x06, &[properties, &id, properties, &text(""), &id]), (version, 0x81));
        assert_eq!(connect_code(level, 0x82, &[properties, &id]), (version, 0x81), "no user name");
        assert_eq!(connect_code(level, 0x02, &[properties, &id, &id]), (version, 0x81), "a user name behind the end");
        assert_eq!(connect_code(level, 0x02, &[properties, b"\x00\x02\xc3("]), (version, 0x81), "no UTF-8");
        assert_eq!(connect_code(level, 0x02, &[properties, b"\x00\x03\xed\xa0\x80"]), (version, 0x81), "a surrogate");
        assert_eq!(connect_code(level, 0x02, &[properties, b"\x00\x01\x00"]), (version, 0x81), "U+0000");
    }
    assert_eq!(connect_code(4, 0x42, &[&id, &id]), (V4, 0x81), "a password without a user name");
    assert_eq!(connect_code(4, 0x00, &[&text("")]), (V4, 0x85));
    assert_eq!(Fault::ClientId.connack_code(V4), Some(2));
    let with = |properties: &[u8]| connect_code(5, 2, &[&[properties.len() as u8], properties, &id]).1;
    for (properties, expected) in [
        (&[0x21, 0, 0][..], 0x82),
        (&[0x27, 0, 0, 0, 0], 0x82),
        (&[0x17, 2], 0x82),
        (&[0x19, 2], 0x82),
        (&[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], 0x82),
        (&[0x22, 0, 1, 0x22, 0, 1], 0x82),
        (&[0x16, 0, 1, 7], 0x82),
        (&[0x23, 0, 1], 0x81),
        (&[0x18, 0, 0, 0, 1], 0x81),
        (&[0x7e, 0], 0x81),
        (&[0x21, 0], 0x81),
        (&[0x26, 0, 1, b'k'], 0x81),
    ] {
        assert_eq!(with(properties), expected, "{properties:?}");
    }
}

#[test]
fn a_publish_that_breaks_a_rule_is_refused() {
    let topic = text("a");
    for version in [V4, V5] {
        let none: &[u8] = if version == V5 { &[0] } else { &[] };
        assert_eq!(code(version, 0x36, &[&topic, &[0, 1], none]), 0x81, "QoS 3");
        assert_eq!(code(version, 0x38, &[&topic, none]), 0x81, "DUP at QoS 0");
        assert_eq!(code(version, 0x32, &[&topic, &[0, 0], none]), 0x82, "packet id 0");
        assert_eq!(code(version, 0x34, &[&topic, &[0, 0], none]), 0x82, "packet id 0");
        assert_eq!(code(version, 0x30, &[&text(""), none]), 0x82, "no topic");
        for bad in ["a/#", "+", "a+b"] {
            assert_eq!(code(version, 0x30, &[&text(bad), none]), 0x81, "{bad}");
        }
        assert_eq!(code(version, 0x30, &[b"\x00\x02a\x00", none]), 0x81, "U+0000");
        assert_eq!(code(version, 0x30, &[b"\x00\x02\xff\xfe", none]), 0x81, "no UTF-8");
        assert_eq!(code(version, 0x32, &[&topic, &[0]]), 0x81, "half a packet id");
        assert_eq!(code(version, 0x30, &[b"\x00\x05abc"]), 0x81, "a topic beyond the end");
    }
    let with = |properties: &[u8]| code(V5, 0x30, &[&topic, &[properties.len() as u8], properties]);
    for (properties, expected) in [
        (&[0x23, 0, 0][..], 0x94),
        (&[0x23, 0, 1, 0x23, 0, 1], 0x82),
        (&[0x0b, 1], 0x82),
        (&[0x01, 2], 0x82),
        (&[0x01, 1, 0x01, 1], 0x82),
        (&[0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1], 0x82),
        (b"\x03\x00\x01a\x03\x00\x01a", 0x82),
        (b"\x09\x00\x01a\x09\x00\x01a", 0x82),
        (b"\x08\x00\x01a\x08\x00\x01a", 0x82),
        (b"\x08\x00\x01#", 0x82),
        (b"\x08\x00\x00", 0x82),
        (b"\x03\x00\x01\xff", 0x81),
        (&[0x11, 0, 0, 0, 1], 0x81),
        (&[0x1f, 0, 0], 0x81),
        (&[0x09, 0, 9], 0x81),
    ] {
        assert_eq!(with(properties), expected, "{properties:?}");
    }
    assert_eq!(code(V5, 0x30, &[&topic, &[0x81, 0x00, 0x01, 0x01]]), 0x81, "a length not in its shortest form");
    assert_eq!(code(V5, 0x30, &[&topic, &[9]]), 0x81, "properties beyond the end");
}

#[test]
fn a_message_keeps_its_properties_as_they_came() {
    let own: [&[u8]; 6] = [
        b"\x01\x01",
        b"\x26\x00\x01k\x00\x01v",
        b"\x03\x00\x04text",
        b"\x08\x00\x05reply",
        b"\x09\x00\x02\x00\xff",
        b"\x26\x00\x01k\x00\x01w",
    ];
    let together = own.concat();
    let read_with = |properties: &[u8]| {
        let parts: &[&[u8]] = &[&text(""), &[properties.len() as u8], properties, b"payload"];
        let Packet::Publish(publish) = good(V5, 0x30, parts) else { panic!() };
        *publish
    };
    let plain = read_with(&body(&[&together, b"\x23\x00\x03"]));
    assert_eq!((&plain.properties.forwarded[..], plain.alias), (&together[..], Some(3)));
    let mixed = own.iter().enumerate().flat_map(|(at, bytes)| match at {
        2 => body(&[bytes, b"\x02\x00\x00\x00\x09"]),
        4 => body(&[bytes, b"\x23\x00\x03"]),
        _ => bytes.to_vec(),
    });
    let mixed = read_with(&mixed.collect::<Vec<_>>());
    assert_eq!((&mixed.properties.forwarded[..], mixed.properties.expiry), (&together[..], Some(9)));
    assert_eq!((&mixed.payload[..], mixed.alias), (&b"payload"[..], Some(3)));
    assert!(read_with(b"\x23\x00\x03").properties.forwarded.is_empty());
}

#[test]
fn acknowledgements_are_read_short_and_long() {
    for (first, refusal) in [(0x40, 0x97), (0x50, 0x97), (0x62, 0x92), (0x70, 0x92)] {
        let ack = |packet| match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => ack,
            other => panic!("{other:?}"),
        };
        assert_eq!(ack(good(V4, first, &[&[1, 2]])), Ack { id: 0x102, reason: 0 });
        assert_eq!(ack(good(V5, first, &[&[1, 2]])), Ack { id: 0x102, reason: 0 });
        assert_eq!(ack(good(V5, first, &[&[1, 2, refusal]])).reason, refusal);
        assert_eq!(ack(good(V5, first, &[&[1, 2, refusal, 0]])).reason, refusal);
        assert_eq!(ack(good(V5, first, &[&[1, 2, refusal, 4], b"\x1f\x00\x01a"])).reason, refusal);
        assert_eq!(code(V4, first, &[&[1, 2, 0]]), 0x81, "3.1.1 has no reasons");
        assert_eq!(code(V5, first, &[&[1, 2, 0x55]]), 0x82, "no such reason");
        assert_eq!(code(V5, first, &[&[0, 0]]), 0x82, "packet id 0");
        assert_eq!(code(V5, first, &[&[1]]), 0x81, "half a packet id");
        assert_eq!(code(V5, first, &[&[1, 2, 0, 0, 0]]), 0x81, "bytes behind the end");
        assert_eq!(code(V5, first, &[&[1, 2, 0, 3, 0x21, 0, 1]]), 0x81, "not its property");
        assert_eq!(code(V5, first, &[&[1, 2, 0, 8], b"\x1f\x00\x01a\x1f\x00\x01a"]), 0x82, "twice");
    }
}

#[test]
fn a_subscribe_is_read_with_its_options() {
    let Packet::Subscribe(subscribe) =
        good(V5, 0x82, &[&[0, 9, 3, 0x0b, 0x80, 0x01], &text("a/+"), &[0x2e], &text(""), &[1]])
    else {
        panic!()
    };
    assert_eq!((subscribe.id, subscribe.identifier), (9, Some(128)));
    let first = &subscribe.filters[0];
    assert_eq!(
        (first.filter.as_str(), first.qos, first.retain_handling),
        ("a/+", QoS::ExactlyOnce, RetainHandling::Never)
    );
    assert!(first.no_local && first.retain_as_published);
    assert_eq!(subscribe.filters[1].filter, "", "what is no filter is answered filter by filter");

    let filter = text("a");
    for (options, expected) in [(0x03, 0x82), (0x30, 0x82), (0x40, 0x81), (0x80, 0x81)] {
        assert_eq!(code(V5, 0x82, &[&[0, 9, 0], &filter, &[options]]), expected, "{options:#x}");
    }
    for options in [0x04, 0x08, 0x10, 0x40] {
        assert_eq!(code(V4, 0x82, &[&[0, 9], &filter, &[options]]), 0x81, "{options:#x}");
    }
    assert_eq!(code(V5, 0x82, &[&[0, 9, 0], &text("$share/g/a"), &[0x04]]), 0x82, "no local on a shared one");
    assert_eq!(code(V5, 0x82, &[&[0, 9, 2, 0x0b, 0], &filter, &[0]]), 0x82, "identifier 0");
    assert_eq!(code(V5, 0x82, &[&[0, 9, 4, 0x0b, 1, 0x0b, 1], &filter, &[0]]), 0x82, "two identifiers");
    assert_eq!(code(V5, 0x82, &[&[0, 0, 0], &filter, &[0]]), 0x82, "packet id 0");
    assert_eq!(code(V5, 0x82, &[&[0, 9, 0]]), 0x82, "no filter");
    assert_eq!(code(V4, 0x82, &[&[0, 9]]), 0x82, "no filter");
    assert_eq!(code(V4, 0x82, &[&[0, 9], &filter]), 0x81, "no options");

    let Packet::Unsubscribe(unsubscribe) = good(V5, 0xa2, &[&[0, 9, 0], &filter, &text("b/#")]) else { panic!() };
    assert_eq!((unsubscribe.id, &unsubscribe.filters[..]), (9, &["a".to_owned(), "b/#".to_owned()][..]));
    assert_eq!(code(V5, 0xa2, &[&[0, 9, 0]]), 0x82, "no filter");
    assert_eq!(code(V4, 0xa2, &[&[0, 9]]), 0x82, "no filter");
    assert_eq!(code(V5, 0xa2, &[&[0, 9, 2, 0x0b, 1], &filter]), 0x81, "not its property");
}

#[test]
fn the_small_packets_are_read() {
    for version in [V4, V5] {
        assert_eq!(good(version, 0xc0, &[]), Packet::PingReq);
        assert_eq!(code(version, 0xc0, &[&[0]]), 0x81);
        let plain = Packet::Disconnect(Disconnect { reason: 0, session_expiry: None });
        assert_eq!(good(version, 0xe0, &[]), plain);
    }
    assert_eq!(code(V4, 0xe0, &[&[4]]), 0x81, "3.1.1 has no reasons");
    let with = Packet::Disconnect(Disconnect { reason: 4, session_expiry: Some(9) });
    assert_eq!(good(V5, 0xe0, &[&[4, 5, 0x11, 0, 0, 0, 9]]), with);
    for reason in [0x03, 0x87, 0x8e, 0xa2] {
        assert_eq!(code(V5, 0xe0, &[&[reason]]), 0x82, "{reason:#x}");
    }
    assert_eq!(code(V5, 0xe0, &[&[0, 4], b"\x1c\x00\x01a"]), 0x81, "a server reference is a server's");
    assert_eq!(good(V5, 0xf0, &[&[0x18, 0]]), Packet::Auth);
}

/// What rumqttc writes is read back as what it meant.
#[test]
fn packets_of_another_codec_are_read() {
    let mut stream = BytesMut::new();
    let publish = v4::Publish { pkid: 9, dup: true, ..v4::Publish::new("a/b", rumqttc::QoS::ExactlyOnce, "payload") };
    publish.write(&mut stream).unwrap();
    let Packet::Publish(read_back) = read(&mut stream, V4, MAX_PACKET).unwrap().unwrap() else { panic!() };
    assert_eq!((read_back.id, read_back.qos, read_back.dup, read_back.retain), (9, QoS::ExactlyOnce, true, false));

    let properties = v5::PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(60),
        topic_alias: Some(2),
        response_topic: Some("reply".to_owned()),
        correlation_data: Some(Bytes::from_static(b"\x01")),
        user_properties: vec![("k".to_owned(), "v".to_owned())],
        content_type: Some("text".to_owned()),
        ..Default::default()
    };
    let mut publish = v5::Publish::new("a/b", rumqttc::v5::mqttbytes::QoS::AtLeastOnce, "payload", Some(properties));
    publish.pkid = 3;
    publish.write(&mut stream).unwrap();
    let Packet::Publish(read_back) = read(&mut stream, V5, MAX_PACKET).unwrap().unwrap() else { panic!() };
    assert_eq!((read_back.id, read_back.alias, read_back.properties.expiry), (3, Some(2), Some(60)));
    assert_eq!(read_back.properties.forwarded.len(), 2 + 8 + 4 + 7 + 7);
}
