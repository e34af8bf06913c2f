//! PUBLISH and its answers: sections 3.3 to 3.7, 4.3 and 4.6.

use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use super::gateway;
use super::peer::{Opening, Peer, publish, publish_as, text};
use crate::script::packet;

const BOTH: [Version; 2] = [V4, V5];

#[tokio::test]
async fn each_qos_is_answered_with_its_packet_and_the_same_id() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "plain").await;
        peer.send(&publish(version, 0, "t/a", 0, b"zero")).await;
        peer.expect_quiet().await;
        peer.send(&publish(version, 1, "t/a", 0x1234, b"one")).await;
        peer.expect(&[0x40, 2, 0x12, 0x34]).await;
        // Acknowledged: the same id is another message, whatever its DUP flag says.
        peer.send(&publish_as(version, 0x3a, "t/a", 0x1234, &[], b"one")).await;
        peer.expect(&[0x40, 2, 0x12, 0x34]).await;
        peer.send(&publish(version, 2, "t/a", 0xffff, b"two")).await;
        peer.expect(&[0x50, 2, 0xff, 0xff]).await;
        // Not released: it is the same message, and stored once.
        peer.send(&publish_as(version, 0x3c, "t/a", 0xffff, &[], b"two")).await;
        peer.expect(&[0x50, 2, 0xff, 0xff]).await;
        peer.send(&[0x62, 2, 0xff, 0xff]).await;
        peer.expect(&[0x70, 2, 0xff, 0xff]).await;
        // Released: the same id is another message.
        peer.send(&publish(version, 2, "t/a", 0xffff, b"two")).await;
        peer.expect(&[0x50, 2, 0xff, 0xff]).await;
        peer.send(&[0x62, 2, 0xff, 0xff]).await;
        peer.expect(&[0x70, 2, 0xff, 0xff]).await;
        peer.leave().await;
    }
    assert_eq!(gateway.records("messages").await.len(), 2 * (1 + 2 + 2));
}

#[tokio::test]
async fn a_release_of_what_is_not_there_is_answered_all_the_same() {
    let gateway = gateway().await;
    for (version, answer) in [(V4, &[0x70, 2, 0, 9][..]), (V5, &[0x70, 3, 0, 9, 0x92])] {
        let opening =
            Opening { properties: if version == V5 { &[0x17, 0] } else { &[] }, ..Opening::new(version, "a") };
        let (mut peer, _) = Peer::open(&gateway, &opening).await;
        peer.send(&[0x62, 2, 0, 9]).await;
        peer.expect(answer).await;
        peer.expect_quiet().await;
    }
}

#[tokio::test]
async fn a_refused_message_of_qos_2_leaves_its_packet_id_free() {
    let gateway = gateway().await;
    let mut peer = Peer::new(&gateway, V5, "refused").await;
    peer.send(&publish(V5, 2, "nowhere/at/all", 5, b"x")).await;
    let refused = peer.next().await.unwrap();
    assert_eq!((refused[0], &refused[2..5]), (0x50, &[0, 5, 0x90][..]));
    peer.send(&publish(V5, 2, "t/a", 5, b"y")).await;
    peer.expect(&[0x50, 2, 0, 5]).await;
    peer.send(&[0x62, 2, 0, 5]).await;
    peer.expect(&[0x70, 2, 0, 5]).await;
    assert_eq!(gateway.records("messages").await.len(), 1);
}

