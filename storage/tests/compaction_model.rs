//! Compaction against a model, whatever fails and whenever the power goes: two logs under one committer with a journal,
//! commits, compactions, removals, restarts in both modes of recovery.
//!
//! What must hold at every look, log by log: what is found was committed, at its offset, in order; what is
//! missing may be missing; every key has the value that its last record says; what a compaction that succeeded took out
//! never comes back. One thing happens at a time, so the whole story follows from the seed.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::for_each_seed;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use weir_storage::fs::Fault;
use weir_storage::{
    Batch, Committer, CommitterOptions, CompactionOptions, Completion, FaultyFs, Fs, Journal, JournalOptions, Log,
    LogOptions, OpenError, ReadError, Reader, RecoveryMode, Submission, journal, verify,
};

const LOGS: usize = 2;
const KEYS: u8 = 6;
const JOURNAL: JournalOptions = JournalOptions { bytes: journal::MIN_BYTES, salt: 7 };
const FAULTS: [Fault; 5] = [Fault::Write, Fault::Sync, Fault::SetLen, Fault::SyncDir, Fault::Name];

/// Key and value of a record, either may be none; the values of all records differ.
type Entry = (Option<u8>, Option<String>);

fn dir(log: usize) -> PathBuf {
    PathBuf::from(format!("/topics/{log}"))
}

#[derive(Default)]
struct Model {
    committed: BTreeMap<u64, Entry>,
    /// The log ends here.
    next: u64,
    /// Attempts since the last acknowledgement.
    attempts: Vec<Vec<Entry>>,
    /// Nothing from here on was ever to be removed.
    removed: u64,
    /// Nothing from here on was ever to be compacted.
    compacted: u64,
    /// No record without a value from here on was ever to go for good.
    tombstones: u64,
    /// Offsets that a compaction took out, and succeeded.
    gone: BTreeSet<u64>,
}

impl Model {
    /// Takes in what an interrupted commit left: at most a prefix of one attempt.
    fn adopt(&mut self, found: &BTreeMap<u64, Entry>, end: u64) {
        assert!(end >= self.next, "the log ends at {end}, expected {} at least", self.next);
        let survivors: Vec<Entry> = found.range(self.next..).map(|(_, entry)| entry.clone()).collect();
        assert_eq!(survivors.len() as u64, end - self.next, "an interrupted commit has no holes");
        let known = survivors.is_empty() || self.attempts.iter().any(|attempt| attempt.starts_with(&survivors));
        assert!(known, "{survivors:?} survived of {:?}", self.attempts);
        self.committed.extend((self.next..).zip(survivors));
        self.next = end;
        self.attempts.clear();
    }

    fn check(&self, found: &BTreeMap<u64, Entry>, start: u64) {
        assert!(start <= self.removed, "begins at {start}, removed up to {}", self.removed);
        let expected: BTreeMap<u64, Entry> =
            self.committed.range(start..).map(|(offset, entry)| (*offset, entry.clone())).collect();
        for (offset, entry) in found {
            assert_eq!(expected.get(offset), Some(entry), "at offset {offset}");
            assert!(!self.gone.contains(offset), "offset {offset} came back: {entry:?}");
        }
        for (offset, (key, value)) in &expected {
            if found.contains_key(offset) {
                continue;
            }
            assert!(*offset < self.compacted && key.is_some(), "offset {offset} is lost: {key:?} {value:?}");
            let later = expected.range(offset + 1..self.compacted).any(|(_, (other, _))| other == key);
            let is_expired = value.is_none() && *offset < self.tombstones;
            assert!(later || is_expired, "offset {offset} is lost, the last of its key: {key:?} {value:?}");
        }
        assert_eq!(values(found), values(&expected), "the value of each key");
    }
}

/// What a consumer that reads all of it ends up with.
fn values(entries: &BTreeMap<u64, Entry>) -> BTreeMap<u8, String> {
    let mut values = BTreeMap::new();
    for (key, value) in entries.values() {
        match (key, value) {
            (None, _) => {}
            (Some(key), Some(value)) => drop(values.insert(*key, value.clone())),
            (Some(key), None) => drop(values.remove(key)),
        }
    }
    values
}

fn found(reader: &Reader) -> BTreeMap<u64, Entry> {
    try_found(reader).unwrap()
}

