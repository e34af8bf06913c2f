//! SUBSCRIBE, UNSUBSCRIBE and their answers, topic names and filters: sections 3.8 to 3.11, 4.7 and 4.8.

use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use super::gateway;
use super::peer::{Peer, publish, publish_as, subscribe, text, unsubscribe};
use crate::script::packet;

const BOTH: [Version; 2] = [V4, V5];
const NO_LOCAL: u8 = 0x04;
const AS_PUBLISHED: u8 = 0x08;
const ONLY_IF_NEW: u8 = 0x10;
const NONE_RETAINED: u8 = 0x20;

#[tokio::test]
async fn each_filter_is_answered_in_its_place() {
    let gateway = gateway().await;
    for version in BOTH {
        let (shared, invalid) = if version == V4 { (0x80, 0x80) } else { (0x9e, 0x8f) };
        let mut peer = Peer::new(&gateway, version, "asking").await;
        let filters = [("t/a", 0), ("t/#/b", 1), ("t/b", 1), ("$share/g/t/a", 1), ("t/c", 2), ("", 0), ("t/a+", 0)];
        let codes = peer.subscribe(&[], &filters).await;
        assert_eq!(codes, [0, invalid, 1, shared, 1, invalid, invalid], "a server may grant less than was asked");
        peer.send(&unsubscribe(version, 0x0102, &["t/b", "t/never", "t/a"])).await;
        match version {
            V4 => peer.expect(&[0xb0, 2, 1, 2]).await,
            V5 => peer.expect(&[0xb0, 6, 1, 2, 0, 0, 0x11, 0]).await,
        }
        peer.leave().await;
    }
}

#[tokio::test]
async fn a_subscribe_that_breaks_a_rule_ends_the_connection() {
    let gateway = gateway().await;
    for version in BOTH {
        let none: &[u8] = if version == V4 { &[] } else { &[0] };
        let mut broken = vec![
            (
                "SUBSCRIBE with other flags",
                0x81,
                [&[0x80][..], &subscribe(version, 1, &[], &[("t/a", 0)])[1..]].concat(),
            ),
            ("UNSUBSCRIBE with other flags", 0x81, [&[0xa0][..], &unsubscribe(version, 1, &["t/a"])[1..]].concat()),
            ("SUBSCRIBE without a filter", 0x82, subscribe(version, 1, &[], &[])),
            ("UNSUBSCRIBE without a filter", 0x82, unsubscribe(version, 1, &[])),
            ("packet id 0", 0x82, subscribe(version, 0, &[], &[("t/a", 0)])),
            ("reserved options", 0x81, subscribe(version, 1, &[], &[("t/a", 0x40)])),
            ("a filter with U+0000", 0x81, subscribe(version, 1, &[], &[("t/\0", 0)])),
            ("a filter that is no UTF-8", 0x81, packet(0x82, &[&[0, 1], none, b"\x00\x01\xff\x00"].concat())),
            ("the same to UNSUBSCRIBE", 0x81, packet(0xa2, &[&[0, 1], none, b"\x00\x01\xff"].concat())),
            ("QoS 3", 0x82, subscribe(version, 1, &[], &[("t/a", 3)])),
        ];
        match version {
            V4 => broken.push(("options that only 5 has", 0x81, subscribe(V4, 1, &[], &[("t/a", NO_LOCAL)]))),
            V5 => broken.extend([
                ("retain handling 3", 0x82, subscribe(V5, 1, &[], &[("t/a", 0x30)])),
                ("no local on a shared one", 0x82, subscribe(V5, 1, &[], &[("$share/g/t/a", NO_LOCAL)])),
                ("identifier 0", 0x82, subscribe(V5, 1, &[0x0b, 0], &[("t/a", 0)])),
                ("two identifiers", 0x82, subscribe(V5, 1, &[0x0b, 1, 0x0b, 2], &[("t/a", 0)])),
            ]),
        }
        for (what, code, bytes) in broken {
            println!("{what}");
            let mut peer = Peer::new(&gateway, version, "broken").await;
            peer.send(&bytes).await;
            peer.expect_end(code).await;
        }
    }
}

