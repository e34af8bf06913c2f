//! The rest: PINGREQ, DISCONNECT, errors, and rules of chapters 2 and 4 that hold for every packet.

use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use super::gateway;
use super::peer::{Opening, Peer, publish, subscribe};

const BOTH: [Version; 2] = [V4, V5];

#[tokio::test]
async fn a_ping_is_answered() {
    let gateway = gateway().await;
    for version in BOTH {
        Peer::new(&gateway, version, "a").await.expect_quiet().await;
    }
}

#[tokio::test]
async fn a_disconnect_is_checked_and_ends_the_connection() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "a").await;
        // Nothing behind a DISCONNECT is looked at.
        peer.send(&[vec![0xe0, 0], publish(version, 1, "t/after", 1, b"x")].concat()).await;
        assert_eq!(peer.next().await, None);
        for (bytes, code) in [(&[0xe1, 0][..], 0x81), (&[0xe0, 2, 0x8e, 0], 0x82), (&[0xe0, 2, 0x03, 0], 0x82)] {
            let mut peer = Peer::new(&gateway, version, "a").await;
            peer.send(bytes).await;
            peer.expect_end(code).await;
        }
    }
    assert!(gateway.records("messages").await.is_empty());
}

#[tokio::test]
async fn reserved_flags_of_every_packet_are_checked() {
    let gateway = gateway().await;
    for version in BOTH {
        for first in [0x41, 0x51, 0x60, 0x6a, 0x71, 0x80, 0xa0, 0xc1, 0xe8, 0x00, 0x0f] {
            let mut peer = Peer::new(&gateway, version, "a").await;
            peer.send(&[first, 2, 0, 1]).await;
            peer.expect_end(0x81).await;
        }
    }
}

#[tokio::test]
async fn what_is_refused_to_one_session_does_not_touch_another() {
    let gateway = gateway().await;
    let mut healthy = Peer::new(&gateway, V5, "healthy").await;
    healthy.subscribe(&[], &[("t/#", 1)]).await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "broken").await;
        peer.send(&[0x00, 0x00]).await;
        peer.expect_end(0x81).await;
    }
    let mut other = Peer::new(&gateway, V4, "other").await;
    other.publish("t/a", "on").await;
    healthy.take("on").await;
}

/// Section 1.5.4: U+FEFF is a character like any other.
#[tokio::test]
async fn a_byte_order_mark_is_kept_in_names() {
    let gateway = gateway().await;
    for version in BOTH {
        let mut peer = Peer::new(&gateway, version, "a").await;
        peer.subscribe(&[], &[("t/\u{feff}a", 0)]).await;
        let mut other = Peer::new(&gateway, version, "other").await;
        other.publish("t/a", "without").await;
        other.publish("t/\u{feff}a", "with").await;
        assert_eq!(peer.take("with").await.topic, "t/\u{feff}a");
        peer.leave().await;
    }
}

#[tokio::test]
async fn bytes_may_come_in_any_pieces() {
    let gateway = gateway().await;
    for version in BOTH {
        let all = [
            Opening::new(version, "pieces").bytes(),
            subscribe(version, 2, &[], &[("t/pieces", 0)]),
            publish(version, 1, "t/pieces", 1, b"x"),
        ]
        .concat();
        let mut peer = Peer::dial(&gateway, version).await;
        for byte in all {
            peer.send(&[byte]).await;
        }
        assert_eq!(peer.opened().await.code, 0);
        assert_eq!(peer.next().await.unwrap()[0], 0x90);
        let mut kinds = [peer.next().await.unwrap()[0], peer.next().await.unwrap()[0]];
        kinds.sort_unstable();
        assert_eq!(kinds, [0x30, 0x40]);
        peer.leave().await;
    }
}
