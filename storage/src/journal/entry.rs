//! One entry of the journal: what one group wrote into which segments.
//!
//! Format (big endian):
//!
//! ```text
//!  0 magic `WJE1`          8 length u32, padding not counted    16 epoch u64      32 parts
//!  4 CRC-32C of 8..        12 parts u32                         24 sequence u64
//!
//! part: name length u16, name (UTF-8), base of the segment u64, position in it u64, length u32, frames
//! ```
//!
//! The CRC goes on from that of the file's salt, and epoch and sequence are under it: an entry of an earlier run
//! through the file, or bytes of a payload that look like an entry, are told apart from an entry that counts. An
//! entry starts at a block and is padded with zeros to the next, so that writing one never touches a block that
//! holds another.

use std::ops::Range;

/// Entries start at multiples of this.
pub(super) const BLOCK_BYTES: u64 = 4096;
pub(super) const HEAD_BYTES: usize = 32;
/// Fields of a part but its name and its frames.
const PART_BYTES: usize = 22;
const MAGIC: [u8; 4] = *b"WJE1";
/// The CRC covers everything from here.
const CRC_START: usize = 8;

/// The entry being made; its memory is kept.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    parts: u32,
}

/// Where an entry belongs in the order of all entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
}

/// An entry that was read and whose CRC holds.
pub(super) struct Entry {
    pub(super) place: Place,
    bytes: Vec<u8>,
}

/// Frames of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The directory of the log, below the root of the journal.
    pub(super) name: &'a str,
    /// The segment, by its base offset.
    pub(super) base_offset: u64,
    /// Where in the segment the frames lie.
    pub(super) position: u64,
    pub(super) frames: &'a [u8],
}

/// The bytes that an entry takes in the file, for parts with names of `names` bytes and frames of `frames` in all.
pub(super) fn room(parts: usize, names: usize, frames: usize) -> u64 {
    padded((HEAD_BYTES + parts * PART_BYTES + names + frames) as u64)
}

/// The bytes that an entry of `bytes` takes in the file.
pub(super) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

impl Builder {
    /// Forgets the entry made before.
    pub(super) fn start(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        self.parts = 0;
    }

    /// Adds the frames of one log, given in pieces.
    pub(super) fn push<'a>(
        &mut self,
        name: &str,
        base_offset: u64,
        position: u64,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) {
        self.parts += 1;
        self.bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(&base_offset.to_be_bytes());
        self.bytes.extend_from_slice(&position.to_be_bytes());
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let start = self.bytes.len();
        pieces.for_each(|piece| self.bytes.extend_from_slice(piece));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..start].copy_from_slice(&length.to_be_bytes());
    }

    /// The bytes that it takes in the file.
    pub(super) fn room(&self) -> u64 {
        padded(self.bytes.len() as u64)
    }

    /// The bytes to write: whole blocks.
    pub(super) fn finish(&mut self, place: Place, salt: u64) -> &[u8] {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&MAGIC);
        self.bytes[8..12].copy_from_slice(&length.to_be_bytes());
        self.bytes[12..16].copy_from_slice(&self.parts.to_be_bytes());
        self.bytes[16..24].copy_from_slice(&place.epoch.to_be_bytes());
        self.bytes[24..32].copy_from_slice(&place.sequence.to_be_bytes());
        let crc = salted_crc(salt, &self.bytes[CRC_START..]);
        self.bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        self.bytes.resize(self.room() as usize, 0);
        &self.bytes
    }
}

/// Length and place that the first [`HEAD_BYTES`] of an entry name, if they can be those of an entry at all.
pub(super) fn head(bytes: &[u8; HEAD_BYTES]) -> Option<(usize, Place)> {
    let length = u32::from_be_bytes(field(bytes, 8)?) as usize;
    let place = Place { epoch: u64::from_be_bytes(field(bytes, 16)?), sequence: u64::from_be_bytes(field(bytes, 24)?) };
    (bytes.starts_with(&MAGIC) && length >= HEAD_BYTES).then_some((length, place))
}

impl Entry {
    /// Takes the bytes of an entry, padding left out, if the CRC holds and the parts fill it.
    pub(super) fn check(bytes: Vec<u8>, salt: u64) -> Option<Entry> {
        let (length, place) = head(bytes.first_chunk()?)?;
        let crc = u32::from_be_bytes(field(&bytes, 4)?);
        if length != bytes.len() || crc != salted_crc(salt, &bytes[CRC_START..]) {
            return None;
        }
        let entry = Entry { place, bytes };
        let count = u32::from_be_bytes(field(&entry.bytes, 12)?) as usize;
        let filled = entry.parts().map(|part| part.name.len() + PART_BYTES + part.frames.len()).sum::<usize>();
        (entry.parts().count() == count && HEAD_BYTES + filled == length).then_some(entry)
    }

    /// The frames, log by log.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest = &self.bytes[HEAD_BYTES..];
        std::iter::from_fn(move || {
            let (part, behind) = part(rest)?;
            rest = behind;
            Some(part)
        })
    }

    /// Bytes of the entry, padding left out.
    pub(super) fn byte_len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

fn part(bytes: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let name_end = 2 + usize::from(u16::from_be_bytes(field(bytes, 0)?));
    let name = std::str::from_utf8(bytes.get(2..name_end)?).ok()?;
    let base_offset = u64::from_be_bytes(field(bytes, name_end)?);
    let position = u64::from_be_bytes(field(bytes, name_end + 8)?);
    let length = u32::from_be_bytes(field(bytes, name_end + 16)?) as usize;
    let start = name_end + 20;
    let frames: Range<usize> = start..start.checked_add(length)?;
    Some((Part { name, base_offset, position, frames: bytes.get(frames.clone())? }, &bytes[frames.end..]))
}

fn salted_crc(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_be_bytes()), bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
