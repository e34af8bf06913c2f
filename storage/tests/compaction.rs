//! Compaction as its users meet it: what stays, what readers see meanwhile, what happens when there is damage or no room.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{dir, open};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use weir_storage::{Batch, Compaction, CompactionOptions, FaultyFs, Log, LogOptions, Reader, RecoveryMode, verify};

/// Segments of a few records.
fn options() -> LogOptions {
    LogOptions { segment_bytes: 600, index_interval_bytes: 100, ..LogOptions::default() }
}

fn commit(log: &mut Log, key: Option<&str>, value: Option<&str>, timestamp_ms: i64) -> u64 {
    let mut batch = Batch::new();
    batch.push(timestamp_ms, key.map(str::as_bytes), value.map(str::as_bytes), &[("trace", b"7")]).unwrap();
    log.commit(&mut batch).unwrap().start
}

fn put(log: &mut Log, key: &str, value: &str) -> u64 {
    commit(log, Some(key), Some(value), 1_000)
}

/// Records of other keys, one of each, until the segments before are closed.
fn fill(log: &mut Log) {
    let before = log.reader().segments().len();
    while log.reader().segments().len() == before {
        let key = format!("filler {}", log.next_offset());
        put(log, &key, "x");
    }
}

fn compact(log: &Log, options: CompactionOptions) -> Compaction {
    log.compact(&options, &AtomicBool::new(false)).unwrap()
}

/// Offset, key and value of everything from an offset on.
fn records(reader: &Reader, from: u64) -> Vec<(u64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (mut next, mut records) = (from, Vec::new());
    while next < reader.end_offset() {
        let chunk = reader.read(next, 300).unwrap();
        for record in chunk.records().map(Result::unwrap) {
            assert_eq!(record.headers.get("trace"), Some(&b"7"[..]));
            records.push((record.offset, record.key.map(text).unwrap_or_default(), record.value.map(text)));
        }
        assert!(chunk.next_offset > next);
        next = chunk.next_offset;
    }
    records
}

fn of_key(reader: &Reader, key: &str) -> Vec<(u64, Option<String>)> {
    let all = records(reader, reader.start_offset()).into_iter();
    all.filter(|(_, found, _)| found == key).map(|(offset, _, value)| (offset, value)).collect()
}

fn log_files(fs: &FaultyFs) -> usize {
    use weir_storage::Fs;
    fs.list(dir()).unwrap().iter().filter(|name| name.ends_with(".log")).count()
}

#[test]
fn the_last_value_of_each_key_stays_at_its_offset_and_the_log_starts_and_ends_where_it_did() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options());
    let mut last = Vec::new();
    for round in 0..60 {
        let key = format!("key {}", round % 3);
        last.push((put(&mut log, &key, &round.to_string()), key, Some(round.to_string())));
        if round % 20 == 0 {
            last.push((commit(&mut log, None, Some("no key"), 1_000), String::new(), Some("no key".into())));
        }
    }
    fill(&mut log);
    let end = log.next_offset();
    let before = (log.allocated(), log_files(&fs));
    let compaction = compact(&log, CompactionOptions::default());
    assert_eq!(compaction.removed_records, 57);
    assert!(log.allocated() < before.0 && log_files(&fs) < before.1, "neighbours become one: {compaction:?}");

    let kept = |found: &[(u64, String, Option<String>)]| {
        let found = found.iter().filter(|(_, key, _)| !key.starts_with("filler"));
        found.cloned().collect::<Vec<_>>()
    };
    let is_last = |at: usize| !last[at + 1..].iter().any(|(_, key, _)| *key == last[at].1);
    let stays = |(at, (_, key, _)): &(usize, &(u64, String, Option<String>))| key.is_empty() || is_last(*at);
    let expected: Vec<_> = last.iter().enumerate().filter(stays).map(|(_, record)| record.clone()).collect();
    let check = |log: &Log| {
        assert_eq!((log.start_offset(), log.next_offset(), log.reader().end_offset()), (0, end, end));
        assert_eq!(kept(&records(&log.reader(), 0)), expected);
        for from in 0..end {
            let first = records(&log.reader(), from).into_iter().next().map(|(offset, ..)| offset);
            let next = records(&log.reader(), 0).into_iter().map(|(offset, ..)| offset).find(|offset| *offset >= from);
            assert_eq!(first, next, "from {from}, perhaps compacted away, it goes on at the next record");
        }
    };
    check(&log);
    drop(log);
    for recovery in [RecoveryMode::Full, RecoveryMode::Tail] {
        let (log, recovery) = open(&fs.power_cut(), LogOptions { recovery, ..options() });
        assert_eq!((recovery.damage_count, recovery.truncated_bytes), (0, 0));
        check(&log);
    }
    assert_eq!(verify(&fs.power_cut(), dir()).unwrap().damage_count, 0);
}

