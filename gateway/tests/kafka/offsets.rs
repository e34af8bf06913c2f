//! Where a partition begins and ends, and what stands where in time.

use weir_protocol::time::{SystemClock, WallClock};

use crate::client::{Client, fetch, only, partition_of, publish_one, records};
use crate::world::Gateway;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

fn now_ms() -> i64 {
    SystemClock.now().0 / 1000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_replayed_from_its_beginning_its_end_and_any_time() {
    let gateway = Gateway::start().await;
    publish_one(&gateway, "pump-1", 0..10).await;
    while now_ms() == gateway_time(&gateway).await {
        tokio::task::yield_now().await;
    }
    let between = now_ms();
    publish_one(&gateway, "pump-1", 10..15).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;

    let at = client.offset_at("readings", partition, EARLIEST).await;
    assert_eq!((at.error_code, at.offset, at.timestamp, at.leader_epoch), (0, 0, -1, 0));
    let at = client.offset_at("readings", partition, LATEST).await;
    assert_eq!((at.error_code, at.offset), (0, 15));
    let at = client.offset_at("readings", partition, 0).await;
    assert_eq!(at.offset, 0);
    let at = client.offset_at("readings", partition, between).await;
    assert_eq!(at.offset, 10);
    assert!(at.timestamp >= between);
    let replayed = records(&only(client.fetch(&fetch("readings", partition, at.offset)).await));
    assert_eq!(replayed.iter().map(|(offset, _)| *offset).filter(|offset| *offset >= 10).count(), 5);
    let newest = client.offset_at("readings", partition, MAX_TIMESTAMP).await;
    assert!(newest.offset >= 10 && newest.timestamp >= between, "{newest:?}");
    // Nothing is that late yet.
    let at = client.offset_at("readings", partition, between + 3_600_000).await;
    assert_eq!((at.error_code, at.offset, at.timestamp), (0, -1, -1));

    let at = client.offset_at("readings", 4, LATEST).await;
    assert_eq!((at.error_code, at.offset), (3, -1));
    let at = client.offset_at("nowhere", 0, LATEST).await;
    assert_eq!(at.error_code, 3);
}

/// The time of the last record, in milliseconds.
async fn gateway_time(gateway: &Gateway) -> i64 {
    let records = gateway.records("readings").await;
    records.iter().filter_map(|record| record["timestamp_ms"].as_i64()).max().unwrap()
}
