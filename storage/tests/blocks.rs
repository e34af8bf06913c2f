//! Blocks of frames, for those who pass them on: the same records as any other reader sees, from every offset, in a
//! log that is sound and in one that is damaged.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, dir, for_each_seed, open, read_all};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_storage::frame::Header;
use weir_storage::{FaultyFs, Fs, Log, LogOptions, Mode, ReadError, Reader, Record, record::Records};

const SMALL: LogOptions = LogOptions {
    segment_bytes: 4_000,
    cap_bytes: None,
    room_bytes: 0,
    index_interval_bytes: 500,
    expose_on_commit: true,
    recovery: weir_storage::RecoveryMode::Full,
};

/// Commits of one to five values, now and then a long one.
fn fill(log: &mut Log, random: &mut SmallRng, commits: usize) {
    for _ in 0..commits {
        let long = if random.random_range(0..20) == 0 { 6_000 } else { 90 };
        let values: Vec<String> =
            (0..random.random_range(1..=5)).map(|_| "x".repeat(random.random_range(1..long))).collect();
        log.commit(&mut batch(&values.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    }
}

/// Everything from `from` on in blocks of `max_bytes`; each frame has to be one that a client would take.
fn read_blocks(reader: &Reader, from: u64, max_bytes: usize) -> Vec<(u64, String)> {
    let (mut next, mut records, mut buffer) = (from, Vec::new(), Vec::new());
    loop {
        let block = reader.read_block(next, max_bytes, &mut buffer).unwrap();
        let mut rest = &buffer[block.frames];
        let mut frames = 0;
        while !rest.is_empty() {
            let header = Header::check(rest).unwrap();
            assert_eq!(rest[12..16], [0; 4], "leader epoch 0");
            let (frame, behind) = rest.split_at(header.frame_bytes);
            for record in Records::of_frame(frame).unwrap() {
                let Record { offset, value, .. } = record.unwrap();
                if offset >= next {
                    records.push((offset, String::from_utf8(value.unwrap().to_vec()).unwrap()));
                }
            }
            (rest, frames) = (behind, frames + 1);
            assert!(frames == 1 || frame.len() <= max_bytes);
        }
        if block.next_offset == next {
            return records;
        }
        next = block.next_offset;
    }
}

#[test]
fn blocks_hold_what_every_reader_sees_from_every_offset() {
    for_each_seed("blocks_hold_what_every_reader_sees_from_every_offset", 20, |seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        let fs = FaultyFs::new(seed);
        let (mut log, _) = open(&fs, SMALL);
        fill(&mut log, &mut random, 100);
        let reader = log.reader();
        for _ in 0..20 {
            let from = random.random_range(0..=reader.end_offset());
            let max_bytes = random.random_range(0..8_000);
            assert_eq!(read_blocks(&reader, from, max_bytes), read_all(&reader, from, 4096), "from {from}");
        }
    });
}

#[test]
fn damage_costs_blocks_no_more_than_it_costs_any_reader() {
    for_each_seed("damage_costs_blocks_no_more_than_it_costs_any_reader", 50, |seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        let fs = FaultyFs::new(seed);
        let (mut log, _) = open(&fs, SMALL);
        fill(&mut log, &mut random, 60);
        let reader = log.reader();
        for _ in 0..random.random_range(1..6) {
            let mut names = fs.list(dir()).unwrap();
            names.retain(|name| name.ends_with(".log"));
            names.sort();
            let file = fs.open(&dir().join(&names[random.random_range(0..names.len())]), Mode::ReadWrite).unwrap();
            let position = random.random_range(0..file.size().unwrap());
            let bytes: Vec<u8> = (0..random.random_range(1..200)).map(|_| random.random()).collect();
            let length = bytes.len().min((file.size().unwrap() - position) as usize);
            file.write_at(&bytes[..length], position).unwrap();
        }
        let from = random.random_range(0..=reader.end_offset());
        let expected = read_all(&reader, from, 4096);
        assert_eq!(read_blocks(&reader, from, random.random_range(0..8_000)), expected);
    });
}

#[test]
fn a_block_begins_where_the_log_does_and_ends_where_readers_may_look() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions { expose_on_commit: false, ..SMALL });
    let reader = log.reader();
    for _ in 0..40 {
        log.commit(&mut batch(&["a reading", "another", &"x".repeat(300)])).unwrap();
    }
    log.expose(4);
    let mut buffer = Vec::new();
    let block = reader.read_block(0, 1 << 20, &mut buffer).unwrap();
    // The second commit is exposed in part only, and frames are whole.
    assert_eq!(block.next_offset, 3);
    log.expose(u64::MAX);
    log.remove_before(60).unwrap();
    let start = reader.start_offset();
    assert!(start > 0);
    assert!(matches!(reader.read_block(0, 1, &mut buffer), Err(ReadError::OutOfRange { got: 0, .. })));
    assert!(matches!(reader.read_block(121, 1, &mut buffer), Err(ReadError::OutOfRange { got: 121, .. })));
    assert_eq!(reader.read_block(120, 1, &mut buffer).unwrap().frames.len(), 0);
    assert_eq!(read_blocks(&reader, start, 1 << 20).len() as u64, 120 - start);
}

#[test]
fn what_the_checksum_does_not_cover_is_restored() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions { segment_bytes: 1 << 20, ..SMALL });
    // One commit of several frames: on disk each says whether it begins a commit.
    let values = vec!["x".repeat(30_000); 10];
    log.commit(&mut batch(&values.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let reader = log.reader();
    assert_eq!(read_blocks(&reader, 0, 1 << 20).len(), 10);

    // The base offset of the second frame.
    let file = fs.open(&dir().join("00000000000000000000.log"), Mode::ReadWrite).unwrap();
    let mut head = [0; 61];
    file.read_at(&mut head, 0).unwrap();
    let second = Header::parse(&head).unwrap().frame_bytes as u64;
    file.write_at(&[0x55; 8], second).unwrap();
    assert_eq!(read_blocks(&reader, 0, 1 << 20), read_all(&reader, 0, 1 << 20));
    assert_eq!(read_blocks(&reader, 0, 1 << 20).len(), 10);
}