#[tokio::test]
async fn a_publish_that_breaks_a_rule_ends_the_connection() {
    let gateway = gateway().await;
    for version in BOTH {
        let more = |bytes: &[u8]| publish_as(version, 0x32, "t/a", 1, bytes, b"x");
        let mut broken = vec![
            ("QoS 3", 0x81, publish_as(version, 0x36, "t/a", 1, &[], b"x")),
            ("DUP at QoS 0", 0x81, publish_as(version, 0x38, "t/a", 0, &[], b"x")),
            ("packet id 0", 0x82, publish(version, 1, "t/a", 0, b"x")),
            ("packet id 0 at QoS 2", 0x82, publish(version, 2, "t/a", 0, b"x")),
            ("a wildcard", 0x81, publish(version, 1, "t/#", 1, b"x")),
            ("another wildcard", 0x81, publish(version, 1, "t/+/a", 1, b"x")),
            ("no topic", 0x82, publish(version, 1, "", 1, b"x")),
            ("U+0000", 0x81, publish(version, 1, "t/\0", 1, b"x")),
            ("no UTF-8", 0x81, packet(0x30, b"\x00\x03t/\xff\x00")),
            ("PUBREL with other flags", 0x81, vec![0x60, 2, 0, 1]),
            ("PUBACK with flags", 0x81, vec![0x42, 2, 0, 1]),
            ("a CONNACK", 0x82, vec![0x20, 2, 0, 0]),
        ];
        if version == V5 {
            broken.extend([
                ("a subscription identifier", 0x82, more(&[0x0b, 1])),
                ("alias 0", 0x94, more(&[0x23, 0, 0])),
                ("an alias beyond the maximum", 0x94, more(&[0x23, 0xff, 0xff])),
                ("an alias that stands for nothing", 0x82, publish_as(V5, 0x32, "", 1, &[0x23, 0, 1], b"x")),
                ("a response topic with a wildcard", 0x82, more(b"\x08\x00\x03t/#")),
                ("a response topic that is no UTF-8", 0x81, more(b"\x08\x00\x01\xff")),
                ("a content type that is no UTF-8", 0x81, more(b"\x03\x00\x01\xff")),
                ("a user property that is no UTF-8", 0x81, more(b"\x26\x00\x01a\x00\x01\xff")),
                ("an unknown property", 0x81, more(&[0x7e, 0])),
                ("a reason that PUBACK has not", 0x82, vec![0x40, 3, 0, 1, 0x92]),
                ("a reason that PUBREC has not", 0x82, vec![0x50, 3, 0, 1, 0x92]),
                ("a reason that PUBREL has not", 0x82, vec![0x62, 3, 0, 1, 0x91]),
                ("a reason that PUBCOMP has not", 0x82, vec![0x70, 3, 0, 1, 0x91]),
                ("a length not in its shortest form", 0x81, vec![0xc0, 0x80, 0x00]),
            ]);
        }
        for (what, code, bytes) in broken {
            println!("{what}");
            let mut peer = Peer::new(&gateway, version, "broken").await;
            peer.send(&bytes).await;
            peer.expect_end(code).await;
        }
    }
    assert!(gateway.records("messages").await.is_empty());
}

#[tokio::test]
async fn an_alias_stands_for_its_topic_as_long_as_the_connection_lives() {
    let gateway = gateway().await;
    let (mut peer, opened) = Peer::open(&gateway, &Opening::lasting(V5, "alias")).await;
    let most = opened.learned().topic_alias_max.expect("aliases are taken");
    let mut listener = Peer::new(&gateway, V5, "listener").await;
    listener.subscribe(&[], &[("t/#", 1)]).await;
    for (topic, alias, payload, expected) in [
        ("t/one", 1, "1", "t/one"),
        ("", 1, "2", "t/one"),
        ("t/most", most, "3", "t/most"),
        ("", most, "4", "t/most"),
        ("t/other", 1, "5", "t/other"),
        ("", 1, "6", "t/other"),
    ] {
        let [high, low] = u16::to_be_bytes(alias);
        peer.publish_with(0x32, topic, &[0x23, high, low], payload).await;
        assert_eq!(listener.take(payload).await.topic, expected);
    }
    peer.leave().await;
    let (mut peer, _) = Peer::open(&gateway, &Opening::lasting(V5, "alias")).await;
    peer.send(&publish_as(V5, 0x32, "", 1, &[0x23, 0, 1], b"x")).await;
    peer.expect_end(0x82).await;
}

#[tokio::test]
async fn a_message_arrives_with_all_its_properties_unchanged() {
    let gateway = gateway().await;
    let mut listener = Peer::new(&gateway, V5, "listener").await;
    listener.subscribe(&[], &[("t/#", 1)]).await;
    let mut peer = Peer::new(&gateway, V5, "sender").await;
    let properties = [
        &[0x01, 1, 0x26][..],
        &text("k"),
        &text("1"),
        &[0x03],
        &text("text/plain"),
        &[0x02, 0, 0, 0, 60, 0x08],
        &text("t/reply"),
        &[0x09, 0, 3, 0, 0xff, 7, 0x26],
        &text("a"),
        &text("2"),
        &[0x26],
        &text("k"),
        &text(""),
    ]
    .concat();
    peer.publish_with(0x32, "t/rich", &properties, "rich").await;
    let received = listener.take("rich").await.properties;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(received.user_properties, [pair("k", "1"), pair("a", "2"), pair("k", "")]);
    assert_eq!((received.payload_format_indicator, received.content_type.as_deref()), (Some(1), Some("text/plain")));
    assert_eq!(received.response_topic.as_deref(), Some("t/reply"));
    assert_eq!(received.correlation_data.as_deref(), Some(&[0, 0xff, 7][..]));
    assert!(received.message_expiry_interval.is_some_and(|left| (50..=60).contains(&left)));
    assert_eq!((received.topic_alias, received.subscription_identifiers), (None, vec![]), "the client allows none");
}

