//! The sidecar of a segment: its index and its extent, written down when it is closed.
//!
//! It is derived and never needed. It is written without a sync, because its checksum tells whether all of it
//! arrived; what is missing, torn or contradicts the segment is ignored, and a walk of the segment gives the same.
//! What it buys, measured: opening a log need not read closed segments at all, and the first read in one of 64 MiB
//! costs one read of 24 KiB instead of a walk of the whole.
//!
//! Every commit that it covers was durable before it was written, so it is also a witness: bad bytes below its
//! segment bytes are damage and no torn tail, even in the last segment of a log ([`crate::survey`]).
//!
//! Format of `<base offset>.index`, version 1 (big endian):
//!
//! ```text
//!  0 magic `WRIX`        16 next offset u64            40 number of entries u32
//!  4 version u16 = 1     24 segment bytes u64          44 CRC-32C of the entries u32
//!  6 zero u16            32 latest timestamp i64 (ms   48 CRC-32C of bytes 0 to 47 u32
//!  8 base offset u64        since 1970)                52 entries
//! entry: offset u64, position u64, latest timestamp of all frames before it i64
//! ```

use crate::durable;
use crate::error::IoError;
use crate::fs::{File, Fs, Mode};
use crate::index::{Entry, Index};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"WRIX";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 52;
const ENTRY_BYTES: usize = 24;
/// A segment with fewer entries gets no sidecar when it is closed: walking it costs less than the block on disk.
const MIN_ENTRIES: usize = 8;
/// The most entries that are written or believed; a segment with more is walked.
const MAX_ENTRIES: usize = 64 * 1024;

/// The frames that a sidecar is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) base_offset: u64,
    pub(crate) next_offset: u64,
    /// Bytes of the committed frames.
    pub(crate) bytes: u64,
}

/// What a sidecar says of its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) covered: Covered,
    pub(crate) index: Index,
}

/// The part of a sidecar before its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) covered: Covered,
    pub(crate) latest_ms: i64,
    entries: usize,
    entries_crc: u32,
}

impl Covered {
    /// Whether this is all of a segment that ends at `next_offset`, in a file of `bytes`.
    pub(crate) fn is_all_of(&self, base_offset: u64, next_offset: u64, bytes: u64) -> bool {
        // Behind the committed frames may lie what a failed commit left.
        self.base_offset == base_offset && self.next_offset == next_offset && self.bytes <= bytes
    }
}

/// Bytes of the sidecar of a segment with this index.
pub(crate) fn encoded_len(index: &Index) -> u64 {
    (HEADER_BYTES + index.entries().len() * ENTRY_BYTES) as u64
}

/// Bytes of the sidecar that a segment with this index gets when it is closed; 0 if it gets none.
pub(crate) fn closing_len(index: &Index) -> u64 {
    if index.entries().len() < MIN_ENTRIES { 0 } else { encoded_len(index) }
}

/// Writes the sidecar of the segment at `segment`, in place of the one that may be there. Not durable by itself.
pub(crate) fn write(fs: &dyn Fs, segment: &Path, sidecar: &Sidecar) -> io::Result<()> {
    let entries = sidecar.index.entries().len();
    if entries > MAX_ENTRIES {
        return Err(io::Error::other(format!("got {entries} entries, expected at most {MAX_ENTRIES}")));
    }
    let bytes = encode(sidecar);
    let file = fs.open(&beside(segment), Mode::Create)?;
    file.set_len(0)?;
    file.write_at(&bytes, 0)
}

/// As [`write`], but nobody needs it: after a failure there is none.
pub(crate) fn write_or_remove(fs: &dyn Fs, segment: &Path, sidecar: &Sidecar) {
    if write(fs, segment, sidecar).is_err() {
        remove(fs, segment);
    }
}

/// The sidecar of the segment at `segment`; `None` when there is none that can be believed.
pub(crate) fn read(fs: &dyn Fs, segment: &Path, interval_bytes: u64) -> Option<Sidecar> {
    let file = fs.open(&beside(segment), Mode::Read).ok()?;
    let size = file.size().ok()?;
    if size > (HEADER_BYTES + MAX_ENTRIES * ENTRY_BYTES) as u64 {
        return None;
    }
    decode(&read_exact(&*file, size as usize)?, interval_bytes)
}

/// The head of the sidecar of the segment at `segment`; costs one small read.
pub(crate) fn read_head(fs: &dyn Fs, segment: &Path) -> Option<Head> {
    let file = fs.open(&beside(segment), Mode::Read).ok()?;
    decode_head(&read_exact(&*file, HEADER_BYTES)?)
}

