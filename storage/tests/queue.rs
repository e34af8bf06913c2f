//! The agent's use of a log: one log with a cursor beside it, against a queue in memory that never fails.
//!
//! Values are numbers in the order they were made. The producer repeats what was not acknowledged; the
//! consumer reads behind its cursor, makes the cursor durable, then removes. Faults come at random, and so
//! do kills (drop and reopen) and power cuts. What must hold at every restart: the log is what the model
//! queue holds, then perhaps a prefix of what was under way, nothing doubled, in order.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, dir, for_each_seed, open, read_all};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;
use weir_storage::fs::Fault;
use weir_storage::{FaultyFs, Loaded, Log, LogOptions, RecoveryMode, StateFile, verify};

const FAULTS: [Fault; 5] = [Fault::Write, Fault::Sync, Fault::SetLen, Fault::SyncDir, Fault::Name];

/// The index is fine enough for closed segments to get a sidecar.
fn options((recovery, room_bytes): Mode) -> LogOptions {
    LogOptions {
        segment_bytes: if room_bytes > 0 { 12_000 } else { 2_000 },
        cap_bytes: Some(256 * 1024),
        room_bytes,
        index_interval_bytes: 100,
        expose_on_commit: true,
        recovery,
    }
}

/// How much opening reads, and the room that small commits take ahead.
type Mode = (RecoveryMode, u64);

/// What the outside world knows.
struct Model {
    /// Acknowledged and not yet consumed: offset and value.
    queue: VecDeque<(u64, u64)>,
    /// The next value to make; values below it and not in the queue are consumed.
    next_value: u64,
    /// Values of the largest attempt since the last acknowledgement.
    under_way: u64,
    /// The durable cursor, and those that replaces that failed since may have left.
    cursor: u64,
    cursors_under_way: Vec<u64>,
}

struct Queue {
    mode: Mode,
    fs: FaultyFs,
    random: SmallRng,
    model: Model,
    log: Log,
}

impl Queue {
    fn new(seed: u64, mode: Mode) -> Queue {
        let fs = FaultyFs::new(seed);
        let model =
            Model { queue: VecDeque::new(), next_value: 0, under_way: 0, cursor: 0, cursors_under_way: Vec::new() };
        let (log, _) = open(&fs, options(mode));
        Queue { mode, fs, random: SmallRng::seed_from_u64(seed), model, log }
    }

    fn cursor(&self) -> StateFile {
        StateFile::new(Arc::new(self.fs.clone()), &dir().join("cursor"))
    }

    /// Appends some values; now and then so many that the commit takes several frames.
    fn append(&mut self) {
        let count = if self.random.random_ratio(1, 12) { 40 } else { self.random.random_range(1..6) };
        let padding = if count == 40 { "-".repeat(5_000) } else { String::new() };
        let values: Vec<String> = (0..count).map(|at| format!("{}{padding}", self.model.next_value + at)).collect();
        let mut batch = batch(&values.iter().map(String::as_str).collect::<Vec<_>>());
        match self.log.commit(&mut batch) {
            Ok(offsets) => {
                assert_eq!(offsets.end - offsets.start, count);
                self.model.queue.extend(offsets.zip(self.model.next_value..));
                self.model.next_value += count;
                self.model.under_way = 0;
            }
            Err(weir_storage::CommitError::Full { .. }) => {}
            Err(_) => self.model.under_way = self.model.under_way.max(count),
        }
    }

    fn consume(&mut self) {
        let count = self.random.random_range(0..=self.model.queue.len());
        let Some(&(last, _)) = self.model.queue.iter().take(count).next_back() else { return };
        self.model.cursors_under_way.push(last + 1);
        if self.cursor().replace(&(last + 1).to_be_bytes()).is_ok() {
            self.model.cursor = last + 1;
            self.model.cursors_under_way.clear();
            self.model.queue.drain(..count);
            // What fails here is removed the next time.
            let _ = self.log.remove_before(last + 1);
        }
    }

    fn flip_faults(&mut self) {
        let fault = FAULTS[self.random.random_range(0..FAULTS.len())];
        if self.random.random_bool(0.5) {
            self.fs.fail_once(fault);
        } else {
            self.fs.fail_sometimes(fault, [0, 0, 30, 200][self.random.random_range(0..4)]);
        }
    }

    fn squeeze(&mut self) {
        let free = [None, Some(0), Some(9_000)][self.random.random_range(0..3)];
        let used = self.fs.used_bytes();
        self.fs.set_capacity(free.map(|free| used + free));
    }

