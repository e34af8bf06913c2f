//! What a client is told when something is wrong, in its own words.

use crate::client::Client;
use crate::kcat::kcat_says;
use crate::order::Order;
use crate::stage::{READINGS, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_named_as_that() {
    let stage = Stage::empty("", "").await;
    let order = Order { topic: "reedings".to_owned(), ..Order::of_group("mistyped") };
    // These say so and wait for the topic to be made; franz-go waits and says nothing.
    Client::Aiokafka.complains(&stage, &order, "Topic reedings not found").await;
    Client::Java.complains(&stage, &order, "reedings=UNKNOWN_TOPIC_OR_PARTITION").await;
    Client::Confluent.says(&stage, &order, "Unknown topic or partition").await;
    Client::Kafkajs.says(&stage, &order, "This server does not host this topic-partition").await;
    kcat_says(&stage, &["-C", "-t", "reedings"], "Unknown topic or partition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_nobody_has_is_out_of_range() {
    let stage = Stage::empty("", "").await;
    stage.store(0, 800).await;
    let order = Order { at: Some("offset:1000000".to_owned()), ..Order::records(1) };
    Client::Confluent.says(&stage, &order, "Offset out of range").await;
    Client::Aiokafka.says(&stage, &order, "OffsetOutOfRangeError").await;
    Client::Java.says(&stage, &order, "OffsetOutOfRangeException").await;
    Client::Franz.says(&stage, &order, "OFFSET_OUT_OF_RANGE").await;
    let asked = ["-C", "-t", "readings", "-o", "1000000", "-X", "topic.auto.offset.reset=error"];
    kcat_says(&stage, &asked, "Offset out of range").await;
}

/// Settings under which `readings` holds two segments of a megabyte in each of its partitions.
const LIMIT: &str = "segment = \"1 MiB\"\nretention_bytes = \"8 MiB\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unread_topic_lost_at_its_byte_limit_is_out_of_range_for_the_group_that_did_not_read_it() {
    let stage = Stage::empty("", LIMIT).await;
    stage.store(0, 800).await;
    // It has read a little and goes away.
    let order = Order { records: Some(100), commit_every: Some(100), ..Order::of_group("slow") };
    let Some(reader) = Client::Confluent.start(stage.kafka, &order) else { return };
    let first = reader.finish().await;
    let mut stored = 800;
    while !stage.has_removed(first[0].partition).await {
        stage.store(stored, READINGS).await;
        stored += READINGS;
    }
    // Told so, where it asks to be told; else it goes on with the oldest that is left.
    let told = Order { at: Some("offset:0".to_owned()), ..Order::records(1) };
    Client::Confluent.says(&stage, &told, "Offset out of range").await;
    Client::Java.says(&stage, &told, "OffsetOutOfRangeException").await;
    Client::Franz.says(&stage, &told, "OFFSET_OUT_OF_RANGE").await;
    let oldest = Order { records: Some(1000), ..Order::of_group("slow") };
    let taken = Client::Confluent.start(stage.kafka, &oldest).unwrap().finish().await;
    stage.expect(&taken, 1000);
}