#[tokio::test]
async fn a_message_that_expired_before_it_could_be_delivered_is_not() {
    let gateway = gateway().await;
    let lasting = Opening::lasting(V5, "late");
    let (mut peer, _) = Peer::open(&gateway, &lasting).await;
    peer.subscribe(&[], &[("t/brief", 1)]).await;
    peer.leave().await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish_with(0x32, "t/brief", &[0x02, 0, 0, 0, 1], "gone").await;
    other.publish_with(0x33, "t/kept", &[0x02, 0, 0, 0, 1], "gone too").await;
    // At QoS 2 the exchange goes on to its end all the same.
    other.send(&publish_as(V5, 0x34, "t/brief", 4, &[0x02, 0, 0, 0, 1], b"gone as well")).await;
    other.expect(&[0x50, 2, 0, 4]).await;
    gateway.clock.advance(2);
    other.send(&[0x62, 2, 0, 4]).await;
    other.expect(&[0x70, 2, 0, 4]).await;
    other.publish_with(0x32, "t/brief", &[0x02, 0, 0, 0, 90], "there").await;
    let (mut peer, _) = Peer::open(&gateway, &lasting).await;
    let left = peer.take("there").await.properties.message_expiry_interval;
    assert!(left.is_some_and(|left| (80..=90).contains(&left)), "{left:?}");
    // Retained messages go by the monotonic clock: it comes until its time is over, and then no more.
    let mut kept = true;
    while kept {
        assert_eq!(peer.subscribe(&[], &[("t/kept", 0)]).await, [0]);
        peer.send(&[0xc0, 0]).await;
        kept = peer.next().await.unwrap()[0] == 0x31;
        if kept {
            peer.expect(&[0xd0, 0]).await;
        }
    }
    peer.expect_quiet().await;
}

#[tokio::test]
async fn a_retained_message_is_replaced_by_the_next_and_removed_by_an_empty_one() {
    let gateway = gateway().await;
    for version in BOTH {
        let topic = format!("t/kept/{version:?}");
        let mut peer = Peer::new(&gateway, version, "sender").await;
        let kept = async |expected: Option<&str>| {
            let mut late = Peer::new(&gateway, version, "late").await;
            late.subscribe(&[], &[(&topic, 1)]).await;
            match expected {
                None => late.expect_quiet().await,
                Some(payload) => {
                    let received = late.take(payload).await;
                    assert!(received.retain && !received.dup);
                }
            }
            late.leave().await;
        };
        kept(None).await;
        peer.publish_with(0x33, &topic, &[], "first").await;
        kept(Some("first")).await;
        peer.publish_with(0x33, &topic, &[], "second").await;
        kept(Some("second")).await;
        peer.publish_with(0x32, &topic, &[], "passing").await;
        kept(Some("second")).await;
        peer.publish_with(0x32, &topic, &[], "").await;
        kept(Some("second")).await;
        let mut listener = Peer::new(&gateway, version, "listener").await;
        listener.subscribe(&[], &[(&topic, 1)]).await;
        listener.take("second").await;
        peer.publish_with(0x33, &topic, &[], "").await;
        assert!(!listener.take("").await.retain, "an empty one is passed on as any other");
        kept(None).await;
    }
}

/// Sections 3.3.4 and 4.9, towards the gateway: what it announced is what it takes.
#[tokio::test]
async fn more_in_flight_than_announced_ends_the_connection() {
    let gateway = gateway().await;
    let (mut peer, opened) = Peer::open(&gateway, &Opening::new(V5, "greedy")).await;
    let most = opened.learned().receive_max.unwrap();
    // PUBREL is held back, so each of these stays in flight.
    for id in 1..=most {
        peer.send(&publish(V5, 2, "t/a", id, b"x")).await;
        peer.expect(&[&[0x50, 2][..], &id.to_be_bytes()].concat()).await;
    }
    peer.expect_quiet().await;
    peer.send(&publish(V5, 2, "t/a", most + 1, b"x")).await;
    peer.expect_end(0x93).await;
}

