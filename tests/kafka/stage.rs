//! A gateway of its own for each story, and the readings that are stored in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use weir_gateway::record::{ReadingRecord, Value as Stored};
use weir_lab::deployment::Deployment;
use weir_protocol::{Clock, Timestamp, Value};
use weir_tests::sender::{RESTART, Sender};
use weir_tests::{binaries, plan};

use crate::event::Taken;

/// Readings that every client consumes.
pub(crate) const READINGS: u64 = 100_000;
/// Devices that they come from, each with an agent of its own: enough for every partition.
const AGENTS: [&str; 8] = ["pump-1", "pump-2", "pump-3", "pump-4", "pump-5", "pump-6", "pump-7", "pump-8"];
/// Readings of a batch.
const BATCH: u64 = 500;
/// Partitions of the topic `readings`.
pub(crate) const PARTITIONS: usize = 4;
/// The sample time of sequence 0: in the past, so that no reading is ahead of its arrival.
const AGO_MICROS: i64 = 3_600_000_000;
/// Time between two samples.
const APART_MICROS: i64 = 10_000;

/// A running gateway.
pub(crate) struct Stage {
    /// The deployment; its agent and its boards are not started.
    pub(crate) deployment: Deployment,
    /// Where the gateway speaks Kafka.
    pub(crate) kafka: SocketAddr,
    began: Timestamp,
}

impl Stage {
    /// A gateway with nothing in it. `kafka` and `topics` are lines of those tables of its settings.
    pub(crate) async fn empty(kafka: &str, topics: &str) -> Self {
        let plan = plan(|plan| {
            plan.boards = 0;
            plan.topics = topics.to_owned();
            plan.kafka = kafka.to_owned();
        });
        let mut deployment = Deployment::prepare(plan, binaries()).await.unwrap();
        deployment.gateway.start().unwrap();
        deployment.wait_for_gateway().await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        // Whole milliseconds, as the records' own timestamps are.
        let began = Timestamp(i64::try_from(now.as_millis()).unwrap() * 1000 - AGO_MICROS);
        Self { kafka: deployment.kafka, deployment, began }
    }

    /// A gateway that holds [`READINGS`].
    pub(crate) async fn full() -> Self {
        let stage = Self::empty("", "").await;
        stage.store(0, READINGS).await;
        stage
    }

    /// Stores `count` readings, evenly of all devices; `before` were stored already. Returns once they are on disk.
    pub(crate) async fn store(&self, before: u64, count: u64) {
        let agents = AGENTS.len() as u64;
        let (from, upto) = (before / agents, (before + count) / agents);
        let send = |agent: &'static str| async move {
            let mut sender = Sender::connect(self.deployment.mqtt, agent, agent).await;
            for first in (from..upto).step_by(BATCH as usize) {
                let times: Vec<_> =
                    (first..upto.min(first + BATCH)).map(|s| (self.time(s), Clock::Synchronised)).collect();
                sender.readings(first, &times).await;
            }
        };
        let mut all = Vec::new();
        for agent in AGENTS {
            all.push(send(agent));
        }
        futures(all).await;
    }

    /// Whether retention has removed what `partition` of `readings` began with.
    pub(crate) async fn has_removed(&self, partition: u32) -> bool {
        self.deployment.log.starts().await.unwrap()[&("readings".to_owned(), partition)] > 0
    }

    /// When the reading of this sequence was sampled, on every device.
    pub(crate) fn time(&self, sequence: u64) -> Timestamp {
        self.began.plus_micros(sequence as i64 * APART_MICROS)
    }

    /// When the last `count` of [`READINGS`] begin to be sampled.
    pub(crate) fn time_of_last(&self, count: u64) -> Timestamp {
        self.time((READINGS - count) / AGENTS.len() as u64)
    }

    /// What a replay of `all` from `moment` on is: in each partition everything from the first reading on that was
    /// sampled then or later. Readings of other devices behind it may be older. In no particular order of partitions.
    pub(crate) fn replay(&self, all: &[Taken], moment: Timestamp) -> BTreeSet<(u32, u64)> {
        let mut first = BTreeMap::new();
        for record in all.iter().filter(|record| self.time(sequence(record)) >= moment) {
            let offset = first.entry(record.partition).or_insert(record.offset);
            *offset = record.offset.min(*offset);
        }
        let places = all.iter().map(|record| (record.partition, record.offset));
        places.filter(|(partition, offset)| first.get(partition).is_some_and(|first| offset >= first)).collect()
    }

    /// Expects that `taken` are readings that were stored, unaltered, `count` of them and none twice.
    pub(crate) fn expect(&self, taken: &[Taken], count: u64) {
        let mut times: BTreeMap<(String, u64), u32> = BTreeMap::new();
        for record in taken {
            let bytes = bytes(&record.value);
            let Ok(Stored::Reading(reading)) = Stored::decode(&bytes) else { panic!("no reading: {record:?}") };
            self.expect_reading(record, &reading);
            *times.entry((record.key.clone(), reading.sequence.0)).or_default() += 1;
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(twice.is_empty(), "taken more than once: {twice:?}");
        assert_eq!(taken.len() as u64, count, "records taken");
    }

    fn expect_reading(&self, record: &Taken, reading: &ReadingRecord<'_>) {
        assert_eq!(reading.device.as_str(), record.key, "{record:?}");
        assert_eq!(reading.restart, RESTART, "{record:?}");
        assert_eq!(reading.time, self.time(reading.sequence.0), "{record:?}");
        assert_eq!(reading.value, Value::Float(reading.sequence.0 as f32).into(), "{record:?}");
    }
}

/// Waits for all of them at once.
async fn futures<F: Future<Output = ()>>(all: Vec<F>) {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|each| each.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// The place of a reading in its device's restart.
fn sequence(record: &Taken) -> u64 {
    let bytes = bytes(&record.value);
    let Ok(Stored::Reading(reading)) = Stored::decode(&bytes) else { panic!("no reading: {record:?}") };
    reading.sequence.0
}

/// The bytes that a client wrote in hexadecimal.
fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
