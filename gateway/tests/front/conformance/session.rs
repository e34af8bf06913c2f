//! Sessions: sections 3.1.2.4, 3.1.2.11, 3.2.2.1, 4.1 and 4.4.

use weir_gateway::mqtt::packet::Version::{V4, V5};

use super::peer::{AN_HOUR, Opening, Peer, publish_as};
use super::{gateway, gateway_on};

const BOTH: [weir_gateway::mqtt::packet::Version; 2] = [V4, V5];

#[tokio::test]
async fn a_session_that_lasts_is_gone_on_with_and_keeps_its_subscriptions() {
    let gateway = gateway().await;
    for version in BOTH {
        let id = format!("lasting-{version:?}");
        let topic = format!("t/{id}");
        let (mut peer, opened) = Peer::open(&gateway, &Opening::lasting(version, &id)).await;
        assert_eq!((opened.flags, opened.code), (0, 0), "a new session");
        assert_eq!(peer.subscribe(&[], &[(&topic, 1)]).await, [1]);
        peer.leave().await;
        Peer::new(&gateway, version, "other").await.publish(&topic, "while away").await;
        let (mut peer, opened) = Peer::open(&gateway, &Opening::lasting(version, &id)).await;
        assert_eq!((opened.flags, opened.code), (1, 0), "the session from before");
        peer.take("while away").await;
        peer.leave().await;
    }
}

#[tokio::test]
async fn a_session_outlives_the_gateway() {
    let mut gateway = gateway().await;
    for version in BOTH {
        let id = format!("lasting-{version:?}");
        let (mut peer, _) = Peer::open(&gateway, &Opening::lasting(version, &id)).await;
        peer.subscribe(&[], &[("t/again", 1)]).await;
        peer.vanish();
    }
    gateway = gateway_on(gateway.stop().await).await;
    Peer::new(&gateway, V5, "other").await.publish("t/again", "after").await;
    for version in BOTH {
        let id = format!("lasting-{version:?}");
        let (mut peer, opened) = Peer::open(&gateway, &Opening::lasting(version, &id)).await;
        assert_eq!(opened.flags, 1);
        peer.take("after").await;
    }
}

#[tokio::test]
async fn a_clean_start_forgets_the_session_from_before() {
    let gateway = gateway().await;
    for version in BOTH {
        let (mut peer, _) = Peer::open(&gateway, &Opening::lasting(version, "fresh")).await;
        peer.subscribe(&[], &[("t/forgotten", 1)]).await;
        peer.leave().await;
        let (mut peer, opened) = Peer::open(&gateway, &Opening::new(version, "fresh")).await;
        assert_eq!((opened.flags, opened.code), (0, 0));
        // What the old subscription would have brought comes before what the new one brings.
        peer.subscribe(&[], &[("t/remembered", 1)]).await;
        peer.publish("t/forgotten", "no").await;
        peer.publish("t/remembered", "yes").await;
        peer.take("yes").await;
        peer.leave().await;
        // And a clean session leaves nothing behind.
        let (peer, opened) = Peer::open(&gateway, &Opening::lasting(version, "fresh")).await;
        assert_eq!(opened.flags, 0);
        peer.leave().await;
        let (peer, opened) = Peer::open(&gateway, &Opening::new(version, "fresh")).await;
        assert_eq!(opened.flags, 0);
        peer.leave().await;
    }
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let gateway = gateway().await;
    let brief = |id| Opening { properties: &[0x11, 0, 0, 0, 1], ..Opening::lasting(V5, id) };
    let (mut stays, _) = Peer::open(&gateway, &brief("stays")).await;
    stays.subscribe(&[], &[("t/brief", 1)]).await;
    let (mut goes, _) = Peer::open(&gateway, &brief("goes")).await;
    goes.subscribe(&[], &[("t/brief", 1)]).await;
    goes.leave().await;
    gateway.shows("mqtt_sessions_expired_total 1").await;
    let (_, opened) = Peer::open(&gateway, &brief("goes")).await;
    assert_eq!(opened.flags, 0);
    // While a client is connected the time of its session does not pass, and it has been here for longer.
    stays.expect_quiet().await;
    let (_, opened) = Peer::open(&gateway, &brief("stays")).await;
    assert_eq!(opened.flags, 1);
}

#[tokio::test]
async fn a_disconnect_may_change_how_long_a_session_lasts_but_not_from_nothing() {
    let gateway = gateway().await;
    let lasting = Opening::lasting(V5, "changes");
    let (mut peer, _) = Peer::open(&gateway, &lasting).await;
    peer.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    assert_eq!(peer.next().await, None);
    let (peer, opened) = Peer::open(&gateway, &lasting).await;
    assert_eq!(opened.flags, 0, "it ended with the connection");
    peer.leave().await;
    let mut none = Peer::new(&gateway, V5, "changes").await;
    none.send(&[&[0xe0, 7, 0, 5][..], AN_HOUR].concat()).await;
    none.expect_end(0x82).await;
}

