//! The gateway's use: several logs under one committer, with a journal and without, whatever fails and whenever the
//! power goes.
//!
//! Submissions of a round wait together, so they are one group, and logs are synced one after the other: the
//! whole story follows from the seed. What must hold at every restart, log by log: every acknowledged value
//! at its offset, in order; behind them at most a prefix of one attempt that was not acknowledged.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, for_each_seed, hold, read_all};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use weir_storage::fs::Fault;
use weir_storage::{
    Committer, CommitterOptions, Completion, FaultyFs, Fs, Journal, JournalOptions, Log, LogOptions, OpenError,
    RecoveryMode, Submission, journal, verify,
};

const LOGS: usize = 3;
/// Room for some seven groups in each half, so that it is recycled all the time.
const JOURNAL: JournalOptions = JournalOptions { bytes: journal::MIN_BYTES, salt: 7 };
const FAULTS: [Fault; 5] = [Fault::Write, Fault::Sync, Fault::SetLen, Fault::SyncDir, Fault::Name];

fn dir(log: usize) -> PathBuf {
    PathBuf::from(format!("/topics/{log}"))
}

#[derive(Default)]
struct Topic {
    acknowledged: Vec<(u64, String)>,
    /// Nothing from here on was ever to be removed.
    removed: u64,
    /// Values of each attempt since the last acknowledgement, in order.
    attempts: Vec<Vec<String>>,
}

struct Gateway {
    mode: RecoveryMode,
    fs: FaultyFs,
    with_journal: bool,
    random: SmallRng,
    topics: [Topic; LOGS],
    next_value: u64,
    committer: Option<Committer>,
}

impl Gateway {
    fn new(seed: u64, mode: RecoveryMode, with_journal: bool) -> Gateway {
        let fs = FaultyFs::new(seed);
        let random = SmallRng::seed_from_u64(seed);
        let mut gateway =
            Gateway { mode, with_journal, fs, random, topics: Default::default(), next_value: 0, committer: None };
        gateway.start();
        gateway
    }

