//! Topics, their offsets, their records and their settings.

use bytes::Bytes;
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use uuid::Uuid;

use super::{NODE, agree, joined, or_unknown, text, topic, when};
use crate::kafka::messages::{
    ApiKey, ErrorCode, Request, describe_cluster, describe_configs, fetch, list_offsets, metadata, produce,
};
use crate::kafka::wire::{Input, Output};

pub(super) fn produce(version: i16) -> Bytes {
    let records = Bytes::from_static(b"records");
    let partition = PartitionProduceData::default().with_index(2).with_records(Some(records));
    let asked = theirs::ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![
        TopicProduceData::default().with_name(topic("readings")).with_partition_data(vec![partition]),
    ]);
    let topics = vec![produce::RequestTopic { name: "readings".to_owned(), partitions: vec![2] }];
    let expected = produce::Request { acks: -1, topics: topics.clone() };
    let response = produce::Response { error: ErrorCode::TopicAuthorizationFailed, topics };
    let refused = PartitionProduceResponse::default().with_index(2).with_error_code(29);
    let refused = refused.with_base_offset(-1).with_log_append_time_ms(-1);
    let answered = theirs::ProduceResponse::default().with_responses(vec![
        TopicProduceResponse::default().with_name(topic("readings")).with_partition_responses(vec![refused]),
    ]);
    let answer = |out: &mut Output| response.encode(out, version);
    agree(ApiKey::Produce, version, asked, Request::Produce(expected), answer, answered)
}

pub(super) fn metadata(version: i16) -> Bytes {
    let id = when(version >= 10, [7; 16]);
    let asked = theirs::MetadataRequest::default()
        .with_topics(Some(vec![
            MetadataRequestTopic::default().with_name(Some(topic("readings"))).with_topic_id(Uuid::from_bytes(id)),
        ]))
        .with_allow_auto_topic_creation(version < 4)
        .with_include_cluster_authorized_operations((8..=10).contains(&version))
        .with_include_topic_authorized_operations(version >= 8);
    let expected = metadata::Request {
        topics: Some(vec![metadata::RequestTopic { id, name: Some("readings".to_owned()) }]),
        allow_auto_topic_creation: version < 4,
        include_cluster_authorized_operations: (8..=10).contains(&version),
        include_topic_authorized_operations: version >= 8,
    };
    let response = metadata::Response {
        brokers: vec![metadata::Broker { node_id: 0, host: "127.0.0.1".to_owned(), port: 9092 }],
        cluster_id: Some("cluster".to_owned()),
        controller_id: 0,
        topics: vec![
            metadata::Topic {
                error: ErrorCode::None,
                name: Some("weir.loss".to_owned()),
                id,
                is_internal: true,
                partitions: vec![metadata::Partition {
                    error: ErrorCode::None,
                    index: 3,
                    leader_id: 0,
                    leader_epoch: 4,
                }],
            },
            metadata::Topic { error: ErrorCode::UnknownTopicOrPartition, ..metadata::Topic::default() },
        ],
    };
    let partition = MetadataResponsePartition::default()
        .with_partition_index(3)
        .with_leader_id(NODE)
        .with_leader_epoch(or_unknown(version >= 7, 4))
        .with_replica_nodes(vec![NODE])
        .with_isr_nodes(vec![NODE]);
    let answered = theirs::MetadataResponse::default()
        .with_brokers(vec![
            MetadataResponseBroker::default().with_node_id(NODE).with_host(text("127.0.0.1")).with_port(9092),
        ])
        .with_cluster_id(when(version >= 2, Some(text("cluster"))))
        .with_controller_id(BrokerId(or_unknown(version >= 1, 0)))
        .with_topics(vec![
            MetadataResponseTopic::default()
                .with_name(Some(topic("weir.loss")))
                .with_topic_id(Uuid::from_bytes(id))
                .with_is_internal(version >= 1)
                .with_partitions(vec![partition]),
            MetadataResponseTopic::default().with_error_code(3).with_name(if version >= 12 {
                None
            } else {
                Some(topic(""))
            }),
        ]);
    agree(ApiKey::Metadata, version, asked, Request::Metadata(expected), |out| response.encode(out, version), answered)
}

#[test]
fn all_topics_are_asked_for_by_an_empty_list_in_version_0_and_by_null_later() {
    let topics = |bytes: &[u8], version| metadata::Request::decode(&mut Input::new(bytes), version).unwrap().topics;
    assert_eq!(topics(&[0, 0, 0, 0], 0), None);
    assert_eq!(topics(&[0, 0, 0, 0], 1), Some(vec![]));
    assert_eq!(topics(&[0xff, 0xff, 0xff, 0xff], 1), None);
    assert_eq!(topics(&[0, 0, 0, 0, 0], 9), None);
}

