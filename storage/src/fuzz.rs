//! The decoders of stored bytes as plain functions over bytes, for fuzzers and for tests with random input.
//!
//! A function here returns or panics: a panic is a finding. Memory is of the order of the input, whatever lengths it
//! claims. Not part of the interface of this package.

use crate::batch::Batch;
use crate::error::{OpenError, ReadError};
use crate::fs::{FaultyFs, Fs, Mode};
use crate::log::{Log, LogOptions};
use crate::reader::Reader;
use crate::recovery::RecoveryMode;
use crate::segment;
use crate::state;
use crate::{durable, keyed, sidecar, verify};
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/log";
/// Base of the segment behind the one under test, when it is a closed one.
const NEXT_BASE: u64 = 64;
/// Reads end after this many chunks: more than any input can hold.
const CHUNK_BYTES: usize = 4096;

/// Takes any bytes as a segment file: as the last one of a log and as a closed one, opened in both modes, verified,
/// read to the end, written behind and opened again. Checks that offsets are dense, that readers come to an end, and
/// that both modes and every reopening serve the same.
pub fn segment(bytes: &[u8]) {
    for is_closed in [false, true] {
        let disk = disk_with(bytes, is_closed);
        let before = verify(&disk, Path::new(DIR));
        let full = served(&disk, RecoveryMode::Full);
        let tail = served(&disk, RecoveryMode::Tail);
        assert_eq!(full, tail, "both modes serve the same");
        for mode in [RecoveryMode::Full, RecoveryMode::Tail] {
            let disk = disk_with(bytes, is_closed);
            let written = write_behind(&disk, mode);
            let Ok((start, next)) = written else { continue };
            let mut expected = full.clone();
            expected.extend(start..next);
            assert_eq!(served(&disk, mode), expected, "a commit behind it leaves it as it was");
            let after = verify(&disk, Path::new(DIR));
            let records = before.as_ref().ok().map(|found| found.records + next - start);
            assert_eq!(after.ok().map(|found| found.records), records);
        }
    }
}

/// Takes any bytes as a state file, as a sidecar, and as the generation of a keyed state.
pub fn state(bytes: &[u8]) {
    let _ = state::payload(bytes);
    let _ = keyed::number(bytes);
    if let Some(sidecar) = sidecar::decode(bytes, LogOptions::default().index_interval_bytes) {
        let again = sidecar::encode(&sidecar);
        assert!(again == bytes || bytes[6..8] != [0; 2], "what is believed is what would be written");
    }
}

fn disk_with(bytes: &[u8], is_closed: bool) -> FaultyFs {
    let disk = FaultyFs::new(0);
    let put = |base_offset, bytes: &[u8]| -> std::io::Result<()> {
        disk.open(&segment::path(Path::new(DIR), base_offset), Mode::CreateNew)?.write_at(bytes, 0)
    };
    let made = durable::create_dir_all(&disk, Path::new(DIR)).is_ok() && put(0, bytes).is_ok();
    assert!(made && (!is_closed || put(NEXT_BASE, &[]).is_ok()), "a disk in memory takes files");
    disk
}

/// The offsets that a reader serves.
fn served(disk: &FaultyFs, mode: RecoveryMode) -> Vec<u64> {
    let disk: Arc<dyn Fs> = Arc::new(disk.clone());
    let Ok((reader, _)) = Reader::open(&disk, Path::new(DIR), mode) else { return Vec::new() };
    let _ = reader.offset_for_time(0);
    read(&reader)
}

fn read(reader: &Reader) -> Vec<u64> {
    let (mut at, end) = (reader.start_offset(), reader.end_offset());
    let mut offsets = Vec::new();
    while at < end {
        let chunk = match reader.read(at, CHUNK_BYTES) {
            Ok(chunk) => chunk,
            Err(ReadError::OutOfRange { got, start, end }) => panic!("{got} is in {start} to {end}"),
            Err(ReadError::Io(_)) => break,
        };
        assert!(chunk.next_offset > at, "a read goes on");
        let from = offsets.len();
        offsets.extend(chunk.records().flatten().map(|record| record.offset));
        assert!(offsets[from..].iter().all(|offset| (at..chunk.next_offset).contains(offset)), "in order");
        assert!(offsets[from..].is_sorted_by(|one, next| one < next), "in order");
        at = chunk.next_offset;
    }
    offsets
}

/// Opens the log to write, commits one record, and says its offset and the next one.
fn write_behind(disk: &FaultyFs, mode: RecoveryMode) -> Result<(u64, u64), OpenError> {
    let options = LogOptions { recovery: mode, ..LogOptions::default() };
    let (mut log, _) = Log::open(Arc::new(disk.clone()), Path::new(DIR), options)?;
    let mut batch = Batch::new();
    let pushed = batch.push(0, None, Some(b"behind"), &[]);
    match log.commit(&mut batch) {
        Ok(offsets) if pushed.is_ok() => Ok((offsets.start, offsets.end)),
        committed => panic!("a commit behind any bytes: {committed:?}"),
    }
}