    fn start(&mut self) {
        let options = LogOptions {
            segment_bytes: 3_000,
            cap_bytes: None,
            room_bytes: 0,
            index_interval_bytes: 200,
            expose_on_commit: true,
            recovery: self.mode,
        };
        let (fs, root): (Arc<dyn Fs>, _) = (Arc::new(self.fs.clone()), Path::new("/topics"));
        let redone = loop {
            match journal::recover(&fs, root) {
                Ok(redone) => break redone,
                // Names came back with the power and took the room: somebody has to make some.
                Err(error) if error.is_no_space() => self.fs.set_capacity(None),
                Err(error) => assert!(error.to_string().contains("injected"), "{error}"),
            }
        };
        assert_eq!((redone.damaged, redone.put_aside), (0, false), "{redone:?}");
        let logs = (0..LOGS).map(|log| {
            loop {
                // A fault that was planned once may strike here: then it is started again.
                match Log::open(Arc::new(self.fs.clone()), &dir(log), options) {
                    Ok((opened, recovery)) => {
                        assert_eq!(recovery.lost_offsets, 0, "{recovery:?}");
                        break opened;
                    }
                    Err(OpenError::Io(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let pace = CommitterOptions { max_parallel_syncs: 1, ..CommitterOptions::default() };
        let logs = logs.collect();
        // Without room for it, commits go on without it.
        let journal = self.with_journal.then(|| self.journal(fs, root)).flatten();
        self.committer = Some(Committer::spawn_with(logs, pace, journal).unwrap());
        self.check();
    }

    /// Mostly the same journal, now and then another size, or none.
    fn journal(&mut self, fs: Arc<dyn Fs>, root: &Path) -> Option<Journal> {
        let bytes = match self.random.random_range(0..8) {
            0 => {
                // One that cannot be removed is void all the same.
                let _ = Journal::remove(&fs, root);
                return None;
            }
            1 => 3 * JOURNAL.bytes,
            _ => JOURNAL.bytes,
        };
        Journal::open(fs, root, JournalOptions { bytes, ..JOURNAL }).ok()
    }

    /// Removes the oldest segments of a log, if nothing forbids it.
    fn retain(&mut self) {
        let log = self.random.random_range(0..LOGS);
        let Some((last, _)) = self.topics[log].acknowledged.last() else { return };
        let upto = self.random.random_range(0..=*last);
        // A removal that failed may be there after a power cut, or not.
        self.topics[log].removed = self.topics[log].removed.max(upto);
        let _ = self.committer.as_ref().unwrap().remove_before(log, upto);
    }

    /// Every log: what was acknowledged, then at most a prefix of one attempt.
    fn check(&mut self) {
        let readers = self.committer.as_ref().unwrap().readers();
        for (topic, reader) in self.topics.iter_mut().zip(readers) {
            let start = reader.start_offset();
            assert!(start <= topic.removed, "begins at {start}, removed up to {}", topic.removed);
            topic.acknowledged.retain(|(offset, _)| *offset >= start);
            let found = read_all(reader, start, 5_000);
            assert!(found.len() >= topic.acknowledged.len(), "lost: {found:?} of {:?}", topic.acknowledged);
            let (kept, survivors) = found.split_at(topic.acknowledged.len());
            assert_eq!(kept, topic.acknowledged);
            let values: Vec<String> = survivors.iter().map(|(_, value)| value.clone()).collect();
            let known = values.is_empty() || topic.attempts.iter().any(|attempt| attempt.starts_with(&values));
            assert!(known, "{values:?} survived of {:?}", topic.attempts);
            topic.acknowledged.extend_from_slice(survivors);
            topic.attempts.clear();
        }
    }

    /// Hands in a round of submissions that wait together, and takes their answers.
    fn round(&mut self) {
        let mut attempts: [Vec<String>; LOGS] = Default::default();
        let (answer, answers) = mpsc::channel();
        let count = self.random.random_range(1..8);
        let release = hold(self.committer.as_ref().unwrap());
        for _ in 0..count {
            let mut parts = Vec::new();
            let mut sent = Vec::new();
            for _ in 0..self.random.random_range(1..4) {
                let log = self.random.random_range(0..LOGS);
                let values = self.values();
                parts.push((log, batch(&values.iter().map(String::as_str).collect::<Vec<_>>())));
                attempts[log].extend_from_slice(&values);
                sent.push(values);
            }
            let answer = answer.clone();
            let done = Box::new(move |completion| answer.send((sent, completion)).unwrap());
            self.submit(Submission { parts, done });
        }
        drop(release);
        let answered: Vec<_> = answers.iter().take(count).collect();
        for (topic, attempt) in self.topics.iter_mut().zip(attempts) {
            topic.attempts.push(attempt);
        }
        for (sent, completion) in answered {
            self.acknowledge(sent, completion);
        }
    }

    fn acknowledge(&mut self, sent: Vec<Vec<String>>, completion: Completion) {
        for (values, part) in sent.into_iter().zip(completion.parts) {
            let Ok(offsets) = part.result else { continue };
            let topic = &mut self.topics[part.log];
            topic.attempts.clear();
            topic.acknowledged.extend(offsets.zip(values));
        }
    }

    fn submit(&self, submission: Submission) {
        self.committer.as_ref().unwrap().submit(submission).unwrap();
    }

    fn values(&mut self) -> Vec<String> {
        let padding = if self.random.random_ratio(1, 9) { 2_000 } else { 0 };
        let count = self.random.random_range(1..5);
        self.next_value += count;
        (self.next_value - count..self.next_value).map(|value| format!("{value}{}", "-".repeat(padding))).collect()
    }

    fn restart(&mut self, power_cut: bool) {
        self.committer = None;
        for fault in FAULTS {
            self.fs.fail_sometimes(fault, 0);
        }
        if power_cut {
            self.fs = self.fs.power_cut();
        }
        self.start();
    }
}

fn story(seed: u64, steps: u64, mode: RecoveryMode, with_journal: bool) {
    let mut gateway = Gateway::new(seed, mode, with_journal);
    for _ in 0..steps {
        match gateway.random.random_range(0..100) {
            0..60 => gateway.round(),
            60..75 => {
                let fault = FAULTS[gateway.random.random_range(0..FAULTS.len())];
                gateway.fs.fail_once(fault);
            }
            75..80 => {
                let per_mille = [0, 0, 30, 200][gateway.random.random_range(0..4)];
                gateway.fs.fail_sometimes(FAULTS[gateway.random.random_range(0..FAULTS.len())], per_mille);
            }
            80..84 => {
                let free = [None, Some(0), Some(20_000)][gateway.random.random_range(0..3)];
                gateway.fs.set_capacity(free.map(|free| gateway.fs.used_bytes() + free));
            }
            84 => gateway.retain(),
            85..88 => gateway.restart(false),
            88..91 => gateway.restart(true),
            _ => {
                let operations = gateway.random.random_range(1..30);
                gateway.fs.fail_power_after(operations);
                gateway.round();
                gateway.round();
                gateway.restart(true);
            }
        }
    }
    gateway.fs.set_capacity(None);
    gateway.restart(true);
    for log in 0..LOGS {
        let verification = verify(&gateway.fs, &dir(log)).unwrap();
        assert_eq!((verification.lost_offsets, verification.tail_bytes), (0, 0));
    }
}

#[test]
fn every_topic_holds_what_was_acknowledged_whatever_fails_and_whenever_the_power_goes() {
    let story = |seed| story(seed, 60, RecoveryMode::Full, false);
    for_each_seed("every_topic_holds_what_was_acknowledged_whatever", 200, story);
}

#[test]
fn every_topic_holds_what_was_acknowledged_when_opening_reads_only_its_tail() {
    let story = |seed| story(seed, 60, RecoveryMode::Tail, false);
    for_each_seed("every_topic_holds_what_was_acknowledged_when", 200, story);
}

#[test]
fn every_topic_holds_what_was_acknowledged_with_a_journal() {
    let story = |seed| story(seed, 60, [RecoveryMode::Full, RecoveryMode::Tail][seed as usize % 2], true);
    for_each_seed("every_topic_holds_what_was_acknowledged_with", 200, story);
}