/// Bytes that the sidecar of the segment at `segment` takes on disk.
pub(crate) fn allocated(fs: &dyn Fs, segment: &Path) -> u64 {
    let measured = fs.open(&beside(segment), Mode::Read).and_then(|file| file.allocated());
    measured.unwrap_or(0)
}

/// Removes the sidecar of the segment at `segment`, if there is one. One that comes back after a power cut is
/// an orphan, which the next writer removes.
pub(crate) fn remove(fs: &dyn Fs, segment: &Path) {
    let _ = fs.remove(&beside(segment));
}

/// As [`remove`], and it does not come back.
pub(crate) fn remove_durably(fs: &dyn Fs, segment: &Path) -> Result<(), IoError> {
    durable::remove(fs, &beside(segment))
}

/// The segment file that a file name is the sidecar of.
pub(crate) fn segment_of(name: &str) -> Option<String> {
    name.strip_suffix(".index").map(|stem| format!("{stem}.log"))
}

fn beside(segment: &Path) -> PathBuf {
    segment.with_extension("index")
}

fn read_exact(file: &dyn File, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    Some(bytes)
}

pub(crate) fn encode(sidecar: &Sidecar) -> Vec<u8> {
    let entries: Vec<u8> = sidecar.index.entries().iter().flat_map(entry_bytes).collect();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&sidecar.covered.base_offset.to_be_bytes());
    bytes.extend_from_slice(&sidecar.covered.next_offset.to_be_bytes());
    bytes.extend_from_slice(&sidecar.covered.bytes.to_be_bytes());
    bytes.extend_from_slice(&sidecar.index.latest_ms().to_be_bytes());
    bytes.extend_from_slice(&((entries.len() / ENTRY_BYTES) as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&entries).to_be_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes.extend_from_slice(&entries);
    bytes
}

fn entry_bytes(entry: &Entry) -> Vec<u8> {
    let fields = [entry.offset.to_be_bytes(), entry.position.to_be_bytes(), entry.latest_before_ms.to_be_bytes()];
    fields.concat()
}

/// `None` unless both checksums hold and the entries can be those of one segment.
pub(crate) fn decode(bytes: &[u8], interval_bytes: u64) -> Option<Sidecar> {
    let head = decode_head(bytes)?;
    let entries = bytes.get(HEADER_BYTES..)?;
    if Some(entries.len()) != head.entries.checked_mul(ENTRY_BYTES) || crc32c::crc32c(entries) != head.entries_crc {
        return None;
    }
    let entries: Vec<Entry> = entries
        .chunks_exact(ENTRY_BYTES)
        .map(|fields| {
            Some(Entry {
                offset: u64::from_be_bytes(field(fields, 0)?),
                position: u64::from_be_bytes(field(fields, 8)?),
                latest_before_ms: i64::from_be_bytes(field(fields, 16)?),
            })
        })
        .collect::<Option<_>>()?;
    let ordered = entries.windows(2).all(|pair| pair[0].offset < pair[1].offset && pair[0].position < pair[1].position);
    let Covered { base_offset, next_offset, bytes } = head.covered;
    let first = entries.first().is_none_or(|first| first.offset >= base_offset);
    let last = entries.last().is_none_or(|last| last.offset < next_offset && last.position < bytes);
    let index = Index::of(entries, interval_bytes, head.latest_ms);
    (ordered && first && last).then_some(Sidecar { covered: head.covered, index })
}

fn decode_head(bytes: &[u8]) -> Option<Head> {
    let (covered, crc) = bytes.get(..HEADER_BYTES)?.split_at_checked(HEADER_BYTES - 4)?;
    let version = u16::from_be_bytes(field(covered, 4)?);
    if covered[..4] != MAGIC || version != VERSION || crc32c::crc32c(covered) != u32::from_be_bytes(field(crc, 0)?) {
        return None;
    }
    Some(Head {
        covered: Covered {
            base_offset: u64::from_be_bytes(field(covered, 8)?),
            next_offset: u64::from_be_bytes(field(covered, 16)?),
            bytes: u64::from_be_bytes(field(covered, 24)?),
        },
        latest_ms: i64::from_be_bytes(field(covered, 32)?),
        entries: u32::from_be_bytes(field(covered, 40)?) as usize,
        entries_crc: u32::from_be_bytes(field(covered, 44)?),
    })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
