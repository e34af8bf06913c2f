//! What clients learn about the broker and its topics.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
    MetadataResponse, TopicName,
};
use kafka_protocol::protocol::Decodable;

use crate::client::{Client, text};
use crate::world::Gateway;

fn about(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
    MetadataRequest::default().with_topics(Some(names.iter().map(topic).collect())).with_allow_auto_topic_creation(true)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_topic_is_led_by_the_broker_that_answers() {
    let gateway = Gateway::start().await;
    let mut client = Client::new(gateway.at.kafka).await;
    let all = MetadataRequest::default().with_topics(None);
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &all).await;
    let [broker] = &answer.brokers[..] else { panic!("{answer:?}") };
    assert_eq!((broker.node_id.0, broker.port), (0, i32::from(gateway.at.kafka.port())));
    assert_eq!((broker.host.as_str(), answer.controller_id.0), ("127.0.0.1", 0));
    let readings = answer.topics.iter().find(|topic| topic.name.as_ref().unwrap().0.as_str() == "readings").unwrap();
    assert!(readings.partitions.iter().all(|partition| partition.leader_id.0 == 0 && partition.error_code == 0));
    assert_eq!(readings.partitions.len(), 4);

    // The cluster stays the same over a restart.
    let cluster = answer.cluster_id.unwrap();
    let gateway = Gateway::start_on(gateway.stop().await).await;
    let mut client = Client::new(gateway.at.kafka).await;
    let answer: DescribeClusterResponse =
        client.ask(ApiKey::DescribeCluster, 1, &DescribeClusterRequest::default().with_endpoint_type(1)).await;
    assert_eq!((answer.error_code, answer.cluster_id, answer.brokers.len()), (0, cluster, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_said_so_and_not_made() {
    let gateway = Gateway::start().await;
    let mut client = Client::new(gateway.at.kafka).await;
    for _ in 0..2 {
        let answer: MetadataResponse =
            client.ask(ApiKey::Metadata, 12, &about(&["nowhere", "no/where", "..", "readings"])).await;
        let errors: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(errors, [3, 17, 17, 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_the_advertised_address() {
    let gateway =
        Gateway::start_with(tempfile::tempdir().unwrap(), &[("KAFKA__ADVERTISED", "edge-1.example:19092")]).await;
    let mut client = Client::new(gateway.at.kafka).await;
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &about(&["readings"])).await;
    assert_eq!((answer.brokers[0].host.as_str(), answer.brokers[0].port), ("edge-1.example", 19092));
    let asked = FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![text("a-group")]);
    let answer: FindCoordinatorResponse = client.ask(ApiKey::FindCoordinator, 4, &asked).await;
    let [found] = &answer.coordinators[..] else { panic!("{answer:?}") };
    assert_eq!((found.error_code, found.host.as_str(), found.port), (0, "edge-1.example", 19092));

    // Transactions have no coordinator.
    let asked = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![text("a-transaction")]);
    let answer: FindCoordinatorResponse = client.ask(ApiKey::FindCoordinator, 4, &asked).await;
    assert_eq!((answer.coordinators[0].error_code, answer.coordinators[0].node_id.0), (42, -1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_future_version_is_answered_so_that_a_client_can_ask_again() {
    let gateway = Gateway::start().await;
    let mut client = Client::new(gateway.at.kafka).await;
    // The body of a version that nobody knows: what matters is its header.
    let mut future = vec![0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff];
    future.extend([1, 2, 3]);
    tokio::io::AsyncWriteExt::write_i32(&mut client.stream, future.len() as i32).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, &future).await.unwrap();
    let mut frame = client.frame().await.unwrap();
    assert_eq!(bytes::Buf::get_i32(&mut frame), 7);
    let answer = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!(answer.error_code, 35);

    let request =
        ApiVersionsRequest::default().with_client_software_name(text("a-test")).with_client_software_version(text("1"));
    let again: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, 4, &request).await;
    assert_eq!((again.error_code, again.api_keys.len()), (0, answer.api_keys.len()));
    let (_, metrics) = gateway.get("/metrics").await;
    assert!(metrics.contains("weir_gateway_kafka_errors_total{code=\"UnsupportedVersion\"} 1\n"), "{metrics}");
    assert!(metrics.contains("weir_gateway_kafka_requests_total{api=\"ApiVersions\"} 2\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_see_how_a_topic_is_kept() {
    let gateway = Gateway::start_with(
        tempfile::tempdir().unwrap(),
        &[("TOPICS__RETENTION_AGE", "7d"), ("TOPICS__SEGMENT", "1 MiB")],
    )
    .await;
    let mut client = Client::new(gateway.at.kafka).await;
    let about = |kind, name| DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(name));
    let request = DescribeConfigsRequest::default().with_resources(vec![
        about(2, "readings"),
        about(2, "nowhere"),
        about(4, "0").with_configuration_keys(Some(vec![text("broker.id")])),
        about(4, "1"),
    ]);
    let answer: DescribeConfigsResponse = client.ask(ApiKey::DescribeConfigs, 4, &request).await;
    assert_eq!(answer.results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [0, 3, 0, 42]);
    let value = |name: &str| {
        let configs = &answer.results[0].configs;
        configs
            .iter()
            .find(|config| config.name.as_str() == name)
            .and_then(|config| config.value.clone())
            .unwrap()
            .to_string()
    };
    assert_eq!(value("retention.ms"), "604800000");
    assert_eq!(value("retention.bytes"), "-1");
    assert_eq!(value("segment.bytes"), "1048576");
    assert_eq!(value("cleanup.policy"), "delete");
    assert_eq!(answer.results[2].configs.len(), 1);
}