#[tokio::test]
async fn a_message_comes_at_the_lower_of_both_qos_and_to_matching_filters_alone() {
    let gateway = gateway().await;
    for version in BOTH {
        for granted in [0, 1] {
            for sent in 0..=2 {
                let mut peer = Peer::new(&gateway, version, "asking").await;
                peer.subscribe(&[], &[("t/+/x", granted)]).await;
                let mut other = Peer::new(&gateway, version, "other").await;
                other.publish("t/a/y", "not for it").await;
                other.send(&publish(version, sent, "t/a/x", 7, b"for it")).await;
                let received = peer.take("for it").await;
                assert_eq!((received.qos, received.topic.as_str()), (sent.min(granted), "t/a/x"));
                peer.leave().await;
                // Its PUBREC comes first; then the session may go.
                drop(other);
            }
        }
    }
}

#[tokio::test]
async fn names_and_filters_are_matched_letter_by_letter_and_never_into_dollar_topics() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "asking").await;
        let filters = [("#", 0), ("+/a", 0), ("t/A", 0), ("T/a", 0), ("/t/a", 0), ("t/a/", 0)];
        assert_eq!(peer.subscribe(&[], &filters[2..]).await, [0; 4]);
        let mut other = Peer::new(&gateway, version, "other").await;
        // None of these is any of those, by letter case, by separators, or by a form that looks the same.
        for topic in ["t/a", "t/a/b", "t/a\u{301}", "t//a"] {
            other.publish(topic, topic).await;
        }
        other.publish("t/A", "that one").await;
        peer.take("that one").await;
        peer.send(&unsubscribe(version, 3, &["t/A", "T/a", "/t/a", "t/a/"])).await;
        peer.next().await.unwrap();
        peer.subscribe(&[], &filters[..2]).await;
        other.publish("$t/a", "hidden").await;
        other.publish("t/x", "shown").await;
        peer.take("shown").await;
        peer.subscribe(&[], &[("$t/#", 0)]).await;
        other.publish("$t/a", "asked for").await;
        peer.take("asked for").await;
        peer.leave().await;
    }
}

#[tokio::test]
async fn a_client_may_ask_not_to_hear_itself() {
    let gateway = gateway().await;
    let mut peer = Peer::new(&gateway, V5, "talker").await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    peer.subscribe(&[], &[("t/a", NO_LOCAL | 1), ("t/b", 1)]).await;
    peer.publish("t/a", "mine").await;
    other.publish("t/a", "yours").await;
    peer.take("yours").await;
    peer.send(&publish(V5, 0, "t/b", 0, b"echo")).await;
    peer.take("echo").await;
}

#[tokio::test]
async fn a_message_keeps_its_retain_flag_only_where_that_was_asked_for() {
    let gateway = gateway().await;
    let mut plain = Peer::new(&gateway, V5, "plain").await;
    let mut exact = Peer::new(&gateway, V5, "exact").await;
    let mut old = Peer::new(&gateway, V4, "old").await;
    plain.subscribe(&[], &[("t/a", 1)]).await;
    exact.subscribe(&[], &[("t/a", AS_PUBLISHED | 1)]).await;
    old.subscribe(&[], &[("t/a", 1)]).await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish_with(0x33, "t/a", &[], "kept").await;
    other.publish("t/a", "passing").await;
    for (peer, flags) in [(&mut plain, [false, false]), (&mut exact, [true, false]), (&mut old, [false, false])] {
        assert_eq!([peer.take("kept").await.retain, peer.take("passing").await.retain], flags);
    }
}

#[tokio::test]
async fn retained_messages_come_as_the_subscription_asks() {
    let gateway = gateway().await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish_with(0x33, "t/kept/a", &[], "kept").await;
    for (handling, new, again) in [(0, true, true), (ONLY_IF_NEW, true, false), (NONE_RETAINED, false, false)] {
        let mut peer = Peer::new(&gateway, V5, "asking").await;
        for expected in [new, again] {
            assert_eq!(peer.subscribe(&[], &[("t/kept/#", handling | 1)]).await, [1]);
            if expected {
                assert!(peer.take("kept").await.retain);
            }
            peer.expect_quiet().await;
        }
        peer.leave().await;
    }
}

