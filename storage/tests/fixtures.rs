//! Logs that were written once and for all: every later build opens them and finds the same.
//!
//! What each one is, and who wrote it, says `fixtures/README.md`.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, dir, open, read_all};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use weir_storage::{
    Batch, CompactionOptions, FaultyFs, Fs, Loaded, Log, LogOptions, Mode, Reader, RecoveryMode, StateFile,
    TruncationReason, Verification, durable, verify,
};

/// Name and bytes.
type Files = BTreeMap<String, Vec<u8>>;

const MODES: [RecoveryMode; 2] = [RecoveryMode::Full, RecoveryMode::Tail];

fn options(recovery: RecoveryMode) -> LogOptions {
    LogOptions { segment_bytes: 1_200, index_interval_bytes: 64, recovery, ..LogOptions::default() }
}

/// The log of `good`: four segments; every fourth commit is a group of two batches; times out of order, some records
/// without key or value, some with a header. A clean stop at the end.
fn write_good(fs: &FaultyFs) {
    let (mut log, _) = open(fs, options(RecoveryMode::Full));
    for number in 0..32_i64 {
        let time = 1_763_726_400_000 + number * 1_000 - (number % 3) * 5_000;
        let (key, value) = (format!("pump-{number}"), format!("good {number}"));
        let mut first = Batch::new();
        first.push(time, Some(key.as_bytes()), Some(value.as_bytes()), &[("traceparent", b"00-01")]).unwrap();
        first.push(time + 1, None, Some(b"no key"), &[]).unwrap();
        let mut second = Batch::new();
        second.push(time, Some(key.as_bytes()), Some(b"second batch"), &[]).unwrap();
        if number % 4 == 3 {
            log.commit_group(&mut [&mut first, &mut second]).unwrap();
        } else {
            log.commit(&mut first).unwrap();
        }
    }
    log.mark_end();
    cursor(fs).replace(b"cursor of good").unwrap();
}

/// The log of `compacted`: the segments of twenty rounds of three keys became one that lost most of its records and a
/// key that was deleted; behind it one that was not compacted.
fn write_compacted(fs: &FaultyFs) {
    let (mut log, _) = open(fs, options(RecoveryMode::Full));
    let mut put = |key: Option<&str>, value: Option<&str>, time: i64| {
        let mut batch = Batch::new();
        let time = 1_763_726_400_000 + time * 1_000;
        batch.push(time, key.map(str::as_bytes), value.map(str::as_bytes), &[("traceparent", b"00-01")]).unwrap();
        log.commit(&mut batch).unwrap();
    };
    put(Some("valve"), Some("deleted later"), 0);
    put(None, Some("no key"), 1);
    for round in 2..20 {
        for pump in 1..4 {
            put(Some(&format!("pump-{pump}")), Some(&format!("round {round}")), round * 10 - pump);
        }
    }
    put(Some("valve"), None, 200);
    for number in 0..12 {
        put(Some(&format!("behind {number}")), Some("stays"), 201 + number);
    }
    let upto = log.reader().segments()[5].base_offset;
    let compacting = CompactionOptions { upto, tombstones_before: upto, ..CompactionOptions::default() };
    log.compact(&compacting, &AtomicBool::new(false)).unwrap();
    log.mark_end();
}

