//! ListOffsets: where a partition begins and ends, and the first record of a time or later.

use weir_storage::IoError;

use super::{check_epoch, once, partition};
use crate::kafka::Kafka;
use crate::kafka::cluster::EPOCH;
use crate::kafka::messages::ErrorCode;
use crate::kafka::messages::list_offsets::{
    EARLIEST, LATEST, MAX_TIMESTAMP, Partition, Request, RequestPartition, Response, Topic,
};
use crate::topics;

pub(in crate::kafka) async fn answer(kafka: &Kafka, request: Request) -> Response {
    let topics = kafka.topics.clone();
    // A time is looked up in files.
    let read = kafka.reads.run(move || {
        let answers = once(request.topics, |asked| asked.name.clone()).into_iter().map(|asked| {
            let topic = topics.named(&asked.name);
            let answer = |place: RequestPartition| look(topic, place);
            let places = once(asked.partitions, |place| place.index);
            Topic { partitions: places.into_iter().map(answer).collect(), name: asked.name }
        });
        answers.collect::<Vec<_>>()
    });
    let topics = read.await.unwrap_or_default();
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        kafka.counters.failed(partition.error);
    }
    Response { topics }
}

fn look(topic: Option<&topics::Topic>, asked: RequestPartition) -> Partition {
    let nothing = Partition { index: asked.index, ..Partition::default() };
    let failed = |error| Partition { error, ..nothing };
    let Some(partition) = partition(topic, asked.index) else { return failed(ErrorCode::UnknownTopicOrPartition) };
    if let Err(error) = check_epoch(asked.current_leader_epoch) {
        return failed(error);
    }
    let reader = partition.reader();
    let found: Result<_, IoError> = match asked.timestamp {
        EARLIEST => Ok(Some((reader.start_offset(), -1))),
        LATEST => Ok(Some((reader.end_offset(), -1))),
        MAX_TIMESTAMP => reader.latest_record(),
        time => reader.first_record(time),
    };
    match found {
        Ok(Some((offset, timestamp))) => Partition { timestamp, offset: offset as i64, leader_epoch: EPOCH, ..nothing },
        Ok(None) => nothing,
        Err(error) => {
            tracing::warn!(%error, "a Kafka client's look for a time failed");
            failed(ErrorCode::KafkaStorageError)
        }
    }
}