#[test]
fn a_deleted_key_leaves_its_tombstone_until_its_time_is_over() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options());
    put(&mut log, "a", "1");
    fill(&mut log);
    let tombstone = commit(&mut log, Some("a"), None, 1_000);
    fill(&mut log);

    compact(&log, CompactionOptions { tombstones_before: tombstone, ..CompactionOptions::default() });
    assert_eq!(of_key(&log.reader(), "a"), [(tombstone, None)]);
    compact(&log, CompactionOptions { tombstones_before: tombstone + 1, ..CompactionOptions::default() });
    assert_eq!(of_key(&log.reader(), "a"), []);
    let (log, _) = open(&fs.power_cut(), options());
    assert_eq!(of_key(&log.reader(), "a"), []);
}

#[test]
fn nothing_from_the_offset_on_is_touched_and_what_readers_may_not_see_yet_neither() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions { expose_on_commit: false, ..options() });
    let offsets: Vec<u64> = (0..40).map(|round| put(&mut log, "a", &round.to_string())).collect();
    log.expose(20);
    let ends: Vec<u64> = log.reader().segments().iter().map(|segment| segment.next_offset).collect();
    let whole = ends.iter().copied().filter(|end| *end <= 10).max();
    let first = compact(&log, CompactionOptions { upto: 10, ..CompactionOptions::default() });
    assert_eq!(Some(first.compacted_below), whole, "only whole segments: {ends:?}");
    let below = compact(&log, CompactionOptions::default()).compacted_below;
    assert!((10..=20).contains(&below), "{below}");
    log.expose(40);
    let left: Vec<u64> = of_key(&log.reader(), "a").into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(left, offsets[below as usize - 1..]);
}

#[test]
fn few_bytes_of_memory_only_cost_more_passes() {
    let story = |max_key_bytes| {
        let fs = FaultyFs::new(1);
        let (mut log, _) = open(&fs, options());
        for round in 0..200 {
            put(&mut log, &format!("key {}", round * 7 % 31), &round.to_string());
        }
        fill(&mut log);
        let compaction = compact(&log, CompactionOptions { max_key_bytes, ..CompactionOptions::default() });
        (compaction.passes, records(&log.reader(), 0))
    };
    let (one, expected) = story(1 << 20);
    let (many, found) = story(1_000);
    assert_eq!(one, 1);
    assert!(many > 3, "{many} passes");
    assert_eq!(found, expected);
}

#[test]
fn a_reader_that_holds_a_segment_finishes_and_one_between_two_reads_finds_its_place() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options());
    for round in 0..40 {
        put(&mut log, &format!("key {}", round % 4), &round.to_string());
    }
    fill(&mut log);
    let reader = log.reader();
    let all = records(&reader, 0);
    let chunk = reader.read(0, 300).unwrap();
    let held: Vec<u64> = chunk.records().map(|record| record.unwrap().offset).collect();
    compact(&log, CompactionOptions::default());

    let again: Vec<u64> = chunk.records().map(|record| record.unwrap().offset).collect();
    assert_eq!(again, held, "the chunk is its own");
    let after = records(&reader, chunk.next_offset);
    assert!(after.len() < all.len() - held.len());
    assert!(after.iter().all(|record| all.contains(record)));
    assert_eq!(after, records(&log.reader(), chunk.next_offset));
}

