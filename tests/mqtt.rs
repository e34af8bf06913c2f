//! The front door, as the MQTT clients that people have see it: real programs against a real gateway.
//!
//! The programs are below `tests/mqtt/clients`; `tests/run mqtt` builds them. What is not built is skipped by name.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

/// Makes a test of each story for each client, named after both.
macro_rules! for_each_client {
    ($($story:ident),+) => {
        $(mod $story {
            use crate::client::Client;

            for_each_client!(@ $story, paho = Paho, paho_5 = Paho5, mqtt_js = MqttJs, mqtt_js_5 = MqttJs5);
            for_each_client!(@ $story, rumqttc = Rumqttc, rumqttc_5 = Rumqttc5);
        })+
    };
    (@ $story:ident, $($name:ident = $client:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            super::$story(Client::$client).await;
        })+
    };
}

#[path = "mqtt/client.rs"]
mod client;
#[path = "mqtt/durable.rs"]
mod durable;
#[path = "mqtt/event.rs"]
mod event;
#[path = "mqtt/kills.rs"]
mod kills;
#[path = "mqtt/messages.rs"]
mod messages;
#[path = "mqtt/mosquitto.rs"]
mod mosquitto;
#[path = "mqtt/order.rs"]
mod order;
#[path = "mqtt/secured.rs"]
mod secured;
#[path = "mqtt/security.rs"]
mod security;
#[path = "mqtt/stage.rs"]
mod stage;
