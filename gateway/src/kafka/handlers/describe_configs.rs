//! DescribeConfigs: what tools ask of a topic or of the broker, by the names that Kafka has for it. Nothing can be set
//! through this port.

use super::once;
use crate::kafka::Kafka;
use crate::kafka::cluster::NODE;
use crate::kafka::messages::ErrorCode;
use crate::kafka::messages::describe_configs::{
    BROKER, Entry, Kind, Request, RequestResource, Resource, Response, Source, TOPIC,
};
use crate::topics::{self, Retention};
use weir_storage::frame::MAX_RECORD_BYTES;

pub(in crate::kafka) fn answer(kafka: &Kafka, request: Request) -> Response {
    let with_documentation = request.include_documentation;
    let describe = |asked: RequestResource| {
        let found = match asked.kind {
            TOPIC => match kafka.topics.named(&asked.name) {
                Some(found) => Ok(topic(kafka, found)),
                None => Err((ErrorCode::UnknownTopicOrPartition, "no such topic")),
            },
            // An empty name stands for what holds for every broker.
            BROKER if asked.name.is_empty() || asked.name == NODE.to_string() => Ok(broker(kafka)),
            BROKER => Err((ErrorCode::InvalidRequest, "the only broker is 0")),
            _ => Err((ErrorCode::InvalidRequest, "topics and brokers only")),
        };
        let resource = Resource { kind: asked.kind, name: asked.name, ..Resource::default() };
        match found {
            Err((error, message)) => {
                Resource { error: kafka.counters.failed(error), error_message: Some(message.to_owned()), ..resource }
            }
            Ok(mut entries) => {
                // Kafka takes no key for all of them, too.
                if let Some(keys) = asked.keys.as_ref().filter(|keys| !keys.is_empty()) {
                    entries.retain(|entry| keys.contains(&entry.name));
                }
                if !with_documentation {
                    entries.iter_mut().for_each(|entry| entry.documentation = None);
                }
                Resource { entries, ..resource }
            }
        }
    };
    let asked = once(request.resources, |asked| (asked.kind, asked.name.clone()));
    Response { resources: asked.into_iter().map(describe).collect() }
}

fn topic(kafka: &Kafka, topic: &topics::Topic) -> Vec<Entry> {
    let Retention { bytes, age } = topic.retention();
    let policy = match (topic.is_compacted(), bytes.is_some() || age.is_some()) {
        (true, true) => "compact,delete",
        (true, false) => "compact",
        (false, _) => "delete",
    };
    let long = |name, value: Option<u64>, documentation| {
        // -1 stands for no bound.
        let (text, source) =
            value.map_or(("-1".to_owned(), Source::Default), |value| (value.to_string(), Source::Topic));
        entry(name, text, source, Kind::Long, documentation)
    };
    vec![
        entry(
            "cleanup.policy",
            policy.to_owned(),
            Source::Topic,
            Kind::List,
            "whether old records go by age and size, or by key",
        ),
        long("retention.ms", age.map(|age| age.as_millis() as u64), "topics.retention_age"),
        long("retention.bytes", bytes, "topics.retention_bytes, of one partition"),
        entry("segment.bytes", kafka.options.segment_bytes.to_string(), Source::Topic, Kind::Int, "topics.segment"),
        entry("max.message.bytes", MAX_RECORD_BYTES.to_string(), Source::Default, Kind::Int, "the largest record"),
        entry(
            "message.timestamp.type",
            "CreateTime".to_owned(),
            Source::Default,
            Kind::String,
            "the time of the sample, or of its arrival if the sample's cannot be true",
        ),
        entry("compression.type", "uncompressed".to_owned(), Source::Default, Kind::String, "how batches are stored"),
        entry("min.insync.replicas", "1".to_owned(), Source::Default, Kind::Int, "there is one broker"),
    ]
}

fn broker(kafka: &Kafka) -> Vec<Entry> {
    let value = |name, text, kind, documentation| entry(name, text, Source::Broker, kind, documentation);
    vec![
        value("broker.id", NODE.to_string(), Kind::Int, "the only one"),
        value("advertised.listeners", kafka.broker.advertised.to_string(), Kind::String, "kafka.advertised"),
        value("auto.create.topics.enable", "false".to_owned(), Kind::Boolean, "topics come from the settings"),
        value(
            "connections.max.idle.ms",
            kafka.options.idle_timeout.as_millis().to_string(),
            Kind::Long,
            "kafka.idle_timeout",
        ),
    ]
}

fn entry(name: &str, value: String, source: Source, kind: Kind, documentation: &str) -> Entry {
    Entry { name: name.to_owned(), value: Some(value), source, kind, documentation: Some(documentation.to_owned()) }
}