fn try_found(reader: &Reader) -> Result<BTreeMap<u64, Entry>, ReadError> {
    let mut found = BTreeMap::new();
    let mut next = reader.start_offset();
    while next < reader.end_offset() {
        let chunk = match reader.read(next, 700) {
            // A removal that failed had taken the file away.
            Err(ReadError::OutOfRange { start, .. }) if found.is_empty() => {
                next = start;
                continue;
            }
            read => read?,
        };
        assert_eq!(chunk.gaps, [], "nothing is damaged");
        for record in chunk.records().map(Result::unwrap) {
            let value = record.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
            let before = found.insert(record.offset, (record.key.map(|key| key[0]), value));
            assert!(before.is_none(), "offset {} twice", record.offset);
        }
        assert!(chunk.next_offset > next, "a read goes on");
        next = chunk.next_offset;
    }
    Ok(found)
}

struct World {
    fs: FaultyFs,
    random: SmallRng,
    models: [Model; LOGS],
    next_value: u64,
    committer: Option<Committer>,
}

impl World {
    fn new(seed: u64) -> World {
        let (fs, random) = (FaultyFs::new(seed), SmallRng::seed_from_u64(seed));
        let mut world = World { fs, random, models: Default::default(), next_value: 0, committer: None };
        world.start();
        world
    }

