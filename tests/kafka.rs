//! The log speaks Kafka to the clients that people have: real programs of their own languages against a real gateway.
//!
//! The programs are below `tests/kafka/clients`; `tests/run kafka` builds them. What is not built is skipped by name.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

/// Makes a test of each story for each client, named after both.
macro_rules! for_each_client {
    ($($story:ident),+) => {
        $(mod $story {
            use crate::client::Client;

            for_each_client!(@ $story, confluent = Confluent, aiokafka = Aiokafka, kafkajs = Kafkajs);
            for_each_client!(@ $story, java = Java, franz_go = Franz);
        })+
    };
    (@ $story:ident, $($name:ident = $client:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            super::$story(Client::$client).await;
        })+
    };
}

#[path = "kafka/avro.rs"]
mod avro;
#[path = "kafka/client.rs"]
mod client;
#[path = "kafka/errors.rs"]
mod errors;
#[path = "kafka/event.rs"]
mod event;
#[path = "kafka/everything.rs"]
mod everything;
#[path = "kafka/examples.rs"]
mod examples;
#[path = "kafka/groups.rs"]
mod groups;
#[path = "kafka/kcat.rs"]
mod kcat;
#[path = "kafka/order.rs"]
mod order;
#[path = "kafka/raw.rs"]
mod raw;
#[path = "kafka/security.rs"]
mod security;
#[path = "kafka/stage.rs"]
mod stage;
