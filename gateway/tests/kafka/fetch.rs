//! Reading records: everything, once, in order, as soon as it is there, whatever is damaged.

use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use crate::client::{Client, FETCH, PATIENCE, fetch, fetch_all, only, partition_of, publish, publish_one, records};
use crate::world::Gateway;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_every_record_from_any_offset_on() {
    let gateway = Gateway::start().await;
    publish(&gateway, "pump-1", &[0..20, 20..40, 40..100]).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    for from in 0..100 {
        let answer = only(client.fetch(&fetch("readings", partition, from)).await);
        assert_eq!((answer.error_code, answer.high_watermark, answer.last_stable_offset), (0, 100, 100));
        assert_eq!(answer.log_start_offset, 0);
        let found: Vec<_> = records(&answer).into_iter().filter(|(offset, _)| *offset >= from).collect();
        assert_eq!(found, (from..100).map(|offset| (offset, "pump-1".to_owned())).collect::<Vec<_>>());
    }
    // At the end there is nothing, which is no error.
    let answer = only(client.fetch(&fetch("readings", partition, 100)).await);
    assert_eq!((answer.error_code, records(&answer).len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_waits_wakes_with_the_commit() {
    let gateway = Gateway::start().await;
    publish_one(&gateway, "pump-1", 0..1).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    // All partitions, as a consumer has them, and all the time that there is.
    let mut request = fetch_all("readings", &[(0, 0), (1, 0), (2, 0), (3, 0)]);
    request.topics[0].partitions[partition as usize].fetch_offset = 1;
    request.max_wait_ms = i32::MAX;
    client.send(ApiKey::Fetch, FETCH, &request).await;
    while !gateway.get("/metrics").await.1.contains("weir_gateway_kafka_fetch_waits_total 1\n") {
        tokio::task::yield_now().await;
    }
    publish_one(&gateway, "pump-1", 1..4).await;
    let (_, answer) = client.receive::<kafka_protocol::messages::FetchResponse>(ApiKey::Fetch, FETCH).await;
    let found = records(&answer.responses[0].partitions[partition as usize]);
    assert_eq!(found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_as_many_bytes_as_it_asks_for_and_no_longer_than_it_says() {
    let gateway = Gateway::start().await;
    publish_one(&gateway, "pump-1", 0..10).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    let mut request = fetch("readings", partition, 0);
    (request.min_bytes, request.max_wait_ms) = (1 << 20, 50);
    let answer = only(client.fetch(&request).await);
    assert_eq!(records(&answer).len(), 10, "what there is comes when the time is over");

    // Enough comes in the end, a little at a time.
    (request.min_bytes, request.max_wait_ms) = (10_000, i32::MAX);
    client.send(ApiKey::Fetch, FETCH, &request).await;
    let feeding = async {
        for batch in 1_u64.. {
            publish_one(&gateway, "pump-1", batch * 10..batch * 10 + 10).await;
        }
    };
    let answer = tokio::select! {
        () = feeding => unreachable!("it goes on for ever"),
        answer = client.receive::<kafka_protocol::messages::FetchResponse>(ApiKey::Fetch, FETCH) => only(answer.1),
    };
    assert!(answer.records.unwrap().len() >= 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_said_for_each_partition() {
    let gateway = Gateway::start().await;
    publish_one(&gateway, "pump-1", 0..5).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    for (topic, index, offset, error) in [
        ("readings", partition, 6, 1),
        ("readings", partition, -1, 1),
        ("readings", 4, 0, 3),
        ("readings", -1, 0, 3),
        ("nowhere", 0, 0, 3),
    ] {
        // An error is answered at once, however long the client would wait.
        let mut request = fetch(topic, index, offset);
        request.max_wait_ms = i32::MAX;
        let answer = only(client.fetch(&request).await);
        assert_eq!(answer.error_code, error, "{topic} {index} {offset}");
        if error == 1 {
            assert_eq!((answer.log_start_offset, answer.high_watermark), (0, 5), "where it could go on");
        }
    }
    // Nor does one that could be read wait beside one that cannot.
    let mut request = fetch_all("readings", &[(partition, 5), (4, 0)]);
    request.max_wait_ms = i32::MAX;
    let errors: Vec<_> =
        client.fetch(&request).await.responses[0].partitions.iter().map(|answer| answer.error_code).collect();
    assert_eq!(errors, [0, 3]);
    assert!(gateway.get("/metrics").await.1.contains("weir_gateway_kafka_fetch_waits_total 0\n"), "nobody waited");
    // A leader of an epoch that is yet to come.
    let mut request = fetch("readings", partition, 0);
    request.topics[0].partitions[0].current_leader_epoch = 1;
    assert_eq!(only(client.fetch(&request).await).error_code, 75);
    // A session that nobody made.
    let mut request = fetch("readings", partition, 0);
    (request.session_id, request.session_epoch) = (17, 3);
    let answer = client.fetch(&request).await;
    assert_eq!((answer.error_code, answer.session_id, answer.responses.len()), (70, 0, 0));
    // One that is asked for is declined.
    let mut request = fetch("readings", partition, 0);
    request.session_epoch = 0;
    assert_eq!(records(&only(client.fetch(&request).await)).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_larger_than_asked_for_comes_whole_and_no_second_one_with_it() {
    let gateway = Gateway::start().await;
    publish(&gateway, "pump-1", &[0..50, 50..100]).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    let mut request = fetch("readings", partition, 0);
    (request.max_bytes, request.topics[0].partitions[0].partition_max_bytes) = (1, 1);
    assert_eq!(records(&only(client.fetch(&request).await)).len(), 50);
    // Several partitions, each with a batch that is too large: one of them comes, and each gets its turn.
    let mut other = partition;
    for number in 2.. {
        if other != partition {
            break;
        }
        let device = format!("pump-{number}");
        publish_one(&gateway, &device, 0..50).await;
        other = partition_of(&gateway, &device).await;
    }
    let mut request = fetch_all("readings", &[(partition, 0), (other, 0)]);
    request.max_bytes = 1;
    let mut turns = [0; 2];
    for _ in 0..10 {
        let answer = client.fetch(&request).await;
        let counts: Vec<_> = answer.responses[0].partitions.iter().map(|partition| records(partition).len()).collect();
        assert!(counts == [50, 0] || counts == [0, 50], "{counts:?}");
        turns[usize::from(counts[0] == 0)] += 1;
    }
    assert_eq!(turns, [5, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_fetch_reads_the_same_records() {
    let gateway = Gateway::start().await;
    publish_one(&gateway, "pump-1", 0..10).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    for version in 4..=FETCH {
        let answer = client.ask(ApiKey::Fetch, version, &fetch("readings", partition, 3)).await;
        assert_eq!(records(&only(answer)).len(), 10, "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_at_its_byte_limit_makes_writers_wait_and_not_readers() {
    let settings = [("TOPICS__PARTITION_CAP", "1 MiB"), ("TOPICS__JOURNAL", "0 B")];
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &settings).await;
    let publishing = async {
        for batch in 0_u64.. {
            publish_one(&gateway, "pump-1", batch * 2000..batch * 2000 + 2000).await;
        }
    };
    let full = async {
        while !gateway.get("/metrics").await.1.contains("weir_gateway_paused 1\n") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = publishing => unreachable!("it goes on for ever"),
        () = full => (),
    }
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    let end = client.offset_at("readings", partition, -1).await.offset;
    let mut next = 0;
    while next < end {
        let found = records(&only(client.fetch(&fetch("readings", partition, next)).await));
        next = found.last().expect("more").0 + 1;
    }
    assert!(end > 2000);
    assert_eq!(next, end);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_wait_for_their_responses_are_answered_in_order() {
    let gateway = Gateway::start().await;
    publish_one(&gateway, "pump-1", 0..5).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    let mut asked = Vec::new();
    for offset in 0..200 {
        asked.push(client.send(ApiKey::Fetch, FETCH, &fetch("readings", partition, offset % 5)).await);
    }
    for correlation_id in asked {
        let (answered, _) = client.receive::<kafka_protocol::messages::FetchResponse>(ApiKey::Fetch, FETCH).await;
        assert_eq!(answered, correlation_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_the_fetch_that_waits() {
    let gateway = Gateway::start().await;
    let mut client = Client::new(gateway.at.kafka).await;
    let mut request = fetch("readings", 0, 0);
    request.max_wait_ms = i32::MAX;
    client.send(ApiKey::Fetch, FETCH, &request).await;
    while !gateway.get("/metrics").await.1.contains("weir_gateway_kafka_fetch_waits_total 1\n") {
        tokio::task::yield_now().await;
    }
    let stopped = tokio::time::timeout(PATIENCE, gateway.stop());
    let answered = client.receive::<kafka_protocol::messages::FetchResponse>(ApiKey::Fetch, FETCH);
    let (_, (_, answer)) = tokio::join!(stopped, answered);
    assert_eq!(only(answer).error_code, 0);
    assert!(client.frame().await.is_none(), "then the connection ends");
}

/// Flips a bit of each frame that holds one of these offsets.
fn damage(data: &std::path::Path, partition: i32, from: usize) {
    let log = data.join(format!("topics/readings/{partition}/00000000000000000000.log"));
    let mut bytes = std::fs::read(&log).unwrap();
    let mut at = 0;
    let mut frame = 0;
    while at < bytes.len() {
        let length = 12 + i32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        if frame >= from {
            bytes[at + length - 1] ^= 1;
        }
        (at, frame) = (at + length, frame + 1);
    }
    std::fs::write(&log, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_passed_and_nobody_waits_at_it() {
    let gateway = Gateway::start().await;
    publish(&gateway, "pump-1", &[0..10, 10..20, 20..30]).await;
    let partition = partition_of(&gateway, "pump-1").await;
    let mut client = Client::new(gateway.at.kafka).await;
    // The second commit and the third: nothing follows them yet.
    damage(gateway.data.path(), partition, 1);
    let answer = only(client.fetch(&fetch("readings", partition, 0)).await);
    assert_eq!(records(&answer).len(), 10);
    let answer = only(client.fetch(&fetch("readings", partition, 10)).await);
    let bytes = answer.records.clone().unwrap();
    assert_eq!((answer.error_code, answer.high_watermark, bytes.len()), (0, 30, 61), "a batch without records");
    assert_eq!(i64::from_be_bytes(bytes[..8].try_into().unwrap()), 10);
    assert_eq!(i32::from_be_bytes(bytes[23..27].try_into().unwrap()), 19, "it covers all that is lost");

    // Behind it things go on.
    publish_one(&gateway, "pump-1", 30..35).await;
    for from in [10, 15, 30] {
        let found = records(&only(client.fetch(&fetch("readings", partition, from)).await));
        assert_eq!(found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [30, 31, 32, 33, 34]);
    }
    tokio::time::timeout(Duration::from_secs(60), gateway.stop()).await.unwrap();
}
