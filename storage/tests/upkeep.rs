//! Removal and compaction beside a committer, on a device that takes its time: commits go on, and readers finish.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::dir;
use common::gate::Gate;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use weir_storage::fs::Operation;
use weir_storage::{
    Batch, Committer, CommitterOptions, CompactionOptions, Completion, FaultyFs, Fs, Journal, JournalOptions, Log,
    LogOptions, Reader, Submission, journal, verify,
};

fn options() -> LogOptions {
    LogOptions { segment_bytes: 2_000, index_interval_bytes: 200, ..LogOptions::default() }
}

fn committer(fs: &Arc<dyn Fs>) -> Committer {
    let (log, _) = Log::open(Arc::clone(fs), dir(), options()).unwrap();
    Committer::spawn(vec![log], CommitterOptions::default()).unwrap()
}

/// Commits one record to each of the logs and waits for it; its offset in the first.
fn commit(committer: &Committer, logs: usize, key: &str, value: &str) -> u64 {
    let (answer, answered) = mpsc::channel();
    let part = |log| {
        let mut batch = Batch::new();
        batch.push(1_000, Some(key.as_bytes()), Some(value.as_bytes()), &[]).unwrap();
        (log, batch)
    };
    let done = Box::new(move |completion: Completion| answer.send(completion.parts).unwrap());
    committer.submit(Submission { parts: (0..logs).map(part).collect(), done }).unwrap();
    answered.recv().unwrap().remove(0).result.unwrap().start
}

/// Offset, key and value of what a reader finds from an offset on.
fn records(reader: &Reader, from: u64) -> Vec<(u64, String, String)> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let (mut next, mut records) = (from, Vec::new());
    while next < reader.end_offset() {
        let chunk = reader.read(next, 1_000).unwrap();
        assert_eq!(chunk.gaps, []);
        let found = chunk.records().map(Result::unwrap);
        records.extend(found.map(|record| (record.offset, text(record.key), text(record.value))));
        next = chunk.next_offset;
    }
    records
}

#[test]
fn commits_go_on_while_a_removal_waits_for_the_device() {
    let (gate, fs) = Gate::before(&FaultyFs::new(1));
    let running = committer(&fs);
    let middle = (0..100).map(|round| commit(&running, 1, "a", &round.to_string())).nth(50).unwrap();
    gate.close(Operation::Remove, ".log");
    thread::scope(|scope| {
        let removal = scope.spawn(|| running.remove_before(0, middle));
        gate.wait_for_one();
        let next = running.readers()[0].end_offset();
        for round in 0..100 {
            assert_eq!(commit(&running, 1, "b", "beside it"), next + round);
        }
        gate.open();
        assert!(removal.join().unwrap().unwrap() > 0);
    });
}

#[test]
fn commits_go_on_while_a_compaction_waits_for_the_device() {
    for (operation, ending) in
        [(Operation::Sync, "compaction.tmp"), (Operation::Rename, "00.log"), (Operation::Remove, ".log")]
    {
        let disk = FaultyFs::new(1);
        let (gate, fs) = Gate::before(&disk);
        let running = committer(&fs);
        for round in 0..200 {
            commit(&running, 1, ["a", "b", "c"][round % 3], &round.to_string());
        }
        let reader = running.readers()[0].clone();
        gate.close(operation, ending);
        thread::scope(|scope| {
            let compaction =
                scope.spawn(|| running.compact(0, &CompactionOptions::default(), &AtomicBool::new(false)).unwrap());
            gate.wait_for_one();
            for _ in 0..100 {
                commit(&running, 1, "d", "beside it");
            }
            // Whatever is half done, readers find the last value of each key, and all that came behind.
            let found = records(&reader, 0);
            assert_eq!(found.iter().filter(|(_, key, _)| key == "d").count(), 100);
            for key in ["a", "b", "c"] {
                let last = found.iter().rfind(|(_, found, _)| found == key).unwrap();
                assert!(last.2.parse::<usize>().unwrap() >= 197, "{operation:?}: {last:?}");
            }
            gate.open();
            assert!(compaction.join().unwrap().removed_records > 100);
        });
        drop(running);
        let (log, recovery) = Log::open(Arc::new(disk.power_cut()), dir(), options()).unwrap();
        assert_eq!((recovery.lost_offsets, log.next_offset()), (0, 300));
    }
}

