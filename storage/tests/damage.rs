//! Invariant 7: a damaged file never wedges and never lies.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, dir, open, read_all};
use std::ops::Range;
use std::path::PathBuf;
use weir_storage::fs::Fault;
use weir_storage::{Batch, FaultyFs, Fs, LogOptions, Mode, TruncationReason, verify};

fn options() -> LogOptions {
    LogOptions { segment_bytes: 600, index_interval_bytes: 128, ..LogOptions::default() }
}

/// One frame of the log under test.
#[derive(Debug, Clone)]
struct Frame {
    file: PathBuf,
    position: u64,
    bytes: u64,
    offsets: Range<u64>,
}

/// Three segments, some 15 frames of two records each, and where each frame lies.
fn log_with_frames() -> (FaultyFs, Vec<Frame>) {
    let fs = FaultyFs::new(7);
    let (mut log, _) = open(&fs, options());
    let mut frames: Vec<Frame> = Vec::new();
    for round in 0..15 {
        let mut batch = batch(&[&format!("{round}.0"), &format!("{round}.1")]);
        let offsets = log.commit(&mut batch).unwrap();
        let newest = fs.list(dir()).unwrap().into_iter().filter(|name| name.ends_with(".log")).max().unwrap();
        let file = dir().join(newest);
        let end = fs.open(&file, Mode::Read).unwrap().size().unwrap();
        let bytes = batch.byte_len() as u64;
        frames.push(Frame { file, position: end - bytes, bytes, offsets });
    }
    let segments: std::collections::BTreeSet<_> = frames.iter().map(|frame| &frame.file).collect();
    assert_eq!(segments.len(), 3);
    (fs, frames)
}

fn everything_but(gap: &Range<u64>) -> Vec<(u64, String)> {
    let all = (0..30).map(|offset| (offset, format!("{}.{}", offset / 2, offset % 2)));
    all.filter(|(offset, _)| !gap.contains(offset)).collect()
}

#[test]
fn any_flipped_bit_before_the_last_frame_is_named_exactly_and_everything_else_is_served() {
    let (_, frames) = log_with_frames();
    for frame in &frames[..frames.len() - 1] {
        for byte in 0..frame.bytes {
            let (fs, _) = log_with_frames();
            // A reader that was there before must not serve it either.
            let (log, _) = open(&fs, options());
            let bit = (byte % 8) as u8;
            assert!(fs.flip_bit(&frame.file, frame.position + byte, bit));
            // Base offset and leader epoch are known from the frame's place.
            let restored = byte < 8 || (12..16).contains(&byte);
            let gap = if restored { frame.offsets.start..frame.offsets.start } else { frame.offsets.clone() };
            let story = format!("byte {byte} bit {bit} of {frame:?}");
            assert_eq!(read_all(&log.reader(), 0, 200), everything_but(&gap), "running, {story}");

            let verification = verify(&fs, dir()).unwrap();
            drop(log);
            let (log, recovery) = open(&fs, options());
            assert_eq!(read_all(&log.reader(), 0, 200), everything_but(&gap), "reopened, {story}");
            assert_eq!(recovery.truncated_bytes, 0, "{story}");
            assert_eq!(recovery.damage, verification.damage, "{story}");
            assert_eq!(verification.offsets, 0..30);
            let [damage] = &verification.damage[..] else { panic!("{story}: {verification:?}") };
            assert_eq!(dir().join(&damage.file), frame.file, "{story}");
            assert_eq!((damage.position, &damage.gap), (frame.position, &gap), "{story}");
            if !restored {
                assert_eq!(damage.bytes, frame.bytes, "{story}");
                assert_eq!(verification.lost_offsets, 2);
            }
        }
    }
}

#[test]
fn a_reader_learns_of_the_gap_that_it_skips() {
    let (fs, frames) = log_with_frames();
    let (log, _) = open(&fs, options());
    fs.flip_bit(&frames[2].file, frames[2].position + 70, 0);
    for from in frames[2].offsets.clone() {
        let chunk = log.reader().read(from, 1).unwrap();
        assert_eq!(chunk.gaps.len(), 1);
        assert_eq!(chunk.gaps[0].gap, frames[2].offsets);
        assert_eq!(chunk.records().next().unwrap().unwrap().offset, frames[3].offsets.start);
    }
    assert!(log.reader().read(frames[3].offsets.start, 1).unwrap().gaps.is_empty());
}