#[test]
fn a_time_finds_the_first_record_that_is_left_at_or_after_it() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options());
    let times: Vec<i64> = (0..60).map(|at| (at * 37 % 60) * 10).collect();
    for (at, time) in times.iter().enumerate() {
        commit(&mut log, Some(&format!("key {}", at % 7)), Some("x"), *time);
    }
    fill(&mut log);
    compact(&log, CompactionOptions::default());
    let left: Vec<u64> = records(&log.reader(), 0).into_iter().map(|(offset, ..)| offset).collect();
    let time_of = |offset: u64| times.get(offset as usize).copied().unwrap_or(1_000);
    let before = log.reader();
    drop(log);
    let (reopened, _) = open(&fs, options());
    for reader in [before, reopened.reader()] {
        for time in (0..=1_001).step_by(7) {
            let expected = left.iter().copied().find(|offset| time_of(*offset) >= time);
            assert_eq!(reader.offset_for_time(time).unwrap(), expected, "time {time}");
        }
    }
}

/// The last value of a key was in the damaged bytes: the one before it is the last that can be read, and what
/// deletes a key stays, because the damaged segment may hold what it deletes.
#[test]
fn a_damaged_segment_is_left_as_it_is_and_costs_nothing_that_can_be_read() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options());
    put(&mut log, "a", "1");
    put(&mut log, "b", "1");
    fill(&mut log);
    let second = log.reader().segments().last().unwrap().base_offset;
    let (lost, kept) = (put(&mut log, "a", "2"), put(&mut log, "b", "2"));
    fill(&mut log);
    let tombstone = commit(&mut log, Some("b"), None, 1_000);
    put(&mut log, "c", "1");
    let last = put(&mut log, "c", "2");
    fill(&mut log);
    drop(log);
    let file = PathBuf::from(format!("{}/{second:020}.log", dir().display()));
    assert!(fs.flip_bit(&file, first_record_of(&fs, &file, lost), 3));

    let (log, _) = open(&fs, LogOptions { recovery: RecoveryMode::Tail, ..options() });
    let options = CompactionOptions { tombstones_before: u64::MAX, ..CompactionOptions::default() };
    let compaction = compact(&log, options);
    assert_eq!((compaction.damage.len(), compaction.damage[0].gap.clone()), (1, lost..lost + 1));
    assert_eq!(of_key(&log.reader(), "a"), [(0, Some("1".into()))]);
    assert_eq!(of_key(&log.reader(), "b"), [(kept, Some("2".into())), (tombstone, None)]);
    assert_eq!(of_key(&log.reader(), "c"), [(last, Some("2".into()))], "the others are compacted");
    assert_eq!(compact(&log, options).removed_records, 0, "and there it ends");
}

/// A byte inside the record at `offset`, in a segment of commits of one record each.
fn first_record_of(fs: &FaultyFs, file: &std::path::Path, offset: u64) -> u64 {
    use weir_storage::{File, Fs, Mode, frame::Header};
    let file: Box<dyn File> = fs.open(file, Mode::Read).unwrap();
    let mut at = 0;
    loop {
        let mut header = [0; 61];
        file.read_at(&mut header, at).unwrap();
        let header = Header::parse(&header).unwrap();
        if header.base_offset == offset {
            return at + 70;
        }
        at += header.frame_bytes as u64;
    }
}