#[tokio::test]
async fn a_subscription_is_replaced_by_the_next_of_its_filter_without_losing_a_message() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "asking").await;
        let mut other = Peer::new(&gateway, version, "other").await;
        assert_eq!(peer.subscribe(&[], &[("t/a", 1)]).await, [1]);
        for round in 0..20 {
            let qos = round % 2;
            peer.send(&subscribe(version, 5, &[], &[("t/a", qos)])).await;
            other.publish("t/a", &round.to_string()).await;
            let mut seen = (false, false);
            while seen != (true, true) {
                let packet = peer.next().await.unwrap();
                match packet[0] >> 4 {
                    9 => seen.0 = true,
                    3 => {
                        assert!(packet.ends_with(round.to_string().as_bytes()), "each once, in order: {packet:?}");
                        seen.1 = true;
                        if packet[0] & 6 == 2 {
                            peer.send(&[0x40, 2, packet[7], packet[8]]).await;
                        }
                    }
                    _ => panic!("{packet:?}"),
                }
            }
        }
        peer.send(&unsubscribe(version, 6, &["t/a"])).await;
        peer.next().await.unwrap();
        other.publish("t/a", "no more").await;
        peer.expect_quiet().await;
        peer.leave().await;
    }
}

#[tokio::test]
async fn overlapping_subscriptions_give_their_identifiers_and_the_highest_qos() {
    let gateway = gateway().await;
    let mut peer = Peer::new(&gateway, V5, "asking").await;
    peer.subscribe(&[0x0b, 7], &[("t/a", 0)]).await;
    peer.subscribe(&[0x0b, 0x80, 0x01], &[("t/+", 1)]).await;
    peer.subscribe(&[], &[("t/#", 0)]).await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish("t/a", "once").await;
    let received = peer.take("once").await;
    let mut identifiers = received.properties.subscription_identifiers;
    identifiers.sort_unstable();
    assert_eq!((received.qos, identifiers), (1, vec![7, 128]));
    other.publish("t/b/c", "without").await;
    assert_eq!(peer.take("without").await.properties.subscription_identifiers, [0; 0]);
    // A new SUBSCRIBE without an identifier takes it away.
    peer.subscribe(&[], &[("t/+", 1)]).await;
    other.publish("t/b", "replaced").await;
    assert_eq!(peer.take("replaced").await.properties.subscription_identifiers, [0; 0]);
}

/// Section 3.10.4: what was begun is brought to its end.
#[tokio::test]
async fn an_unsubscribe_ends_what_comes_and_not_what_is_on_its_way() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "asking").await;
        peer.subscribe(&[], &[("t/a", 1), ("t/#", 1)]).await;
        let mut other = Peer::new(&gateway, version, "other").await;
        other.publish("t/a", "begun").await;
        let begun = peer.received().await;
        // Another filter that matches the same messages is not that filter.
        peer.send(&unsubscribe(version, 6, &["t/+", "t/a"])).await;
        assert_eq!(peer.next().await.unwrap()[0], 0xb0);
        other.publish("t/a", "by the other filter").await;
        peer.take("by the other filter").await;
        peer.send(&packet(0x40, &begun.id.to_be_bytes())).await;
        peer.expect_quiet().await;
        peer.leave().await;
    }
}

#[tokio::test]
async fn a_topic_of_many_levels_or_bytes_is_matched_or_refused_and_never_cut() {
    let gateway = gateway().await;
    let mut peer = Peer::new(&gateway, V5, "asking").await;
    let filter = format!("t/{}", "x".repeat(200));
    assert_eq!(peer.subscribe(&[], &[(&filter, 1)]).await, [1]);
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish(&filter[..150], "a part of it").await;
    other.publish(&filter, "whole").await;
    peer.take("whole").await;
    let name = text(&format!("t/{}", "y".repeat(60_000)));
    other.send(&publish_as(V5, 0x32, std::str::from_utf8(&name[2..]).unwrap(), 4, &[], b"x")).await;
    let answer = other.next().await.unwrap();
    assert!(matches!(answer[0], 0x40 | 0xe0), "answered or refused: {answer:?}");
}
