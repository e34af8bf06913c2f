//! What groups have committed.

use bytes::Bytes;
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};

use super::{agree, group, or_unknown, text, topic, when};
use crate::kafka::messages::{ApiKey, ErrorCode, Request, offset_commit, offset_delete, offset_fetch};
use crate::kafka::wire::Input;

pub(super) fn commit(version: i16) -> Bytes {
    let asked = theirs::OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(5)
        .with_member_id(text("member"))
        .with_group_instance_id(when(version >= 7, Some(text("instance"))))
        .with_retention_time_ms(if version <= 4 { 86_400_000 } else { -1 })
        .with_topics(vec![OffsetCommitRequestTopic::default().with_name(topic("readings")).with_partitions(vec![
                OffsetCommitRequestPartition::default()
                    .with_partition_index(2)
                    .with_committed_offset(1 << 40)
                    .with_committed_leader_epoch(or_unknown(version >= 6, 3))
                    .with_committed_metadata(Some(text("note"))),
                OffsetCommitRequestPartition::default()
                    .with_partition_index(3)
                    .with_committed_offset(7)
                    .with_committed_metadata(None),
            ])]);
    let partition = |index, offset, leader_epoch, metadata: Option<&str>| offset_commit::RequestPartition {
        index,
        offset,
        leader_epoch,
        metadata: metadata.map(str::to_owned),
    };
    let expected = offset_commit::Request {
        group_id: "g".to_owned(),
        generation_id: 5,
        member_id: "member".to_owned(),
        group_instance_id: (version >= 7).then(|| "instance".to_owned()),
        retention_time_ms: if version <= 4 { 86_400_000 } else { -1 },
        topics: vec![offset_commit::RequestTopic {
            name: "readings".to_owned(),
            partitions: vec![
                partition(2, 1 << 40, or_unknown(version >= 6, 3), Some("note")),
                partition(3, 7, -1, None),
            ],
        }],
    };
    let response = offset_commit::Response {
        topics: vec![offset_commit::Topic {
            name: "readings".to_owned(),
            partitions: vec![offset_commit::Partition { index: 2, error: ErrorCode::OffsetMetadataTooLarge }],
        }],
    };
    let answered = theirs::OffsetCommitResponse::default().with_topics(vec![
        OffsetCommitResponseTopic::default().with_name(topic("readings")).with_partitions(vec![
            OffsetCommitResponsePartition::default().with_partition_index(2).with_error_code(12),
        ]),
    ]);
    agree(
        ApiKey::OffsetCommit,
        version,
        asked,
        Request::OffsetCommit(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn fetch(version: i16) -> Bytes {
    let batched = version >= 8;
    let asked = theirs::OffsetFetchRequest::default().with_require_stable(version >= 7);
    let asked = if batched {
        let topics =
            OffsetFetchRequestTopics::default().with_name(topic("readings")).with_partition_indexes(vec![1, 2]);
        asked.with_topics(Some(Vec::new())).with_groups(vec![
            OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(Some(vec![topics])),
            OffsetFetchRequestGroup::default().with_group_id(group("h")).with_topics(None),
        ])
    } else {
        let topics = OffsetFetchRequestTopic::default().with_name(topic("readings")).with_partition_indexes(vec![1, 2]);
        asked.with_group_id(group("g")).with_topics(Some(vec![topics]))
    };
    let topics = vec![offset_fetch::RequestTopic { name: "readings".to_owned(), partitions: vec![1, 2] }];
    let mut groups = vec![offset_fetch::RequestGroup { group_id: "g".to_owned(), topics: Some(topics) }];
    if batched {
        groups.push(offset_fetch::RequestGroup { group_id: "h".to_owned(), topics: None });
    }
    let expected = offset_fetch::Request { groups, require_stable: version >= 7 };
    let response = offset_fetch::Response {
        groups: vec![offset_fetch::Group {
            group_id: "g".to_owned(),
            topics: vec![offset_fetch::Topic {
                name: "readings".to_owned(),
                partitions: vec![offset_fetch::Partition {
                    index: 1,
                    offset: 1 << 40,
                    leader_epoch: 3,
                    metadata: Some("note".to_owned()),
                    error: ErrorCode::UnknownTopicOrPartition,
                }],
            }],
            error: ErrorCode::GroupIdNotFound,
        }],
    };
    let answered = if batched { answered_batched() } else { answered_single(version) };
    agree(
        ApiKey::OffsetFetch,
        version,
        asked,
        Request::OffsetFetch(expected),
        |out| response.encode(out, version),
        answered,
    )
}

fn answered_batched() -> theirs::OffsetFetchResponse {
    let partition = OffsetFetchResponsePartitions::default()
        .with_partition_index(1)
        .with_committed_offset(1 << 40)
        .with_committed_leader_epoch(3)
        .with_metadata(Some(text("note")))
        .with_error_code(3);
    theirs::OffsetFetchResponse::default().with_groups(vec![
        OffsetFetchResponseGroup::default()
            .with_group_id(group("g"))
            .with_topics(vec![
                OffsetFetchResponseTopics::default().with_name(topic("readings")).with_partitions(vec![partition]),
            ])
            .with_error_code(69),
    ])
}

fn answered_single(version: i16) -> theirs::OffsetFetchResponse {
    let partition = OffsetFetchResponsePartition::default()
        .with_partition_index(1)
        .with_committed_offset(1 << 40)
        .with_committed_leader_epoch(or_unknown(version >= 5, 3))
        .with_metadata(Some(text("note")))
        .with_error_code(3);
    theirs::OffsetFetchResponse::default()
        .with_topics(vec![
            OffsetFetchResponseTopic::default().with_name(topic("readings")).with_partitions(vec![partition]),
        ])
        .with_error_code(when(version >= 2, 69))
}

#[test]
fn null_asks_for_everything_that_a_group_has_committed() {
    let bytes = [0, 1, b'g', 0xff, 0xff, 0xff, 0xff];
    let request = offset_fetch::Request::decode(&mut Input::new(&bytes), 2).unwrap();
    assert_eq!(request.groups, [offset_fetch::RequestGroup { group_id: "g".to_owned(), topics: None }]);
}

pub(super) fn delete(version: i16) -> Bytes {
    let asked = theirs::OffsetDeleteRequest::default().with_group_id(group("g")).with_topics(vec![
        OffsetDeleteRequestTopic::default()
            .with_name(topic("readings"))
            .with_partitions(vec![OffsetDeleteRequestPartition::default().with_partition_index(2)]),
    ]);
    let expected = offset_delete::Request {
        group_id: "g".to_owned(),
        topics: vec![offset_delete::RequestTopic { name: "readings".to_owned(), partitions: vec![2] }],
    };
    let response = offset_delete::Response {
        error: ErrorCode::NonEmptyGroup,
        topics: vec![offset_delete::Topic {
            name: "readings".to_owned(),
            partitions: vec![offset_delete::Partition { index: 2, error: ErrorCode::GroupSubscribedToTopic }],
        }],
    };
    let answered = theirs::OffsetDeleteResponse::default().with_error_code(68).with_topics(vec![
        OffsetDeleteResponseTopic::default().with_name(topic("readings")).with_partitions(vec![
            OffsetDeleteResponsePartition::default().with_partition_index(2).with_error_code(86),
        ]),
    ]);
    agree(
        ApiKey::OffsetDelete,
        version,
        asked,
        Request::OffsetDelete(expected),
        |out| response.encode(out, version),
        answered,
    )
}
