//! Wills: sections 3.1.2.5 to 3.1.2.7, 3.1.3.2 and 3.14.4.

use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use super::gateway;
use super::peer::{AN_HOUR, Opening, Peer, Will};
use crate::world::Gateway;

const BOTH: [Version; 2] = [V4, V5];

/// Somebody who listens to everything below `t/`.
async fn listener(gateway: &Gateway) -> Peer {
    let mut listener = Peer::new(gateway, V5, "listener").await;
    assert_eq!(listener.subscribe(&[], &[("t/#", 0x08 | 1)]).await, [1]);
    listener
}

fn with_will<'a>(version: Version, properties: &'a [u8], will: Will<'a>) -> Opening<'a> {
    Opening { properties, will: Some(will), ..Opening::new(version, "mortal") }
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_its_will_as_it_asked() {
    let gateway = gateway().await;
    let mut listener = listener(&gateway).await;
    for version in BOTH {
        for (qos, retain) in [(0, false), (1, false), (1, true), (2, false)] {
            let payload = format!("{version:?} {qos} {retain}");
            let will = Will { topic: "t/will", payload: payload.as_bytes(), qos, retain, properties: &[] };
            let (peer, opened) = Peer::open(&gateway, &with_will(version, &[], will)).await;
            assert_eq!(opened.code, 0);
            peer.vanish();
            let received = listener.take(&payload).await;
            assert_eq!((received.topic.as_str(), received.retain), ("t/will", retain));
        }
    }
    let mut late = Peer::new(&gateway, V5, "late").await;
    late.subscribe(&[], &[("t/will", 1)]).await;
    let kept = late.take("V5 1 true").await;
    assert!(kept.retain, "only the retained one is kept");
}

#[tokio::test]
async fn a_client_that_says_goodbye_takes_its_will_with_it_unless_it_asks_for_it() {
    let gateway = gateway().await;
    let mut listener = listener(&gateway).await;
    for version in BOTH {
        let will = Will { topic: "t/will", payload: b"no", ..Will::default() };
        let (peer, _) = Peer::open(&gateway, &with_will(version, &[], will)).await;
        peer.leave().await;
    }
    let will = Will { topic: "t/will", payload: b"asked for", ..Will::default() };
    let (mut peer, _) = Peer::open(&gateway, &with_will(V5, &[], will)).await;
    peer.send(&[0xe0, 1, 0x04]).await;
    assert_eq!(peer.next().await, None);
    listener.take("asked for").await;
    // A client without a will leaves none.
    Peer::new(&gateway, V5, "immortal").await.vanish();
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish("t/after", "after").await;
    listener.take("after").await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_leaves_its_will() {
    let gateway = gateway().await;
    let mut listener = listener(&gateway).await;
    for version in BOTH {
        let will = Will { topic: "t/will", payload: b"broken", ..Will::default() };
        let (mut peer, _) = Peer::open(&gateway, &with_will(version, &[], will)).await;
        peer.send(&[0x60, 2, 0, 1]).await;
        peer.expect_end(0x81).await;
        listener.take("broken").await;
    }
}

#[tokio::test]
async fn a_will_waits_for_its_delay_and_for_nobody_who_comes_back() {
    let gateway = gateway().await;
    let mut listener = listener(&gateway).await;
    let opening = |payload, delay| {
        let will = Will { topic: "t/will", payload, properties: delay, ..Will::default() };
        Opening { clean: false, ..with_will(V5, AN_HOUR, will) }
    };
    const HALF_AN_HOUR: &[u8] = &[0x18, 0, 0, 7, 8];
    let (peer, _) = Peer::open(&gateway, &opening(b"never", HALF_AN_HOUR)).await;
    peer.vanish();
    gateway.shows("mqtt_wills_waiting 1").await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    other.publish("t/meanwhile", "not at once").await;
    listener.take("not at once").await;
    // It is forgotten when its client comes back.
    let (peer, _) = Peer::open(&gateway, &opening(b"in time", &[0x18, 0, 0, 0, 1])).await;
    gateway.shows("mqtt_wills_waiting 0").await;
    peer.vanish();
    listener.take("in time").await;
    // A session that ends takes no longer than that: the delay ends with it.
    let will = Will { topic: "t/will", payload: b"session over", properties: &[0x18, 0, 0, 14, 16], ..Will::default() };
    let (peer, _) = Peer::open(&gateway, &with_will(V5, &[], will)).await;
    peer.vanish();
    listener.take("session over").await;
}

#[tokio::test]
async fn a_will_carries_its_properties_in_their_order() {
    let gateway = gateway().await;
    let mut listener = listener(&gateway).await;
    let properties =
        b"\x01\x01\x26\x00\x01b\x00\x011\x02\x00\x00\x00\x3c\x26\x00\x01a\x00\x012\x03\x00\x01c\x26\x00\x01b\x00\x013";
    let will = Will { topic: "t/will", payload: b"rich", properties, ..Will::default() };
    let (peer, _) = Peer::open(&gateway, &with_will(V5, &[], will)).await;
    peer.vanish();
    let properties = listener.take("rich").await.properties;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(properties.user_properties, [pair("b", "1"), pair("a", "2"), pair("b", "3")]);
    assert_eq!((properties.payload_format_indicator, properties.content_type.as_deref()), (Some(1), Some("c")));
    assert!(properties.message_expiry_interval.is_some_and(|left| (50..=60).contains(&left)));
}
