//! Room ahead: small commits write into bytes that the file has already, and nobody takes those bytes for anything.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, dir, open, read_all};
use weir_storage::{FaultyFs, Fs, Log, LogOptions, Mode, RecoveryMode, verify};

const ROOM: u64 = 8 << 10;

fn options(recovery: RecoveryMode) -> LogOptions {
    LogOptions { segment_bytes: 64 << 10, room_bytes: ROOM, recovery, ..LogOptions::default() }
}

/// The length of the segment that begins at `base`.
fn length(fs: &FaultyFs, base: u64) -> u64 {
    fs.open(&dir().join(format!("{base:020}.log")), Mode::Read).unwrap().size().unwrap()
}

fn commit(log: &mut Log, value: &str) {
    log.commit(&mut batch(&[value])).unwrap();
}

fn values(log: &Log) -> Vec<String> {
    read_all(&log.reader(), log.start_offset(), 10_000).into_iter().map(|(_, value)| value).collect()
}

#[test]
fn small_commits_go_into_room_that_an_earlier_one_took() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, options(RecoveryMode::Full));
    commit(&mut log, "first");
    let taken = length(&fs, 0);
    assert_eq!(taken, ROOM);
    for number in 0..40 {
        commit(&mut log, &number.to_string());
        assert_eq!(length(&fs, 0), taken, "commit {number}");
    }
    assert_eq!((log.allocated(), log.reader().filled()), (taken, 4096), "room is taken, and can be filled");
    assert_eq!(values(&log).len(), 41);
}

#[test]
fn room_is_no_torn_tail_after_a_power_cut_and_no_damage() {
    for mode in [RecoveryMode::Full, RecoveryMode::Tail] {
        let fs = FaultyFs::new(2);
        let (mut log, _) = open(&fs, options(mode));
        (0..5).for_each(|number| commit(&mut log, &number.to_string()));
        let survivor = fs.power_cut();
        let seen = verify(&survivor, dir()).unwrap();
        assert_eq!((seen.records, seen.tail_bytes, seen.damage_count), (5, 0, 0), "{mode:?}");
        let (mut log, recovery) = open(&survivor, options(mode));
        assert_eq!((recovery.truncated_bytes, recovery.damage_count), (0, 0), "{mode:?}");
        commit(&mut log, "5");
        assert_eq!(values(&log), ["0", "1", "2", "3", "4", "5"], "{mode:?}");
    }
}

#[test]
fn bytes_of_a_torn_commit_in_the_room_are_cut_and_told() {
    let fs = FaultyFs::new(3);
    let (mut log, _) = open(&fs, options(RecoveryMode::Tail));
    commit(&mut log, "kept");
    let end = verify(&fs, dir()).unwrap().bytes;
    drop(log);
    let file = fs.open(&dir().join(format!("{:020}.log", 0)), Mode::ReadWrite).unwrap();
    file.set_len(end).unwrap();
    file.set_len(ROOM).unwrap();
    file.write_at(b"half a frame", end + 100).unwrap();
    drop(file);
    let (log, recovery) = open(&fs, options(RecoveryMode::Tail));
    assert_eq!((recovery.truncated_bytes, recovery.lost_offsets), (ROOM - end, 0));
    assert_eq!(values(&log), ["kept"]);
}

#[test]
fn a_segment_that_is_closed_has_no_room_left() {
    let fs = FaultyFs::new(4);
    let (mut log, _) = open(&fs, LogOptions { segment_bytes: 3 * ROOM, ..options(RecoveryMode::Full) });
    let text = "a hundred bytes ".repeat(7);
    let next = loop {
        commit(&mut log, &text);
        if let Some(base) = log.take_rolled().filter(|base| *base > 0) {
            break base;
        }
    };
    let each = batch(&[&text]).byte_len() as u64;
    assert_eq!((length(&fs, 0), length(&fs, next)), (next * each, ROOM));
    let survivor = fs.power_cut();
    assert_eq!(verify(&survivor, dir()).unwrap().damage_count, 0, "cut or not, nothing of it is damage");
    assert_eq!(values(&open(&survivor, options(RecoveryMode::Full)).0).len() as u64, next + 1);
}

#[test]
fn a_clean_stop_leaves_frames_alone() {
    let fs = FaultyFs::new(5);
    let (mut log, _) = open(&fs, options(RecoveryMode::Tail));
    commit(&mut log, "last");
    log.mark_end();
    assert_eq!(length(&fs, 0), batch(&["last"]).byte_len() as u64);
}

#[test]
fn a_full_disk_takes_the_commit_without_room() {
    let fs = FaultyFs::new(6);
    let (mut log, _) = open(&fs, options(RecoveryMode::Full));
    fs.set_capacity(Some(fs.used_bytes() + 4096));
    commit(&mut log, "there is a block left");
    assert_eq!(values(&log), ["there is a block left"]);
    assert_eq!(values(&open(&fs.power_cut(), options(RecoveryMode::Full)).0), ["there is a block left"]);
}

#[test]
fn room_stays_within_the_cap() {
    let fs = FaultyFs::new(7);
    // A segment is an eighth of it, and no whole number of blocks.
    let cap = 38 * 4096;
    let (mut log, _) =
        open(&fs, LogOptions { cap_bytes: Some(cap), segment_bytes: 1 << 20, ..options(RecoveryMode::Full) });
    while log.commit(&mut batch(&["x"])).is_ok() {
        assert!(log.allocated() <= cap, "{}", log.allocated());
    }
    let taken: u64 = log.reader().segments().iter().map(|segment| segment.allocated).sum();
    let each = batch(&["x"]).byte_len() as u64;
    assert!(taken <= cap && log.next_offset() * each > cap - 2 * 4096, "{taken} of {cap}, {}", log.next_offset());
}
