//! CONNECT and CONNACK: sections 3.1 and 3.2, and section 4.12.

use weir_gateway::mqtt::packet::Version::{V4, V5};

use super::gateway;
use super::peer::{Opening, Peer, publish, subscribe, text};
use crate::script::packet;

const BOTH: [weir_gateway::mqtt::packet::Version; 2] = [V4, V5];

#[tokio::test]
async fn what_comes_before_a_connect_is_not_answered() {
    let gateway = gateway().await;
    for version in BOTH {
        for first in [publish(version, 1, "t/a", 1, b"x"), vec![0xc0, 0], subscribe(version, 1, &[], &[("t/a", 0)])] {
            let mut peer = Peer::dial(&gateway, version).await;
            peer.send(&first).await;
            peer.send(&Opening::new(version, "late").bytes()).await;
            assert_eq!(peer.next().await, None, "no CONNACK, and no DISCONNECT before one");
        }
    }
    assert!(gateway.records("messages").await.is_empty());
}

#[tokio::test]
async fn a_second_connect_ends_the_connection() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "twice").await;
        peer.send(&Opening::new(version, "twice").bytes()).await;
        peer.expect_end(0x82).await;
    }
}

#[tokio::test]
async fn another_version_is_told_which_ones_are_spoken() {
    let gateway = gateway().await;
    let mut newer = Opening::new(V5, "a").bytes();
    newer[8] = 6;
    let (mut peer, answer) = {
        let mut peer = Peer::dial(&gateway, V5).await;
        peer.send(&newer).await;
        let answer = peer.opened().await;
        (peer, answer)
    };
    assert_eq!((answer.flags, answer.code), (0, 0x84));
    assert_eq!(peer.next().await, None);
    let mut older = Peer::dial(&gateway, V4).await;
    older.send(b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x1e\x00\x01a").await;
    older.expect(&[0x20, 2, 0, 1]).await;
    assert_eq!(older.next().await, None);
    let mut other = Peer::dial(&gateway, V5).await;
    other.send(&packet(0x10, b"\x00\x04NQTT\x05\x02\x00\x1e\x00\x00\x01a")).await;
    assert_eq!(other.next().await, None);
}

/// A CONNECT that breaks a rule: whatever is answered, the connection ends and nothing behind it is looked at.
#[tokio::test]
async fn a_connect_that_breaks_a_rule_gets_no_session() {
    let gateway = gateway().await;
    let connect = |level: u8, flags: u8, rest: &[&[u8]]| {
        packet(0x10, &[b"\x00\x04MQTT", &[level, flags, 0, 30][..], &rest.concat()].concat())
    };
    let (id, none) = (text("a"), &[0][..]);
    let broken = [
        ("reserved flag", connect(5, 0x03, &[none, &id])),
        ("will QoS without will", connect(5, 0x0a, &[none, &id])),
        ("will QoS 3", connect(5, 0x1e, &[none, &id, none, &id, &id])),
        ("will retain without will", connect(5, 0x22, &[none, &id])),
        ("will without a topic", connect(5, 0x06, &[none, &id, none])),
        ("a user name that is missing", connect(5, 0x82, &[none, &id])),
        ("a password that is missing", connect(5, 0x42, &[none, &id])),
        ("a user name that was not announced", connect(5, 0x02, &[none, &id, &id])),
        ("no client id", connect(5, 0x02, &[none])),
        ("a client id that is no UTF-8", connect(5, 0x02, &[none, b"\x00\x02\xc3\x28"])),
        ("a client id with a surrogate", connect(5, 0x02, &[none, b"\x00\x03\xed\xa0\x80"])),
        ("a client id with U+0000", connect(5, 0x02, &[none, b"\x00\x02a\x00"])),
        ("a will topic that is no UTF-8", connect(5, 0x06, &[none, &id, none, b"\x00\x01\xff", &id])),
        ("a will topic with a wildcard", connect(5, 0x06, &[none, &id, none, &text("t/#"), &id])),
        ("a user name that is no UTF-8", connect(5, 0x82, &[none, &id, b"\x00\x01\xff"])),
        ("receive maximum 0", connect(5, 0x02, &[&[3, 0x21, 0, 0], &id])),
        ("maximum packet size 0", connect(5, 0x02, &[&[5, 0x27, 0, 0, 0, 0], &id])),
        ("a property twice", connect(5, 0x02, &[&[6, 0x22, 0, 1, 0x22, 0, 1], &id])),
        ("a property of PUBLISH", connect(5, 0x02, &[&[3, 0x23, 0, 1], &id])),
        ("authentication data alone", connect(5, 0x02, &[&[4, 0x16, 0, 1, 7], &id])),
        ("reserved flags of the fixed header", [vec![0x12], Opening::new(V5, "a").bytes()[1..].to_vec()].concat()),
        ("3.1.1: a password without a user name", connect(4, 0x42, &[&id, &id])),
        ("3.1.1: reserved flag", connect(4, 0x03, &[&id])),
        ("3.1.1: will QoS 3", connect(4, 0x1e, &[&id, &id, &id])),
    ];
    for (what, bytes) in broken {
        let version = if what.starts_with("3.1.1") { V4 } else { V5 };
        let mut peer = Peer::dial(&gateway, version).await;
        peer.send(&[bytes, publish(version, 1, "t/after", 1, b"x")].concat()).await;
        if let Some(answer) = peer.next().await {
            assert_eq!((answer[0], answer[2]), (0x20, 0), "{what}: a CONNACK without a session");
            assert!(answer[3] >= 0x80 || version == V4 && answer[3] > 0, "{what}: {answer:?}");
            assert_eq!(peer.next().await, None, "{what}");
        }
    }
    assert!(gateway.records("messages").await.is_empty(), "nothing behind a refused CONNECT is looked at");
}

#[tokio::test]
async fn a_client_is_let_in_with_one_connack_and_its_limits() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::dial(&gateway, version).await;
        // Clients need not wait for CONNACK.
        peer.send(&[Opening::new(version, "eager").bytes(), vec![0xc0, 0, 0xc0, 0]].concat()).await;
        let opened = peer.opened().await;
        assert_eq!((opened.flags, opened.code), (0, 0));
        peer.expect(&[0xd0, 0]).await;
        peer.expect(&[0xd0, 0]).await;
        if version == V5 {
            let limits = opened.learned();
            assert!(limits.receive_max.is_some_and(|most| most > 0) && limits.max_packet_size.is_some());
            assert_eq!((limits.max_qos, limits.retain_available), (None, None), "QoS 2 and retained messages");
            assert_eq!(
                (limits.wildcard_subscription_available, limits.subscription_identifiers_available),
                (None, None)
            );
            assert_eq!(limits.shared_subscription_available, Some(0));
            assert_eq!((&limits.response_information, &limits.authentication_method), (&None, &None), "nobody asked");
            assert_eq!((&limits.assigned_client_identifier, limits.session_expiry_interval), (&None, None));
        }
    }
}

