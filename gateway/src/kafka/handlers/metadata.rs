//! Metadata: the only broker leads every partition. A topic that is not there is not made: topics come from the settings.

use super::once;
use crate::kafka::Kafka;
use crate::kafka::cluster::{EPOCH, NODE};
use crate::kafka::messages::ErrorCode;
use crate::kafka::messages::metadata::{Partition, Request, RequestTopic, Response, Topic};
use crate::topics;

/// The longest name that a topic may have, in bytes.
const MAX_NAME: usize = 249;

pub(in crate::kafka) fn answer(kafka: &Kafka, request: Request) -> Response {
    let topics = match request.topics {
        None => kafka.topics.all().iter().map(|topic| describe(topic)).collect(),
        Some(asked) => {
            let asked = once(asked, |topic| (topic.id, topic.name.clone()));
            asked.into_iter().map(|topic| named(kafka, topic)).collect()
        }
    };
    Response {
        brokers: vec![kafka.broker.node()],
        cluster_id: Some(kafka.broker.cluster.clone()),
        controller_id: NODE,
        topics,
    }
}

fn named(kafka: &Kafka, RequestTopic { id, name }: RequestTopic) -> Topic {
    // Topics have no ids here.
    let found = match &name {
        None => Err(ErrorCode::UnknownTopicId),
        Some(name) if !is_name(name) => Err(ErrorCode::InvalidTopic),
        Some(name) => kafka.topics.named(name).ok_or(ErrorCode::UnknownTopicOrPartition),
    };
    match found {
        Ok(topic) => describe(topic),
        Err(error) => Topic { error: kafka.counters.failed(error), name, id, ..Topic::default() },
    }
}

fn describe(topic: &topics::Topic) -> Topic {
    let partition = |index| Partition { error: ErrorCode::None, index, leader_id: NODE, leader_epoch: EPOCH };
    Topic {
        error: ErrorCode::None,
        name: Some(topic.name().to_owned()),
        id: [0; 16],
        is_internal: topic.is_internal(),
        // At most `topics::layout::MAX_PARTITIONS`.
        partitions: (0..topic.partitions().len() as i32).map(partition).collect(),
    }
}

/// Whether a topic could have that name, by Kafka's rule.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(is_plain)
}