pub(super) fn list_offsets(version: i16) -> Bytes {
    let asked = theirs::ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(when(version >= 2, 1))
        .with_topics(vec![ListOffsetsTopic::default().with_name(topic("readings")).with_partitions(vec![
                ListOffsetsPartition::default()
                    .with_partition_index(2)
                    .with_current_leader_epoch(or_unknown(version >= 4, 6))
                    .with_timestamp(1_700_000_000_123),
            ])]);
    let expected = list_offsets::Request {
        replica_id: -1,
        isolation_level: when(version >= 2, 1),
        topics: vec![list_offsets::RequestTopic {
            name: "readings".to_owned(),
            partitions: vec![list_offsets::RequestPartition {
                index: 2,
                current_leader_epoch: or_unknown(version >= 4, 6),
                timestamp: 1_700_000_000_123,
            }],
        }],
    };
    let response = list_offsets::Response {
        topics: vec![list_offsets::Topic {
            name: "readings".to_owned(),
            partitions: vec![list_offsets::Partition {
                index: 2,
                error: ErrorCode::UnknownTopicOrPartition,
                timestamp: 1_700_000_000_456,
                offset: 1 << 40,
                leader_epoch: 5,
            }],
        }],
    };
    let answered = theirs::ListOffsetsResponse::default().with_topics(vec![
        ListOffsetsTopicResponse::default().with_name(topic("readings")).with_partitions(vec![
            ListOffsetsPartitionResponse::default()
                .with_partition_index(2)
                .with_error_code(3)
                .with_timestamp(1_700_000_000_456)
                .with_offset(1 << 40)
                .with_leader_epoch(or_unknown(version >= 4, 5)),
        ]),
    ]);
    agree(
        ApiKey::ListOffsets,
        version,
        asked,
        Request::ListOffsets(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn fetch(version: i16) -> Bytes {
    let asked = theirs::FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(52_428_800)
        .with_isolation_level(1)
        .with_session_id(when(version >= 7, 9))
        .with_session_epoch(or_unknown(version >= 7, 3))
        .with_topics(vec![FetchTopic::default().with_topic(topic("readings")).with_partitions(vec![
                FetchPartition::default()
                    .with_partition(1)
                    .with_current_leader_epoch(or_unknown(version >= 9, 2))
                    .with_fetch_offset(1 << 33)
                    .with_last_fetched_epoch(or_unknown(version >= 12, 8))
                    .with_log_start_offset(i64::from(or_unknown(version >= 5, 11)))
                    .with_partition_max_bytes(1 << 20),
            ])])
        .with_forgotten_topics_data(when(
            version >= 7,
            vec![ForgottenTopic::default().with_topic(topic("old")).with_partitions(vec![4, 5])],
        ))
        .with_rack_id(text(when(version >= 11, "rack")))
        .with_cluster_id(when(version >= 12, Some(text("a tagged field"))));
    let expected = fetch::Request {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 52_428_800,
        isolation_level: 1,
        session_id: when(version >= 7, 9),
        session_epoch: or_unknown(version >= 7, 3),
        topics: vec![fetch::RequestTopic {
            name: "readings".to_owned(),
            partitions: vec![fetch::RequestPartition {
                index: 1,
                current_leader_epoch: or_unknown(version >= 9, 2),
                offset: 1 << 33,
                last_fetched_epoch: or_unknown(version >= 12, 8),
                log_start_offset: i64::from(or_unknown(version >= 5, 11)),
                max_bytes: 1 << 20,
            }],
        }],
        forgotten: when(version >= 7, vec![fetch::Forgotten { name: "old".to_owned(), partitions: vec![4, 5] }]),
    };
    let response = fetched();
    let partition = |index, error, records: &'static [u8]| {
        PartitionData::default()
            .with_partition_index(index)
            .with_error_code(error)
            .with_high_watermark(100)
            .with_last_stable_offset(99)
            .with_log_start_offset(i64::from(or_unknown(version >= 5, 12)))
            .with_aborted_transactions(None)
            .with_preferred_read_replica(BrokerId(-1))
            .with_records(Some(Bytes::from_static(records)))
    };
    let answered = theirs::FetchResponse::default()
        .with_error_code(when(version >= 7, 70))
        .with_session_id(when(version >= 7, 13))
        .with_responses(vec![
            FetchableTopicResponse::default()
                .with_topic(topic("readings"))
                .with_partitions(vec![partition(0, 0, b"one two three"), partition(1, 1, b"")]),
        ]);
    agree(ApiKey::Fetch, version, asked, Request::Fetch(expected), |out| response.encode(out, version), answered)
}

fn fetched() -> fetch::Response {
    let partition = |index, error, records| fetch::Partition {
        index,
        error,
        high_watermark: 100,
        last_stable_offset: 99,
        log_start_offset: 12,
        records,
    };
    let blocks = vec![Bytes::from_static(b"one two "), Bytes::new(), Bytes::from_static(b"three")];
    fetch::Response {
        error: ErrorCode::FetchSessionIdNotFound,
        session_id: 13,
        topics: vec![fetch::Topic {
            name: "readings".to_owned(),
            partitions: vec![
                partition(0, ErrorCode::None, blocks),
                partition(1, ErrorCode::OffsetOutOfRange, Vec::new()),
            ],
        }],
    }
}

#[test]
fn records_are_passed_through_by_reference() {
    let response = fetched();
    let mut out = Output::new();
    response.encode(&mut out, 12);
    let pieces = out.finish();
    let given = &response.topics[0].partitions[0].records;
    assert_eq!(pieces.len(), 4, "fields, two blocks, fields");
    assert_eq!(pieces[1].as_ptr(), given[0].as_ptr());
    assert_eq!(pieces[2].as_ptr(), given[2].as_ptr());
    let mut out = Output::new();
    response.encode(&mut out, 4);
    assert_eq!(out.len(), joined(out).len());
}

pub(super) fn describe_configs(version: i16) -> Bytes {
    let asked = theirs::DescribeConfigsRequest::default()
        .with_resources(vec![
            DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("readings"))
                .with_configuration_keys(Some(vec![text("retention.ms")])),
            DescribeConfigsResource::default()
                .with_resource_type(4)
                .with_resource_name(text("0"))
                .with_configuration_keys(None),
        ])
        .with_include_synonyms(true)
        .with_include_documentation(version >= 3);
    let resource = |kind, name: &str, keys| describe_configs::RequestResource { kind, name: name.to_owned(), keys };
    let expected = describe_configs::Request {
        resources: vec![
            resource(describe_configs::TOPIC, "readings", Some(vec!["retention.ms".to_owned()])),
            resource(describe_configs::BROKER, "0", None),
        ],
        include_synonyms: true,
        include_documentation: version >= 3,
    };
    let response = describe_configs::Response {
        resources: vec![describe_configs::Resource {
            error: ErrorCode::InvalidRequest,
            error_message: Some("why".to_owned()),
            kind: describe_configs::TOPIC,
            name: "readings".to_owned(),
            entries: vec![describe_configs::Entry {
                name: "retention.ms".to_owned(),
                value: Some("60000".to_owned()),
                source: describe_configs::Source::Topic,
                kind: describe_configs::Kind::Long,
                documentation: Some("how long".to_owned()),
            }],
        }],
    };
    let entry = DescribeConfigsResourceResult::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("60000")))
        .with_read_only(true)
        .with_config_source(1)
        .with_config_type(when(version >= 3, 5))
        .with_documentation(if version >= 3 { Some(text("how long")) } else { Some(text("")) });
    let answered = theirs::DescribeConfigsResponse::default().with_results(vec![
        DescribeConfigsResult::default()
            .with_error_code(42)
            .with_error_message(Some(text("why")))
            .with_resource_type(2)
            .with_resource_name(text("readings"))
            .with_configs(vec![entry]),
    ]);
    agree(
        ApiKey::DescribeConfigs,
        version,
        asked,
        Request::DescribeConfigs(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn describe_cluster(version: i16) -> Bytes {
    let asked = theirs::DescribeClusterRequest::default()
        .with_include_cluster_authorized_operations(true)
        .with_endpoint_type(if version >= 1 { 2 } else { 1 });
    let expected = describe_cluster::Request {
        include_cluster_authorized_operations: true,
        endpoint_type: if version >= 1 { 2 } else { describe_cluster::BROKERS },
    };
    let response = describe_cluster::Response {
        error: ErrorCode::InvalidRequest,
        error_message: Some("why".to_owned()),
        endpoint_type: 2,
        cluster_id: "cluster".to_owned(),
        controller_id: 0,
        brokers: vec![metadata::Broker { node_id: 0, host: "weir.example".to_owned(), port: 9092 }],
    };
    let answered = theirs::DescribeClusterResponse::default()
        .with_error_code(42)
        .with_error_message(Some(text("why")))
        .with_endpoint_type(if version >= 1 { 2 } else { 1 })
        .with_cluster_id(text("cluster"))
        .with_controller_id(NODE)
        .with_brokers(vec![
            DescribeClusterBroker::default().with_broker_id(NODE).with_host(text("weir.example")).with_port(9092),
        ]);
    agree(
        ApiKey::DescribeCluster,
        version,
        asked,
        Request::DescribeCluster(expected),
        |out| response.encode(out, version),
        answered,
    )
}