#[tokio::test]
async fn a_client_id_of_letters_and_digits_is_taken_and_an_empty_one_replaced() {
    let gateway = gateway().await;
    for version in BOTH {
        let longest = "0123456789abcdefghABCDE";
        for id in ["a", "0", "Z", &longest[..23], "with spaces and / and +", "ünïcode", "$SYS"] {
            Peer::new(&gateway, version, id).await.leave().await;
        }
        let (mut one, first) = Peer::open(&gateway, &Opening::new(version, "")).await;
        let (mut other, second) = Peer::open(&gateway, &Opening::new(version, "")).await;
        assert_eq!((first.code, second.code), (0, 0));
        if version == V5 {
            let ids =
                [first, second].map(|opened| opened.learned().assigned_client_identifier.clone().expect("a name"));
            assert_ne!(ids[0], ids[1]);
            assert!(!ids[0].is_empty());
        }
        one.expect_quiet().await;
        other.expect_quiet().await;
    }
    let (mut peer, refused) = Peer::open(&gateway, &Opening { clean: false, ..Opening::new(V4, "") }).await;
    assert_eq!((refused.flags, refused.code), (0, 2), "3.1.1: no name for a session that is to last");
    assert_eq!(peer.next().await, None);
    let long = "x".repeat(4000);
    for (version, code) in [(V4, 2), (V5, 0x85)] {
        let (mut peer, refused) = Peer::open(&gateway, &Opening::new(version, &long)).await;
        assert_eq!((refused.flags, refused.code), (0, code));
        assert_eq!(peer.next().await, None);
    }
}

#[tokio::test]
async fn a_client_that_connects_again_takes_its_session_over() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut first = Peer::new(&gateway, version, "same").await;
        let mut second = Peer::new(&gateway, version, "same").await;
        first.expect_end(0x8e).await;
        second.expect_quiet().await;
    }
}

#[tokio::test]
async fn enhanced_authentication_is_refused_with_its_code() {
    let gateway = gateway().await;
    let method = [&[0x15][..], &text("SCRAM-SHA-256")].concat();
    let (mut peer, refused) = Peer::open(&gateway, &Opening { properties: &method, ..Opening::new(V5, "a") }).await;
    assert_eq!((refused.flags, refused.code), (0, 0x8c));
    assert_eq!(peer.next().await, None);
    // AUTH without a method in CONNECT is a protocol error, and its reserved flags are looked at first.
    for (bytes, code) in [(&[0xf0, 0][..], 0x82), (&[0xf0, 2, 0x18, 0], 0x82), (&[0xf1, 0], 0x81)] {
        let mut peer = Peer::new(&gateway, V5, "a").await;
        peer.send(bytes).await;
        peer.expect_end(code).await;
    }
    let mut old = Peer::new(&gateway, V4, "a").await;
    old.send(&[0xf0, 0]).await;
    old.expect_end(0).await;
}

/// Section 3.1.2.11.5.
#[tokio::test]
async fn response_information_is_for_those_who_ask() {
    let gateway = gateway().await;
    let (_, without) = Peer::open(&gateway, &Opening { properties: &[0x19, 0], ..Opening::new(V5, "a") }).await;
    assert_eq!(without.learned().response_information, None);
}

/// Section 3.1.2.11.7.
#[tokio::test]
async fn who_wants_no_reason_strings_gets_none_on_acknowledgements() {
    let gateway = gateway().await;
    for (wanted, more) in [(0_u8, false), (1, true)] {
        let opening = Opening { properties: &[0x17, wanted], ..Opening::new(V5, "quiet") };
        let (mut peer, _) = Peer::open(&gateway, &opening).await;
        peer.send(&publish(V5, 1, "nowhere/at/all", 3, b"x")).await;
        let refused = peer.next().await.expect("a PUBACK");
        assert_eq!((&refused[..1], &refused[2..5]), (&[0x40][..], &[0, 3, 0x90][..]));
        assert_eq!(refused.len() > 5, more, "{refused:?}");
        peer.leave().await;
    }
}