fn cursor(fs: &FaultyFs) -> StateFile {
    StateFile::new(Arc::new(fs.clone()), &dir().join("cursor"))
}

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The files of a fixture, on a disk of its own.
fn load(name: &str) -> FaultyFs {
    let fs = FaultyFs::new(1);
    durable::create_dir_all(&fs, dir()).unwrap();
    for entry in std::fs::read_dir(committed(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = fs.open(&dir().join(path.file_name().unwrap()), Mode::CreateNew).unwrap();
        file.write_at(&std::fs::read(path).unwrap(), 0).unwrap();
    }
    fs
}

/// Name and bytes of every file that a fixture keeps.
fn files(fs: &FaultyFs) -> Files {
    let mut names = fs.list(dir()).unwrap();
    names.retain(|name| !name.ends_with("lock") && !name.ends_with("reserve"));
    let bytes = |name: &String| {
        let file = fs.open(&dir().join(name), Mode::Read).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    names.iter().map(|name| (name.clone(), bytes(name))).collect()
}

fn checked(name: &str) -> Verification {
    verify(&load(name), dir()).unwrap()
}

/// What a reader sees, in both modes the same; then the log goes on.
fn read(name: &str) -> Vec<(u64, String)> {
    let [full, tail] = MODES.map(|mode| {
        let fs = load(name);
        let disk: Arc<dyn Fs> = Arc::new(fs.clone());
        let (view, _) = Reader::open(&disk, dir(), mode).unwrap();
        let seen = read_all(&view, view.start_offset(), 300);
        let (mut log, recovery): (Log, _) = open(&fs, options(mode));
        assert_eq!(recovery.mode, mode);
        assert_eq!(read_all(&log.reader(), log.start_offset(), 300), seen);
        let next = log.next_offset();
        assert_eq!(log.commit(&mut batch(&["goes on"])).unwrap(), next..next + 1);
        assert_eq!(read_all(&log.reader(), next, 300), [(next, "goes on".to_owned())]);
        seen
    });
    assert_eq!(full, tail);
    full
}

#[test]
fn the_good_log_is_what_is_written_today_byte_for_byte() {
    let fs = FaultyFs::new(1);
    write_good(&fs);
    assert!(files(&fs) == files(&load("good")), "stored bytes change: that needs a new version and a fixture of it");
}

#[test]
fn the_good_log_has_no_damage_and_every_record_is_there() {
    let found = checked("good");
    assert_eq!((found.segments, found.records, found.offsets, found.tail_bytes), (4, 72, 0..72, 0));
    assert_eq!(found.damage_count, 0);
    let records = read("good");
    assert_eq!(records.len(), 72);
    assert_eq!(records[..2], [(0, "good 0".to_owned()), (1, "no key".to_owned())]);
    assert_eq!(records[8], (8, "second batch".to_owned()));
    let (log, _) = open(&load("good"), options(RecoveryMode::Tail));
    assert_eq!(log.reader().offset_for_time(1_763_726_409_000).unwrap(), Some(20));
    let Loaded::Good(payload) = cursor(&load("good")).load().unwrap() else { panic!("no cursor") };
    assert_eq!(payload, b"cursor of good");
}

#[test]
fn the_torn_log_loses_the_commit_that_was_interrupted_and_nothing_else() {
    let found = checked("torn");
    assert_eq!((found.records, found.damage_count, found.tail_bytes), (71, 0, 77));
    assert_eq!(read("torn"), read("good")[..71]);
    for mode in MODES {
        let (_, recovery) = open(&load("torn"), options(mode));
        let [cut] = &recovery.truncations[..] else { panic!("{recovery:?}") };
        assert_eq!((cut.file.as_str(), cut.bytes), ("00000000000000000060.log", 77));
        assert_eq!(cut.reason, TruncationReason::TornTail);
    }
    assert!(matches!(cursor(&load("torn")).load().unwrap(), Loaded::Damaged { .. }));
}

#[test]
fn the_damaged_log_names_its_gaps_and_serves_everything_else() {
    let found = checked("damaged");
    let told: Vec<String> = found.damage.iter().map(ToString::to_string).collect();
    let expected = [
        "00000000000000000000.log at byte 333: 111 bytes damaged, 2 offsets lost: 6 to 7",
        "00000000000000000020.log at byte 0: 16 bytes damaged, nothing lost",
        "00000000000000000020.log at byte 1189: 0 bytes damaged, 20 offsets lost: 40 to 59",
        "00000000000000000060.log at byte 652: 87 bytes damaged, 1 offsets lost: 71 to 71",
    ];
    assert_eq!(told, expected);
    let everything = read("good");
    let lost = |offset: &u64| found.damage.iter().any(|damage| damage.gap.contains(offset));
    let expected: Vec<_> = everything.into_iter().filter(|(offset, _)| !lost(offset)).collect();
    assert_eq!(read("damaged"), expected);
}

#[test]
fn the_log_of_an_older_build_opens_for_ever() {
    let found = checked("older");
    assert_eq!((found.segments, found.records, found.offsets, found.tail_bytes), (4, 60, 0..60, 0));
    assert_eq!(found.damage_count, 0);
    let records = read("older");
    let expected = |offset: u64| format!("older {}.{}", offset / 2, offset % 2);
    assert_eq!(records, (0..60).map(|offset| (offset, expected(offset))).collect::<Vec<_>>());
    let (log, _) = open(&load("older"), options(RecoveryMode::Tail));
    assert_eq!(log.reader().offset_for_time(1_763_726_410_000).unwrap(), Some(20));
    let Loaded::Good(payload) = cursor(&load("older")).load().unwrap() else { panic!("no cursor") };
    assert_eq!(payload, b"cursor of older");
}

#[test]
fn the_compacted_log_is_what_is_written_today_and_keeps_every_offset() {
    let fs = FaultyFs::new(1);
    write_compacted(&fs);
    assert!(
        files(&fs) == files(&load("compacted")),
        "stored bytes change: that needs a new version and a fixture of it"
    );
    let found = checked("compacted");
    assert_eq!((found.damage_count, found.offsets), (0, 0..69));
    let records = read("compacted");
    let rounds = [1, 2, 3].map(|pump| (52 + pump, "round 19".to_owned()));
    assert_eq!(records.first(), Some(&(1, "no key".to_owned())));
    assert_eq!(records[1..4], rounds);
    assert_eq!(records.last(), Some(&(68, "stays".to_owned())));
}

/// Writes `compacted` anew.
#[test]
#[ignore = "writes a fixture: cargo test -p weir-storage --test fixtures write_the_compacted_fixture -- --ignored"]
fn write_the_compacted_fixture() {
    let fs = FaultyFs::new(1);
    write_compacted(&fs);
    std::fs::create_dir_all(committed("compacted")).unwrap();
    for (file, bytes) in files(&fs) {
        std::fs::write(committed("compacted").join(file), bytes).unwrap();
    }
}

/// Writes `good`, `torn` and `damaged` anew; they change with a new version of the format only.
#[test]
#[ignore = "writes the fixtures: cargo test -p weir-storage --test fixtures -- --ignored"]
fn write_the_fixtures() {
    let write = |name: &str, change: &dyn Fn(&mut Files)| {
        let fs = FaultyFs::new(1);
        write_good(&fs);
        let mut files = files(&fs);
        change(&mut files);
        std::fs::create_dir_all(committed(name)).unwrap();
        for (file, bytes) in files {
            std::fs::write(committed(name).join(file), bytes).unwrap();
        }
    };
    write("good", &|_| {});
    write("torn", &|files| {
        let last = files.keys().filter(|name| name.ends_with(".log")).max().unwrap().clone();
        // Killed, so there is no mark of the end; of the two frames of the last commit the second one is cut.
        files.remove(&last.replace(".log", ".index"));
        let bytes = files.get_mut(&last).unwrap();
        bytes.truncate(bytes.len() - 10);
        files.get_mut("cursor").unwrap().truncate(20);
    });
    write("damaged", &|files| {
        let names: Vec<String> = files.keys().filter(|name| name.ends_with(".log")).cloned().collect();
        // A value in the first segment, a base offset in the second one, the third one gone, the last commit of all.
        files.get_mut(&names[0]).unwrap()[400] ^= 0x10;
        files.get_mut(&names[1]).unwrap()[7] ^= 0x40;
        files.remove(&names[2]);
        let last = files.get_mut(&names[3]).unwrap();
        let end = last.len() - 5;
        last[end] ^= 1;
    });
}