    fn start(&mut self) {
        let recovery = [RecoveryMode::Full, RecoveryMode::Tail][self.random.random_range(0..2)];
        let options = LogOptions { segment_bytes: 1_500, index_interval_bytes: 100, recovery, ..LogOptions::default() };
        let (fs, root): (Arc<dyn Fs>, _) = (Arc::new(self.fs.clone()), Path::new("/topics"));
        let redone = loop {
            match journal::recover(&fs, root) {
                Ok(redone) => break redone,
                Err(error) if error.is_no_space() => self.fs.set_capacity(None),
                Err(error) => assert!(error.to_string().contains("injected"), "{error}"),
            }
        };
        assert_eq!((redone.damaged, redone.put_aside), (0, false), "{redone:?}");
        let logs = (0..LOGS).map(|log| {
            loop {
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
        let logs = logs.collect();
        let journal = Journal::open(fs, root, JOURNAL).ok();
        let pace = CommitterOptions { max_parallel_syncs: 1, ..CommitterOptions::default() };
        self.committer = Some(Committer::spawn_with(logs, pace, journal).unwrap());
        for (model, reader) in self.models.iter_mut().zip(self.committer.as_ref().unwrap().readers()) {
            model.adopt(&found(reader), reader.end_offset());
        }
        self.check();
    }

    fn committer(&self) -> &Committer {
        self.committer.as_ref().unwrap()
    }

    fn check(&self) {
        for (model, reader) in self.models.iter().zip(self.committer().readers()) {
            assert_eq!(reader.end_offset(), model.next);
            model.check(&found(reader), reader.start_offset());
        }
    }

    /// One submission, to both logs or to one.
    fn commit(&mut self) {
        let logs = if self.random.random_bool(0.5) { vec![0, 1] } else { vec![self.random.random_range(0..LOGS)] };
        let entries: Vec<Vec<Entry>> = logs.iter().map(|_| self.entries()).collect();
        let parts = logs.iter().zip(&entries).map(|(log, entries)| (*log, batch(entries))).collect();
        let (answer, answered) = mpsc::channel();
        let done = Box::new(move |completion: Completion| answer.send(completion).unwrap());
        self.committer().submit(Submission { parts, done }).unwrap();
        for (part, entries) in answered.recv().unwrap().parts.into_iter().zip(entries) {
            let model = &mut self.models[part.log];
            let Ok(offsets) = part.result else {
                model.attempts.push(entries);
                continue;
            };
            assert_eq!(offsets.start, model.next);
            model.attempts.clear();
            model.next = offsets.end;
            model.committed.extend(offsets.zip(entries));
        }
    }

    fn entries(&mut self) -> Vec<Entry> {
        let count = self.random.random_range(1..6);
        let mut entry = || {
            self.next_value += 1;
            let padding = if self.random.random_ratio(1, 12) { 900 } else { 20 };
            let value = format!("{}{}", self.next_value, "-".repeat(padding));
            let key = self.random.random_range(0..=KEYS);
            match (key < KEYS, self.random.random_ratio(1, 4)) {
                (true, true) => (Some(key), None),
                (true, false) => (Some(key), Some(value)),
                (false, _) => (None, Some(value)),
            }
        };
        (0..count).map(|_| entry()).collect()
    }

    fn compact(&mut self) {
        let log = self.random.random_range(0..LOGS);
        let next = self.models[log].next;
        let upto = if self.random.random_bool(0.5) { next } else { self.random.random_range(0..=next) };
        let tombstones_before = [0, upto / 2, u64::MAX][self.random.random_range(0..3)];
        let max_key_bytes = [1, 250, 1 << 20][self.random.random_range(0..3)];
        let model = &mut self.models[log];
        model.compacted = model.compacted.max(upto);
        model.tombstones = model.tombstones.max(tombstones_before);
        let options = CompactionOptions { upto, tombstones_before, max_key_bytes };
        let Ok(compaction) = self.committer().compact(log, &options, &AtomicBool::new(false)) else { return };
        assert_eq!(compaction.damage, []);
        let reader = &self.committer().readers()[log];
        // The power may be off by now.
        let Ok(left) = try_found(reader) else { return };
        let start = reader.start_offset();
        let model = &mut self.models[log];
        if compaction.left == 0 && !compaction.is_cut_short {
            compacted_well(&left, compaction.compacted_below.min(upto), tombstones_before);
        }
        let gone =
            model.committed.range(start..).map(|(offset, _)| *offset).filter(|offset| !left.contains_key(offset));
        model.gone.extend(gone);
    }

    fn retain(&mut self) {
        let log = self.random.random_range(0..LOGS);
        let upto = self.random.random_range(0..=self.models[log].next);
        self.models[log].removed = self.models[log].removed.max(upto);
        let _ = self.committer().remove_before(log, upto);
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

/// It did what it is for: below the offset no key is twice there, and no tombstone that was to go.
fn compacted_well(left: &BTreeMap<u64, Entry>, below: u64, tombstones_before: u64) {
    let mut seen = BTreeSet::new();
    for (offset, (key, value)) in left.range(..below).filter(|(_, (key, _))| key.is_some()) {
        assert!(seen.insert(key), "key {key:?} is twice below {below}");
        assert!(value.is_some() || *offset >= tombstones_before, "a tombstone at {offset}");
    }
}

fn batch(entries: &[Entry]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in entries {
        let key = key.map(|key| [key]);
        batch.push(1_000, key.as_ref().map(|key| &key[..]), value.as_ref().map(String::as_bytes), &[]).unwrap();
    }
    batch
}

fn story(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..120 {
        match world.random.random_range(0..100) {
            0..55 => world.commit(),
            55..72 => world.compact(),
            72..79 => world.fs.fail_once(FAULTS[world.random.random_range(0..FAULTS.len())]),
            79..81 => {
                let (fault, passing) =
                    (FAULTS[world.random.random_range(0..FAULTS.len())], world.random.random_range(1..6));
                world.fs.fail_after(fault, passing);
                world.compact();
            }
            81..84 => {
                let free = [None, None, None, Some(0), Some(9_000)][world.random.random_range(0..5)];
                world.fs.set_capacity(free.map(|free| world.fs.used_bytes() + free));
            }
            84..86 => world.retain(),
            86..89 => world.restart(false),
            89..91 => world.restart(true),
            _ => {
                let operations = world.random.random_range(1..40);
                world.fs.fail_power_after(operations);
                world.compact();
                world.commit();
                world.compact();
                world.restart(true);
            }
        }
        // Whatever is planned to fail does not concern reading.
        if world.random.random_ratio(1, 4) {
            world.check();
        }
    }
    world.fs.set_capacity(None);
    world.restart(true);
    for log in 0..LOGS {
        let verification = verify(&world.fs, &dir(log)).unwrap();
        assert_eq!((verification.lost_offsets, verification.tail_bytes), (0, 0));
    }
}

#[test]
fn every_key_keeps_its_last_value_whatever_fails_and_whenever_the_power_goes() {
    for_each_seed("every_key_keeps_its_last_value", 150, story);
}