#[test]
fn a_reader_in_the_middle_of_a_segment_that_is_removed_finishes_its_block() {
    let disk = FaultyFs::new(1);
    let (gate, fs) = Gate::before(&disk);
    let running = committer(&fs);
    for round in 0..100 {
        commit(&running, 1, "a", &round.to_string());
    }
    drop(running);
    let running = committer(&fs);
    let reader = running.readers()[0].clone();
    gate.close(Operation::Read, "00.log");
    thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read(0, 1 << 20).unwrap());
        gate.wait_for_one();
        running.remove_before(0, 90).unwrap();
        assert!(!disk.exists(&dir().join(format!("{:020}.log", 0))).unwrap(), "the file has lost its name");
        gate.open();
        let chunk = reading.join().unwrap();
        let values: Vec<u64> = chunk.records().map(|record| record.unwrap().offset).collect();
        assert_eq!(values, (0..chunk.next_offset).collect::<Vec<_>>(), "and is read to its end");
        assert_eq!(chunk.gaps, []);
    });
    assert!(reader.read(0, 100).is_err(), "from then on it is gone");
}

#[test]
fn a_check_of_the_files_that_a_compaction_overtakes_begins_again() {
    let disk = FaultyFs::new(1);
    let running = committer(&(Arc::new(disk.clone()) as Arc<dyn Fs>));
    for round in 0..100 {
        commit(&running, 1, "a", &round.to_string());
    }
    let (gate, watched) = Gate::before(&disk);
    let second = running.readers()[0].segments()[1].base_offset;
    gate.close(Operation::Open, "00.log");
    thread::scope(|scope| {
        let checking = scope.spawn(|| verify(&*watched, dir()).unwrap());
        gate.wait_for_one();
        running.compact(0, &CompactionOptions::default(), &AtomicBool::new(false)).unwrap();
        assert!(!disk.exists(&dir().join(format!("{second:020}.log"))).unwrap(), "a file that was listed is gone");
        gate.open();
        let found = checking.join().unwrap();
        assert_eq!((found.damage_count, found.offsets), (0, 0..100));
    });
}

#[test]
fn segments_that_are_removed_while_they_are_compacted_do_not_come_back() {
    let disk = FaultyFs::new(1);
    let (gate, fs) = Gate::before(&disk);
    let running = committer(&fs);
    for round in 0..200 {
        commit(&running, 1, "a", &round.to_string());
    }
    gate.close(Operation::Sync, "compaction.tmp");
    thread::scope(|scope| {
        let compaction =
            scope.spawn(|| running.compact(0, &CompactionOptions::default(), &AtomicBool::new(false)).unwrap());
        gate.wait_for_one();
        let start = running.remove_before(0, 150).unwrap();
        gate.open();
        assert!(compaction.join().unwrap().is_cut_short);
        assert_eq!(running.readers()[0].start_offset(), start);
        let (log, recovery) = Log::open(Arc::new(disk.power_cut()), dir(), options()).unwrap();
        assert_eq!((log.start_offset(), recovery.lost_offsets), (start, 0));
    });
}

/// The reader has opened the file of a segment, and is about to read its sidecar, when both are replaced: the new sidecar
/// says nothing about the old file.
#[test]
fn a_reader_does_not_read_an_old_file_by_the_sidecar_of_a_new_one() {
    let (gate, fs) = Gate::before(&FaultyFs::new(1));
    // Large enough for a sidecar, before and after.
    let large = LogOptions { segment_bytes: 800_000, ..options() };
    let (mut log, _) = Log::open(Arc::clone(&fs), dir(), large).unwrap();
    for round in 0..60_u64 {
        let mut batch = Batch::new();
        batch.push(1_000, Some(&round.max(1).to_be_bytes()), Some(&[7; 20_000]), &[]).unwrap();
        log.commit(&mut batch).unwrap();
    }
    drop(log);
    let (log, _) = Log::open(Arc::clone(&fs), dir(), large).unwrap();
    let reader = log.reader();
    let end = reader.segments()[0].next_offset;
    gate.close(Operation::Open, "00.index");
    thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read(0, 1 << 20).unwrap());
        gate.wait_for_one();
        let options = CompactionOptions { upto: end, ..CompactionOptions::default() };
        assert_eq!(log.compact(&options, &AtomicBool::new(false)).unwrap().rewritten, (1, 1));
        assert!(fs.exists(&dir().join(format!("{:020}.index", 0))).unwrap(), "the new one has a sidecar too");
        gate.open();
        let chunk = reading.join().unwrap();
        assert_eq!((chunk.gaps.as_slice(), chunk.next_offset), (&[][..], end));
    });
}

