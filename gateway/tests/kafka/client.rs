//! A small Kafka client on the `kafka-protocol` crate, which knows the messages but none of our code.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::RecordBatchDecoder;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{Gateway, batch, description};

/// Far beyond what anything here takes: a wait so long is a failure and not a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The version of Fetch that most tests use.
pub(crate) const FETCH: i16 = 12;

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) async fn new(at: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(at).await.unwrap(), correlation_id: 0 }
    }

    /// Sends a request and does not wait for its response; its number.
    pub(crate) async fn send<Q: Encodable>(&mut self, key: ApiKey, version: i16, request: &Q) -> i32 {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text("a-test")));
        let mut bytes = BytesMut::new();
        header.encode(&mut bytes, key.request_header_version(version)).unwrap();
        request.encode(&mut bytes, version).unwrap();
        let mut frame = BytesMut::with_capacity(4 + bytes.len());
        frame.put_i32(bytes.len() as i32);
        frame.put(bytes);
        self.stream.write_all(&frame).await.unwrap();
        self.correlation_id
    }

    /// The next response: its number and its body.
    pub(crate) async fn receive<A: Decodable>(&mut self, key: ApiKey, version: i16) -> (i32, A) {
        let mut frame = self.frame().await.expect("a response");
        let header = ResponseHeader::decode(&mut frame, key.response_header_version(version)).unwrap();
        let answer = A::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "{} bytes behind the response", frame.remaining());
        (header.correlation_id, answer)
    }

    /// The next frame; `None` if the connection ended.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        timeout(PATIENCE, read).await.unwrap()
    }

    pub(crate) async fn ask<Q: Encodable, A: Decodable>(&mut self, key: ApiKey, version: i16, request: &Q) -> A {
        let asked = self.send(key, version, request).await;
        let (answered, answer) = self.receive(key, version).await;
        assert_eq!(answered, asked);
        answer
    }

    /// What one partition answers to a fetch.
    pub(crate) async fn fetch(&mut self, request: &FetchRequest) -> FetchResponse {
        self.ask(ApiKey::Fetch, FETCH, request).await
    }

    /// What one partition answers to a look for a time.
    pub(crate) async fn offset_at(&mut self, topic: &str, partition: i32, time: i64) -> ListOffsetsPartitionResponse {
        let asked = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(time);
        let topic = ListOffsetsTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let mut answer: ListOffsetsResponse = self.ask(ApiKey::ListOffsets, 7, &request).await;
        answer.topics.remove(0).partitions.remove(0)
    }
}

/// A fetch of one partition, which answers at once.
pub(crate) fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    fetch_all(topic, &[(partition, offset)])
}

/// The same of several partitions of a topic.
pub(crate) fn fetch_all(topic: &str, places: &[(i32, i64)]) -> FetchRequest {
    let place = |(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic =
        FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(places.iter().map(place).collect());
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(8 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// The only partition of a response.
pub(crate) fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!((response.error_code, response.session_id), (0, 0));
    let mut topic = response.responses.remove(0);
    assert!(response.responses.is_empty() && topic.partitions.len() == 1);
    topic.partitions.remove(0)
}

/// The records of a partition: offset and key. The codec checks every checksum.
pub(crate) fn records(partition: &PartitionData) -> Vec<(i64, String)> {
    let mut bytes = partition.records.clone().unwrap_or_default();
    let batches = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
    let records = batches.into_iter().flat_map(|batch| batch.records);
    records.map(|record| (record.offset, String::from_utf8(record.key.unwrap_or_default().to_vec()).unwrap())).collect()
}

/// The partition that a device's readings are in, of the four of a gateway.
pub(crate) async fn partition_of(gateway: &Gateway, device: &str) -> i32 {
    for partition in 0..4 {
        let page = gateway.json(&format!("/topics/readings/partitions/{partition}/records?limit=10000")).await;
        if page["records"].as_array().unwrap().iter().any(|record| record["key"] == device) {
            return partition;
        }
    }
    panic!("{device} has no readings")
}

/// A device whose readings are stored, a batch for each stretch of sequences.
pub(crate) async fn publish(gateway: &Gateway, device: &str, stretches: &[std::ops::Range<u64>]) {
    let agent = format!("agent-of-{device}");
    let options = MqttOptions::new(&agent, "127.0.0.1", gateway.at.mqtt.port());
    let (client, mut events) = AsyncClient::new(options, 10);
    let batches = stretches.iter().map(|stretch| ("batch", batch(device, stretch.clone())));
    let mut open = 0;
    for (purpose, payload) in [("describe", description(device))].into_iter().chain(batches) {
        client.publish(format!("weir/1/default/{agent}/{purpose}"), QoS::AtLeastOnce, false, payload).await.unwrap();
        open += 1;
        // One at a time, so that each is a commit of its own.
        while open > 0 {
            let event = timeout(PATIENCE, events.poll()).await.unwrap().unwrap();
            open -= usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
        }
    }
}

/// The same with one batch.
pub(crate) async fn publish_one(gateway: &Gateway, device: &str, sequences: std::ops::Range<u64>) {
    publish(gateway, device, std::slice::from_ref(&sequences)).await;
}