#[test]
fn a_lost_segment_is_a_gap_of_exactly_its_offsets() {
    let (fs, frames) = log_with_frames();
    let second = frames.iter().find(|frame| frame.file != frames[0].file).unwrap();
    let third = frames.iter().find(|frame| frame.file != frames[0].file && frame.file != second.file).unwrap();
    let gap = second.offsets.start..third.offsets.start;
    fs.remove(&second.file).unwrap();
    let (log, recovery) = open(&fs, options());
    assert_eq!(recovery.damage[0].gap, gap);
    assert_eq!(read_all(&log.reader(), 0, 200), everything_but(&gap));
    // And from inside it.
    assert_eq!(read_all(&log.reader(), gap.start, 200), everything_but(&(0..gap.end)));
}

#[test]
fn a_frame_inside_a_value_is_never_mistaken_for_one_of_the_log() {
    let mut inner = batch(&["forged", "forged"]);
    inner.seal();
    let forged = {
        let fs = FaultyFs::new(1);
        let (mut log, _) = open(&fs, LogOptions::default());
        log.commit(&mut batch(&["0", "1", "2"])).unwrap();
        log.commit(&mut inner).unwrap();
        log.reader().read(3, 1).unwrap().bytes
    };
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions::default());
    let mut outer = Batch::new();
    for _ in 0..9 {
        outer.push(0, None, Some(&forged), &[]).unwrap();
    }
    log.commit(&mut outer).unwrap();
    log.commit(&mut batch(&["behind"])).unwrap();
    let file = dir().join("00000000000000000000.log");
    assert!(fs.flip_bit(&file, 62, 0));
    let verification = verify(&fs, dir()).unwrap();
    assert_eq!(verification.damage[0].gap, 0..9);
    assert_eq!(read_all(&log.reader(), 0, 200), [(9, "behind".to_owned())]);
}

#[test]
fn a_torn_tail_is_cut_off_wherever_the_write_stopped() {
    let (fs, frames) = log_with_frames();
    let last = frames.last().unwrap();
    for kept in 1..last.bytes {
        let fs = fs.power_cut();
        fs.open(&last.file, Mode::ReadWrite).unwrap().set_len(last.position + kept).unwrap();
        let verification = verify(&fs, dir()).unwrap();
        assert_eq!((verification.tail_bytes, verification.damage_count), (kept, 0));
        let (log, recovery) = open(&fs, options());
        assert_eq!((recovery.truncated_bytes, recovery.damage_count), (kept, 0));
        assert_eq!(recovery.truncations[0].reason, TruncationReason::TornTail);
        assert_eq!(log.next_offset(), last.offsets.start);
        let survivor = fs.power_cut();
        assert_eq!(survivor.open(&last.file, Mode::Read).unwrap().size().unwrap(), last.position, "cut for good");
        let (mut log, _) = open(&survivor, options());
        assert_eq!(log.commit(&mut batch(&["14.0", "14.1"])).unwrap(), last.offsets);
        assert_eq!(read_all(&log.reader(), 0, 200), everything_but(&(0..0)));
    }
}

