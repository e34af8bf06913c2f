//! The frame format: the same bytes as a public implementation writes, and nothing that hostile bytes can do.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{for_each_seed, open};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_storage::frame::{FRAME_TARGET_BYTES, Header, MAX_RECORD_BYTES};
use weir_storage::record::Records;
use weir_storage::{Batch, Chunk, FaultyFs, LogOptions};

/// Written by kafka-python 3.0.12 (`DefaultRecordBatchBuilder`, magic 2, base offset 0, leader epoch 0) from
/// the three records of [`three_records`].
const BY_KAFKA_PYTHON: &str = "\
    0000000000000000000000b20000000002f2ec9bd00000000000020000019aa6491a000000019aa6491fdcffffffffffffff\
    ffffffffffffff00000003440000000c70756d702d370832312e3502167472616365706172656e740a30302d30319c0100cf\
    0f02018c01787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878\
    78787878787878787878787878787878787878787878787878001a00b817040c70756d702d370100";

fn three_records() -> Batch {
    let mut batch = Batch::new();
    let traced: &[(&str, &[u8])] = &[("traceparent", b"00-01")];
    batch.push(1_763_726_400_000, Some(b"pump-7"), Some(b"21.5"), traced).unwrap();
    batch.push(1_763_726_399_000, None, Some(&[b'x'; 70]), &[]).unwrap();
    batch.push(1_763_726_401_500, Some(b"pump-7"), None, &[]).unwrap();
    batch
}

fn chunk_of(batch: &mut Batch) -> Chunk {
    let (mut log, _) = open(&FaultyFs::new(1), LogOptions::default());
    log.commit(batch).unwrap();
    log.reader().read(0, usize::MAX).unwrap()
}

#[test]
fn the_bytes_are_those_that_a_public_implementation_writes() {
    let chunk = chunk_of(&mut three_records());
    let hex: String = chunk.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, BY_KAFKA_PYTHON);
}

#[test]
fn every_field_of_a_record_comes_back() {
    let chunk = chunk_of(&mut three_records());
    let records: Vec<_> = chunk.records().map(Result::unwrap).collect();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(records[0].timestamp_ms, 1_763_726_400_000);
    assert_eq!(records[1].timestamp_ms, 1_763_726_399_000);
    assert_eq!(records[0].key, Some(&b"pump-7"[..]));
    assert_eq!(records[0].headers.iter().collect::<Vec<_>>(), [("traceparent", Some(&b"00-01"[..]))]);
    assert_eq!(records[0].headers.get("traceparent"), Some(&b"00-01"[..]));
    assert_eq!((records[1].key, records[1].value), (None, Some(&[b'x'; 70][..])));
    assert_eq!((records[2].value, records[2].headers.is_empty()), (None, true));
}

#[test]
fn random_records_come_back_in_frames_of_bounded_size() {
    for_each_seed("random_records_come_back", 50, |seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut batch = Batch::new();
        let mut expected = Vec::new();
        for _ in 0..random.random_range(1..400) {
            let length =
                if random.random_ratio(1, 50) { random.random_range(0..200_000) } else { random.random_range(0..300) };
            let value: Vec<u8> = (0..length).map(|_| random.random()).collect();
            let key = random.random_bool(0.5).then(|| random.random::<u64>().to_be_bytes());
            let timestamp: i64 =
                if random.random_ratio(1, 9) { random.random() } else { random.random_range(0..1 << 41) };
            batch
                .push(timestamp, key.as_ref().map(|key| &key[..]), Some(&value), &[("n", &value[..length.min(3)])])
                .unwrap();
            expected.push((timestamp, key.map(|key| key.to_vec()), value));
        }
        let bytes = {
            batch.seal();
            batch.byte_len()
        };
        let chunk = chunk_of(&mut batch);
        assert_eq!(chunk.bytes.len(), bytes);
        let records = chunk.records().map(|record| {
            let record = record.unwrap();
            (record.timestamp_ms, record.key.map(<[u8]>::to_vec), record.value.unwrap().to_vec())
        });
        assert_eq!(records.collect::<Vec<_>>(), expected);
        for frame in chunk.frames() {
            let header = Header::check(frame).unwrap();
            assert!(header.frame_bytes <= FRAME_TARGET_BYTES || header.record_count == 1);
        }
    });
}

#[test]
fn a_record_too_large_is_refused_and_the_batch_stays_as_it_was() {
    let mut batch = three_records();
    let before = batch.byte_len();
    let error = batch.push(0, None, Some(&vec![0; MAX_RECORD_BYTES]), &[]).unwrap_err();
    assert!(error.to_string().contains("expected at most 4194304"), "{error}");
    assert_eq!((batch.byte_len(), batch.record_count()), (before, 3));
}

#[test]
fn hostile_bytes_are_refused_without_a_panic() {
    for_each_seed("hostile_bytes", 20_000, |seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut bytes = chunk_of_fixture();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        // Not only frames whose checksum fails: decode what an attacker with a CRC could write, too.
        if let Ok(records) = Records::of_frame(&bytes) {
            for record in records.flatten() {
                assert_eq!(record.headers.iter().count(), record.headers.len());
            }
        }
        let _ = Header::check(&bytes);
    });
}

fn chunk_of_fixture() -> Vec<u8> {
    let hex = BY_KAFKA_PYTHON;
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