/// Section 4.4: what was not acknowledged is sent again with its packet id, and marked.
#[tokio::test]
async fn what_was_not_acknowledged_comes_again_as_a_duplicate() {
    let gateway = gateway().await;
    for version in BOTH {
        let lasting = Opening::lasting(version, "again");
        let (mut peer, _) = Peer::open(&gateway, &lasting).await;
        peer.subscribe(&[], &[("t/again", 1)]).await;
        let mut other = Peer::new(&gateway, version, "other").await;
        for payload in ["one", "two"] {
            other.publish("t/again", payload).await;
        }
        let (one, two) = (peer.received().await, peer.received().await);
        assert!(!one.dup && !two.dup && one.id != two.id && one.id != 0 && two.id != 0);
        peer.expect_quiet().await;
        peer.vanish();
        let (mut peer, _) = Peer::open(&gateway, &lasting).await;
        for first in [&one, &two] {
            let again = peer.received().await;
            assert_eq!((again.id, &again.payload, again.dup), (first.id, &first.payload, true));
        }
        for id in [one.id, two.id] {
            peer.send(&crate::script::packet(0x40, &id.to_be_bytes())).await;
        }
        peer.expect_quiet().await;
        peer.leave().await;
        let (mut peer, _) = Peer::open(&gateway, &lasting).await;
        peer.expect_quiet().await;
        peer.leave().await;
    }
}

/// Section 4.1: messages that wait to be sent are part of the session, retained ones too once they were asked for.
#[tokio::test]
async fn retained_messages_that_were_asked_for_come_although_the_connection_ends_meanwhile() {
    let gateway = gateway().await;
    let mut other = Peer::new(&gateway, V5, "other").await;
    for number in 0..150 {
        other.publish_with(0x33, &format!("t/kept/{number:03}"), &[], &number.to_string()).await;
    }
    // It takes two at a time.
    let two_at_a_time = [AN_HOUR, &[0x21, 0, 2]].concat();
    let opening = Opening { properties: &two_at_a_time, ..Opening::lasting(V5, "slow") };
    let (mut peer, _) = Peer::open(&gateway, &opening).await;
    peer.subscribe(&[], &[("t/kept/+", 1), ("t/none", 1)]).await;
    peer.take("0").await;
    let out = [peer.received().await, peer.received().await];
    peer.vanish();
    let (mut peer, opened) = Peer::open(&gateway, &opening).await;
    assert_eq!(opened.flags, 1);
    for known in out {
        let again = peer.received().await;
        assert_eq!((again.id, again.payload, again.dup), (known.id, known.payload, true));
        peer.send(&crate::script::packet(0x40, &again.id.to_be_bytes())).await;
    }
    for number in 3..150 {
        let received = peer.take(&number.to_string()).await;
        assert!(received.retain && !received.dup);
    }
    peer.expect_quiet().await;
    // They came, and do not come again.
    peer.leave().await;
    let (mut peer, _) = Peer::open(&gateway, &opening).await;
    peer.expect_quiet().await;
}

/// Section 4.3.3, over connections: the same packet id is the same message until it is released.
#[tokio::test]
async fn a_message_of_qos_2_is_stored_once_however_often_it_is_sent() {
    let mut gateway = gateway().await;
    for version in BOTH {
        let id = format!("twice-{version:?}");
        let lasting = Opening::lasting(version, &id);
        let (mut peer, _) = Peer::open(&gateway, &lasting).await;
        peer.send(&publish_as(version, 0x34, "t/once", 5, &[], id.as_bytes())).await;
        peer.expect(&[0x50, 2, 0, 5]).await;
        peer.send(&publish_as(version, 0x3c, "t/once", 5, &[], id.as_bytes())).await;
        peer.expect(&[0x50, 2, 0, 5]).await;
        peer.vanish();
        gateway = gateway_on(gateway.stop().await).await;
        let (mut peer, opened) = Peer::open(&gateway, &lasting).await;
        assert_eq!(opened.flags, 1);
        peer.send(&publish_as(version, 0x3c, "t/once", 5, &[], id.as_bytes())).await;
        peer.expect(&[0x50, 2, 0, 5]).await;
        peer.send(&[0x62, 2, 0, 5]).await;
        peer.expect(&[0x70, 2, 0, 5]).await;
        // Released: the next one with this id is another message.
        peer.send(&publish_as(version, 0x34, "t/once", 5, &[], id.as_bytes())).await;
        peer.expect(&[0x50, 2, 0, 5]).await;
        peer.send(&[0x62, 2, 0, 5]).await;
        peer.expect(&[0x70, 2, 0, 5]).await;
        peer.leave().await;
    }
    assert_eq!(gateway.records("messages").await.len(), 4);
}