/// The same towards the client.
#[tokio::test]
async fn a_client_gets_no_more_in_flight_than_it_takes_and_everything_else_meanwhile() {
    let gateway = gateway().await;
    let opening = Opening { properties: &[0x21, 0, 2], ..Opening::new(V5, "modest") };
    let (mut peer, _) = Peer::open(&gateway, &opening).await;
    peer.subscribe(&[], &[("t/much", 1)]).await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    for payload in ["1", "2", "3", "4", "5"] {
        other.publish("t/much", payload).await;
    }
    let (first, second) = (peer.received().await, peer.received().await);
    assert_ne!(first.id, second.id);
    // Nothing more of these, but answers.
    peer.expect_quiet().await;
    peer.publish("t/else", "x").await;
    assert_eq!(peer.subscribe(&[], &[("t/none", 1)]).await, [1]);
    // A refusal gives its place free too, and is not sent again.
    peer.send(&[&[0x40, 3][..], &first.id.to_be_bytes(), &[0x97]].concat()).await;
    peer.take("3").await;
    peer.take("4").await;
    peer.take("5").await;
    peer.send(&packet(0x40, &second.id.to_be_bytes())).await;
    peer.expect_quiet().await;
}

#[tokio::test]
async fn messages_of_one_client_arrive_in_their_order_as_new_ones() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut listener = Peer::new(&gateway, version, "listener").await;
        listener.subscribe(&[], &[("t/order", 1)]).await;
        let mut peer = Peer::new(&gateway, version, "sender").await;
        let all: Vec<u8> = (1..=50_u16)
            // The DUP flag of what comes in says nothing about what goes out.
            .flat_map(|id| publish_as(version, 0x3a, "t/order", id, &[], id.to_string().as_bytes()))
            .collect();
        peer.send(&all).await;
        for id in 1..=50_u16 {
            peer.expect(&[&[0x40, 2][..], &id.to_be_bytes()].concat()).await;
            let received = listener.take(&id.to_string()).await;
            assert!(!received.dup && received.qos == 1 && !received.retain);
        }
    }
}

#[tokio::test]
async fn a_message_that_is_larger_than_the_client_takes_is_left_out() {
    let gateway = gateway().await;
    let opening = Opening { properties: &[0x27, 0, 0, 0, 100], ..Opening::new(V5, "small") };
    let (mut peer, _) = Peer::open(&gateway, &opening).await;
    peer.subscribe(&[], &[("t/#", 1)]).await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish("t/a", &"x".repeat(200)).await;
    other.publish("t/a", "small enough").await;
    peer.take("small enough").await;
    // A reason string that would not fit is left out.
    peer.send(&publish(V5, 1, "nowhere/at/all", 3, b"x")).await;
    let refused = peer.next().await.unwrap();
    assert!(refused.len() <= 100 && refused[4] == 0x90, "{refused:?}");
}

/// `mosquitto_pub -r` says both in one breath, at QoS 0, and its message was stored and never retained: the connection was gone
/// before the verdict on it came.
#[tokio::test]
async fn a_message_is_retained_although_the_goodbye_is_right_behind_it() {
    let gateway = gateway().await;
    for version in BOTH {
        for qos in [0, 1, 2] {
            let (topic, payload) = (format!("t/last/{version:?}/{qos}"), format!("{version:?} {qos}"));
            let mut peer = Peer::new(&gateway, version, "hasty").await;
            let message = publish_as(version, 0x31 | qos << 1, &topic, 7, &[], payload.as_bytes());
            peer.send(&[&message[..], &[0xe0, 0]].concat()).await;
            // It is answered before the connection ends, and nothing comes behind that.
            if qos > 0 {
                assert_eq!(peer.next().await.unwrap()[..], [0x30 + 0x10 * qos, 2, 0, 7]);
            }
            assert_eq!(peer.next().await, None);
            let mut late = Peer::new(&gateway, version, "late").await;
            late.subscribe(&[], &[(&topic, 1)]).await;
            assert!(late.take(&payload).await.retain);
            late.leave().await;
        }
    }
}