/// The reader has looked up where the log ends for it, and is about to open the segment, when more is exposed and compacted
/// into a frame that reaches over that end.
#[test]
fn a_reader_gets_on_when_its_end_of_the_log_is_compacted_into_a_frame() {
    let (gate, fs) = Gate::before(&FaultyFs::new(1));
    let (mut log, _) = Log::open(fs, dir(), LogOptions { expose_on_commit: false, ..options() }).unwrap();
    for round in 0..400 {
        let mut batch = Batch::new();
        batch.push(1_000, Some(b"a"), Some(round.to_string().as_bytes()), &[]).unwrap();
        log.commit(&mut batch).unwrap();
    }
    let reader = log.reader();
    assert!(reader.segments()[0].next_offset > 12, "so the end lies within the first segment");
    log.expose(10);
    gate.close(Operation::Open, "00.log");
    thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read(9, 1 << 20).unwrap());
        gate.wait_for_one();
        log.expose(400);
        log.compact(&CompactionOptions::default(), &AtomicBool::new(false)).unwrap();
        gate.open();
        let chunk = reading.join().unwrap();
        assert!(chunk.next_offset > 9, "a read goes on");
        assert_eq!(chunk.gaps, []);
    });
}

/// A redo writes bytes at positions of segment files. It must not find other files there than those it was for.
#[test]
fn what_the_journal_holds_is_not_written_into_a_segment_that_was_compacted() {
    common::for_each_seed("what_the_journal_holds", 30, |seed| {
        let disk = FaultyFs::new(seed);
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let (root, dirs) = (Path::new("/topics"), ["/topics/0", "/topics/1"]);
        let settings = JournalOptions { bytes: journal::MIN_BYTES, salt: 7 };
        let logs = dirs.map(|dir| Log::open(Arc::clone(&fs), Path::new(dir), options()).unwrap().0);
        let journal = Journal::open(Arc::clone(&fs), root, settings).unwrap();
        let running = Committer::spawn_with(logs.into(), CommitterOptions::default(), Some(journal)).unwrap();
        for round in 0..40 {
            commit(&running, 2, ["a", "b"][round % 2], &round.to_string());
        }
        running.compact(0, &CompactionOptions::default(), &AtomicBool::new(false)).unwrap();
        let before = records(&running.readers()[0], 0);

        let survivor: Arc<dyn Fs> = Arc::new(disk.power_cut());
        journal::recover(&survivor, root).unwrap();
        let (log, recovery) = Log::open(survivor, Path::new(dirs[0]), options()).unwrap();
        assert_eq!(recovery.damage_count, 0, "{recovery:?}");
        assert_eq!(records(&log.reader(), 0), before);
    });
}

/// Real threads: one commits, one compacts, one removes, two read. Each reader sees, at every look, records in order and
/// for each key nothing older than what it saw before.
#[test]
fn committing_compacting_removing_and_reading_at_once() {
    common::for_each_seed("committing_compacting", 6, |seed| {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(seed));
        let running = committer(&fs);
        let (ended, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..1_500_u64 {
                    commit(&running, 1, &format!("key {}", round % 5), &round.to_string());
                }
                ended.store(true, Ordering::Release);
            });
            scope.spawn(|| {
                let mut random = SmallRng::seed_from_u64(seed);
                while !ended.load(Ordering::Acquire) {
                    let upto = random.random_range(0..=running.readers()[0].end_offset());
                    running.compact(0, &CompactionOptions { upto, ..CompactionOptions::default() }, &stop).unwrap();
                }
            });
            scope.spawn(|| {
                let mut random = SmallRng::seed_from_u64(seed + 1);
                while !ended.load(Ordering::Acquire) {
                    let end = running.readers()[0].end_offset();
                    running.remove_before(0, random.random_range(0..=end / 2)).unwrap();
                    thread::yield_now();
                }
            });
            for _ in 0..2 {
                let reader = running.readers()[0].clone();
                let ended = &ended;
                scope.spawn(move || {
                    while !ended.load(Ordering::Acquire) {
                        look(&reader);
                    }
                });
            }
        });
        let found = records(&running.readers()[0], running.readers()[0].start_offset());
        for (at, key) in (1_495..1_500).map(|round| (round, format!("key {}", round % 5))) {
            let last = found.iter().rfind(|(_, found, _)| *found == key).unwrap();
            assert_eq!((last.0, last.2.clone()), (at, at.to_string()));
        }
    });
}

/// Reads all that is there: values are the offsets they were committed at.
fn look(reader: &Reader) {
    let (mut next, end) = (reader.start_offset(), reader.end_offset());
    let mut last = None;
    while next < end {
        // Removed from under the reader: it would begin again at the start.
        let Ok(chunk) = reader.read(next, 1_000) else { return };
        assert_eq!(chunk.gaps, []);
        for record in chunk.records().map(Result::unwrap) {
            assert!(last < Some(record.offset), "in order");
            last = Some(record.offset);
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
        }
        assert!(chunk.next_offset > next, "a read goes on");
        next = chunk.next_offset;
    }
}
