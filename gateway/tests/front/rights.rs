//! A right that is taken away holds at once: for who is connected, for what is out, and for sessions that come back.

use weir_gateway::mqtt::packet::Version::{V4, V5};

use crate::conformance::peer::{Opening, Peer};
use crate::world::Gateway;

/// Settings under which `viewer` may subscribe to `filters`, and `writer` may publish.
fn settings(filters: &str) -> String {
    format!(
        "[access]\nmqtt = \"open\"\nhttp = \"open\"\n\n[[mqtt.store]]\nfilter = \"t/#\"\n\n\
         [[access.rule]]\nclients = \"writer\"\npublish = [\"t/#\"]\n\n\
         [[access.rule]]\nclients = \"viewer\"\nsubscribe = [{filters}]\n"
    )
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_the_connection_and_withholds_the_subscription() {
    for version in [V4, V5] {
        let gateway = Gateway::start_by(tempfile::tempdir().unwrap(), &settings(r#""t/open/#", "t/secret/#""#)).await;
        let lasting = Opening::lasting(version, "viewer");
        let mut writer = Peer::new(&gateway, version, "writer").await;
        writer.publish_with(0x33, "t/secret/kept", &[], "kept").await;
        let (mut viewer, _) = Peer::open(&gateway, &lasting).await;
        assert_eq!(viewer.subscribe(&[], &[("t/open/#", 1), ("t/secret/+", 1)]).await, [1, 1]);
        writer.publish("t/secret/a", "out").await;
        writer.publish("t/open/a", "out too").await;
        // They are out, and not acknowledged.
        let mut payloads = Vec::new();
        for _ in 0..3 {
            payloads.push(viewer.received().await.payload);
        }
        payloads.sort();
        assert_eq!(payloads, ["kept", "out", "out too"]);
        gateway.reload(&settings(r#""t/open/#""#));
        viewer.expect_end(0x98).await;
        writer.publish("t/secret/a", "never").await;
        writer.publish("t/open/a", "open").await;
        let (mut viewer, opened) = Peer::open(&gateway, &lasting).await;
        assert_eq!(opened.flags, 1, "the session is there, with what it may have");
        let again = viewer.take("out too").await;
        assert!(again.dup);
        viewer.take("open").await;
        viewer.expect_quiet().await;
        viewer.leave().await;
        let (_, metrics) = gateway.get("/metrics").await;
        assert!(metrics.contains("\nweir_gateway_mqtt_subscriptions_withheld_total 1\n"), "{metrics}");
        // It is not forgotten: a mistake in the rules is mended, and from then on it brings what it did.
        let gateway = Gateway::start_by(gateway.stop().await, &settings(r#""t/open/#", "t/secret/#""#)).await;
        let mut writer = Peer::new(&gateway, version, "writer").await;
        writer.publish("t/secret/a", "allowed again").await;
        let (mut viewer, _) = Peer::open(&gateway, &lasting).await;
        viewer.take("allowed again").await;
        viewer.expect_quiet().await;
    }
}