/// A merged segment covers far more offsets than it has bytes for. The frame behind damage in it is found all the same.
#[test]
fn damage_in_a_compacted_segment_costs_one_frame() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions { segment_bytes: 200_000, ..options() });
    let padding = "x".repeat(40_000);
    for round in 0..40 {
        for _ in 0..100 {
            put(&mut log, "again and again", "y");
        }
        put(&mut log, &format!("key {round}"), &padding);
    }
    fill(&mut log);
    compact(&log, CompactionOptions::default());
    let before = records(&log.reader(), 0);
    let merged = log.reader().segments()[0];
    assert!(merged.next_offset - merged.base_offset > 400, "{merged:?}");
    drop(log);
    let file = PathBuf::from(format!("{}/{:020}.log", dir().display(), merged.base_offset));
    assert!(fs.flip_bit(&file, 50_000, 0));

    for recovery in [RecoveryMode::Full, RecoveryMode::Tail] {
        let (log, _) = open(&fs, LogOptions { recovery, segment_bytes: 200_000, ..options() });
        let after = records(&log.reader(), 0);
        assert_eq!(after.len(), before.len() - 1, "one frame, here with one record");
        assert!(after.iter().all(|record| before.contains(record)));
    }
    let verification = verify(&fs, dir()).unwrap();
    assert_eq!((verification.damage_count, verification.lost_offsets), (1, 101));
}

#[test]
fn without_room_nothing_is_lost_and_the_next_one_tries_again() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options());
    for round in 0..40 {
        put(&mut log, &format!("key {}", round % 4), &round.to_string());
    }
    fill(&mut log);
    let before = records(&log.reader(), 0);
    fs.set_capacity(Some(fs.used_bytes()));
    let compaction = compact(&log, CompactionOptions::default());
    assert!(compaction.left > 0 && compaction.removed_records == 0, "{compaction:?}");
    assert_eq!(records(&log.reader(), 0), before);

    fs.set_capacity(None);
    let compaction = compact(&log, CompactionOptions::default());
    assert_eq!((compaction.left, compaction.removed_records), (0, 36));
}

#[test]
fn compaction_stays_within_the_cap_and_leaves_half_of_what_is_free_to_commits() {
    let fs = FaultyFs::new(1);
    let cap = 256 * 1024;
    let (mut log, _) = open(&fs, LogOptions { cap_bytes: Some(cap), ..LogOptions::default() });
    let value = "x".repeat(2_000);
    let mut batch = Batch::new();
    loop {
        batch.clear();
        let key = [(log.next_offset() % 8) as u8];
        batch.push(1_000, Some(&key), Some(value.as_bytes()), &[("trace", b"7")]).unwrap();
        if log.commit(&mut batch).is_err() {
            break;
        }
    }
    assert!(log.allocated() > cap * 9 / 10);
    let full = compact(&log, CompactionOptions::default());
    assert!(full.left > 0, "at the cap there is no room: {full:?}");

    // With some room it goes segment by segment, and each makes room for the next.
    log.remove_before(30).unwrap();
    let compaction = compact(&log, CompactionOptions::default());
    assert_eq!(compaction.left, 0, "{compaction:?}");
    assert!(log.allocated() < cap / 3, "{} of {cap}", log.allocated());
    assert!(log.commit(&mut batch).is_ok());
}

#[test]
fn a_compaction_ends_when_it_is_asked_to() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options());
    for round in 0..40 {
        put(&mut log, "a", &round.to_string());
    }
    let before = records(&log.reader(), 0);
    let compaction = log.compact(&CompactionOptions::default(), &AtomicBool::new(true)).unwrap();
    assert!(compaction.is_cut_short);
    assert_eq!(records(&log.reader(), 0), before);
}

#[test]
fn what_an_interrupted_compaction_wrote_is_removed_when_the_log_is_opened() {
    use weir_storage::{Fs, Mode};
    let fs = FaultyFs::new(1);
    drop(open(&fs, options()));
    let left = dir().join("compaction.tmp");
    fs.open(&left, Mode::CreateNew).unwrap().write_at(b"half a segment", 0).unwrap();
    drop(open(&fs, options()));
    assert!(!fs.exists(&left).unwrap());
}