#[test]
fn an_interrupted_commit_survives_as_a_prefix_without_a_hole() {
    let big = "x".repeat(40_000);
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions::default());
    log.commit(&mut batch(&["synced"])).unwrap();
    // Four frames in one commit; the second one is bad when the machine comes back.
    let synced_bytes = log.reader().read(0, 1).unwrap().bytes.len() as u64;
    log.commit(&mut batch(&[&big, &big, &big, &big])).unwrap();
    drop(log);
    let file = dir().join("00000000000000000000.log");
    assert!(fs.flip_bit(&file, synced_bytes + 50_000, 3));
    let (mut log, recovery) = open(&fs, LogOptions::default());
    assert_eq!((recovery.damage_count, log.next_offset()), (0, 2));
    assert!(recovery.truncated_bytes > 2 * 40_000);

    // With a later commit behind it the same is damage: its sync had returned.
    log.commit(&mut batch(&[&big, &big, &big])).unwrap();
    log.commit(&mut batch(&["later"])).unwrap();
    drop(log);
    assert!(fs.flip_bit(&file, synced_bytes + 50_000, 3));
    let (log, recovery) = open(&fs, LogOptions::default());
    assert_eq!((recovery.damage_count, recovery.truncated_bytes, log.next_offset()), (1, 0, 6));
    assert_eq!(recovery.damage[0].gap, 2..3);
}

#[test]
fn bytes_that_only_a_page_cache_held_are_not_served_after_a_restart() {
    // The sync fails and loses the bytes, the cut fails, the process is killed: the cache shows a whole
    // frame that the disk does not have.
    for seed in 0..64 {
        let fs = FaultyFs::new(seed);
        let (mut log, _) = open(&fs, LogOptions::default());
        log.commit(&mut batch(&["a"])).unwrap();
        fs.fail_once(Fault::SetLen);
        fs.fail_once(Fault::Sync);
        log.commit(&mut batch(&["b"])).unwrap_err();
        drop(log);
        let (log, _) = open(&fs, LogOptions::default());
        let served = read_all(&log.reader(), 0, 200);
        let (log, _) = open(&fs.power_cut(), LogOptions::default());
        assert_eq!(read_all(&log.reader(), 0, 200), served, "seed {seed}");
    }
}

#[test]
fn a_block_that_cannot_be_read_costs_its_frames_and_not_the_log() {
    let value = "x".repeat(1_000);
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions::default());
    for _ in 0..40 {
        log.commit(&mut batch(&[&value])).unwrap();
    }
    let file = dir().join("00000000000000000000.log");
    assert!(fs.spoil_block(&file, 9_000));
    let expected: Vec<u64> = (0..7).chain(12..40).collect();
    let offsets = |log: &weir_storage::Log| {
        read_all(&log.reader(), 0, 3_000).into_iter().map(|(offset, _)| offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&log), expected);
    assert_eq!(verify(&fs, dir()).unwrap().damage[0].gap, 7..12);
    drop(log);
    let (log, recovery) = open(&fs, LogOptions::default());
    assert_eq!((recovery.damage[0].gap.clone(), recovery.truncated_bytes), (7..12, 0));
    assert_eq!(offsets(&log), expected);
}

#[test]
fn a_tail_that_cannot_be_read_is_not_cut_off_and_its_offsets_are_not_given_again() {
    let value = "x".repeat(1_000);
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions::default());
    for _ in 0..10 {
        log.commit(&mut batch(&[&value])).unwrap();
    }
    drop(log);
    let file = dir().join("00000000000000000000.log");
    assert!(fs.spoil_block(&file, 9_000));
    for _ in 0..2 {
        let (mut log, recovery) = open(&fs, LogOptions::default());
        assert_eq!((recovery.truncated_bytes, recovery.damage[0].gap.start), (0, 7));
        let offsets = log.commit(&mut batch(&["later"])).unwrap();
        assert!(offsets.start >= 10, "{offsets:?} were given before");
        assert_eq!(read_all(&log.reader(), offsets.start, 100)[0].1, "later");
        assert_eq!(read_all(&log.reader(), 0, 100)[6].0, 6);
    }
}

#[test]
fn files_that_are_none_of_ours_are_left_alone() {
    let (fs, _) = log_with_frames();
    for name in ["00000000000000000003.log.tmp", "3.log", "notes", "0000000000000000000x.log"] {
        fs.open(&dir().join(name), Mode::CreateNew).unwrap().write_at(b"noise", 0).unwrap();
    }
    let (log, recovery) = open(&fs, options());
    assert_eq!((recovery.segments, recovery.damage_count), (3, 0));
    assert_eq!(read_all(&log.reader(), 0, 200).len(), 30);
}