    fn restart(&mut self, power_cut: bool) {
        for fault in FAULTS {
            self.fs.fail_sometimes(fault, 0);
        }
        // The old process is gone before the new one comes.
        let placeholder = FaultyFs::new(0);
        self.log = open(&placeholder, options(self.mode)).0;
        if power_cut {
            self.fs = self.fs.power_cut();
        }
        let (log, recovery) = loop {
            // Faults that were planned once may still strike: then it does not open, and is started again.
            match Log::open(Arc::new(self.fs.clone()), dir(), options(self.mode)) {
                Ok(opened) => break opened,
                Err(weir_storage::OpenError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        self.log = log;
        // A torn sector may have hit nothing but the fields outside a checksum; that is repaired.
        assert_eq!(recovery.lost_offsets, 0, "{recovery:?}");
        self.check_cursor();
        self.check_content();
    }

    fn check_cursor(&mut self) {
        let loaded = match self.cursor().load().unwrap() {
            Loaded::Missing => 0,
            Loaded::Good(payload) => u64::from_be_bytes(payload.try_into().unwrap()),
            Loaded::Damaged { reason } => panic!("{reason}"),
        };
        let Model { cursor, cursors_under_way: others, queue, .. } = &mut self.model;
        assert!(loaded == *cursor || others.contains(&loaded), "cursor {loaded}: expected {cursor} or {others:?}");
        others.clear();
        queue.retain(|(offset, _)| *offset >= loaded);
        *cursor = loaded;
    }

    /// The log behind the cursor is the model queue, then a prefix of what was under way.
    fn check_content(&mut self) {
        let model = &mut self.model;
        let reader = self.log.reader();
        assert!(reader.start_offset() <= model.cursor, "removed what was not consumed");
        let found = read_all(&reader, model.cursor, 10_000);
        let found: Vec<(u64, u64)> =
            found.into_iter().map(|(offset, value)| (offset, value.trim_end_matches('-').parse().unwrap())).collect();
        let acknowledged: Vec<(u64, u64)> = model.queue.iter().copied().collect();
        assert!(found.len() >= acknowledged.len(), "lost: expected {acknowledged:?}, got {found:?}");
        let (kept, survivors) = found.split_at(acknowledged.len());
        assert_eq!(kept, acknowledged);
        assert!(survivors.len() as u64 <= model.under_way, "{survivors:?} were never handed in");
        for (survivor, value) in survivors.iter().zip(model.next_value..) {
            assert_eq!(survivor.1, value, "a hole or a repeat in {survivors:?}");
        }
        // What the log holds is acknowledged from now on, as an agent does it after a restart.
        model.queue.extend(survivors);
        model.next_value += survivors.len() as u64;
        model.under_way = 0;
    }
}

fn story(seed: u64, steps: u64, mode: Mode) {
    let mut queue = Queue::new(seed, mode);
    for _ in 0..steps {
        match queue.random.random_range(0..100) {
            0..55 => queue.append(),
            55..75 => queue.consume(),
            75..85 => queue.flip_faults(),
            85..88 => queue.squeeze(),
            88..92 => queue.restart(false),
            92..95 => queue.restart(true),
            _ => {
                let operations = queue.random.random_range(1..12);
                queue.fs.fail_power_after(operations);
                for _ in 0..4 {
                    queue.append();
                    queue.consume();
                }
                queue.restart(true);
            }
        }
    }
    queue.fs.set_capacity(None);
    queue.restart(true);
    let verification = verify(&queue.fs, dir()).unwrap();
    assert_eq!((verification.lost_offsets, verification.tail_bytes), (0, 0));
}

#[test]
fn the_queue_is_the_model_whatever_fails_and_whenever_the_power_goes() {
    for_each_seed("the_queue_is_the_model_whatever", 200, |seed| story(seed, 120, (RecoveryMode::Full, 0)));
}

#[test]
fn the_queue_is_the_model_when_opening_reads_only_its_tail() {
    for_each_seed("the_queue_is_the_model_when", 200, |seed| story(seed, 120, (RecoveryMode::Tail, 0)));
}

#[test]
fn the_queue_is_the_model_with_room_ahead_too() {
    for_each_seed("the_queue_is_the_model_with_room", 200, |seed| {
        let mode = if seed % 2 == 0 { RecoveryMode::Full } else { RecoveryMode::Tail };
        story(seed, 120, (mode, 8 << 10));
    });
}
