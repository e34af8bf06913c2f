//! One file of the faulty disk: what processes see, what the disk holds, and what lies between.

use super::chance::Chance;
use std::io;

/// The unit that a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
const BLOCK_BYTES: u64 = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What reads return: the page cache.
    shown: Vec<u8>,
    /// What a power cut cannot take.
    durable: Vec<u8>,
    /// Changes since the last sync, oldest first.
    pending: Vec<Change>,
    /// Blocks that cannot be read.
    spoilt: Vec<u64>,
    /// Whether it was ever synced: until then a power cut may take it whole, however durable its name is.
    is_stored: bool,
    pub(super) handles: usize,
    pub(super) locked: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Inode {
    pub(super) fn size(&self) -> u64 {
        self.shown.len() as u64
    }

    /// Reads up to the first block that cannot be read.
    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let wanted = position..(position + buffer.len() as u64).min(self.size());
        let spoilt = self.spoilt.iter().filter(|block| (*block + 1) * BLOCK_BYTES > wanted.start).min();
        let end = spoilt.map_or(wanted.end, |block| wanted.end.min(block * BLOCK_BYTES));
        if end <= wanted.start && wanted.start < wanted.end {
            return Err(rustix::io::Errno::IO.into());
        }
        let shown = self.shown.get(position as usize..end as usize).unwrap_or_default();
        buffer[..shown.len()].copy_from_slice(shown);
        Ok(shown.len())
    }

    pub(super) fn allocated(&self) -> u64 {
        (self.shown.len() as u64).next_multiple_of(BLOCK_BYTES)
    }

    /// Bytes that a write may put at `position` with `free` bytes left on the disk.
    pub(super) fn room_at(&self, position: u64, free: u64) -> u64 {
        self.allocated().saturating_add(free / BLOCK_BYTES * BLOCK_BYTES).saturating_sub(position)
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        self.change(Change::Write { position, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        self.change(Change::SetLen(bytes));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.shown);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.is_stored = true;
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that fails: some of it reaches the disk, the rest never will, and the cache goes on showing
    /// all of it as if it were clean.
    pub(super) fn fail_sync(&mut self, chance: &mut Chance) {
        for change in std::mem::take(&mut self.pending) {
            change.apply_in_part(&mut self.durable, chance);
        }
    }

    /// Clean pages go; what was never synced stays.
    pub(super) fn forget_cache(&mut self) {
        self.shown = self.durable.clone();
        for change in &self.pending {
            change.apply(&mut self.shown);
        }
    }

    /// The file as the disk has it after the power failed now, if it has it.
    pub(super) fn survivor(&self, chance: &mut Chance) -> Option<Inode> {
        if !self.is_stored && chance.coin() {
            return None;
        }
        let mut durable = self.durable.clone();
        for change in &self.pending {
            change.apply_in_part(&mut durable, chance);
        }
        let spoilt = self.spoilt.clone();
        Some(Inode { shown: durable.clone(), durable, spoilt, is_stored: true, ..Inode::default() })
    }

    /// Flips one bit on the disk and in the cache; false when the file ends before it.
    pub(super) fn flip_bit(&mut self, position: u64, bit: u8) -> bool {
        let at = position as usize;
        // What is on its way to the disk too, or a sync would mend it.
        let pending = self.pending.iter_mut().filter_map(|change| match change {
            Change::Write { position: start, bytes } => bytes.get_mut(at.checked_sub(*start as usize)?),
            Change::SetLen(_) => None,
        });
        for byte in pending.chain(self.durable.get_mut(at)) {
            *byte ^= 1 << (bit & 7);
        }
        let byte = self.shown.get_mut(at);
        byte.map(|byte| *byte ^= 1 << (bit & 7)).is_some()
    }

    /// Makes the block around a byte unreadable; false when the file ends before it.
    pub(super) fn spoil_block(&mut self, position: u64) -> bool {
        self.spoilt.push(position / BLOCK_BYTES);
        position < self.size()
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::SetLen(bytes) => content.resize(*bytes as usize, 0),
            Change::Write { position, bytes } => {
                let (start, end) = (*position as usize, *position as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
        }
    }

    /// Whole, not at all, or sector by sector as the seed says; the length may arrive without the bytes.
    fn apply_in_part(&self, content: &mut Vec<u8>, chance: &mut Chance) {
        let (position, bytes) = match self {
            Change::Write { position, bytes } if chance.below(3) == 0 => (*position, bytes),
            _ if chance.coin() => return self.apply(content),
            _ => return,
        };
        let mut start = position;
        let end = position + bytes.len() as u64;
        while start < end {
            let stop = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            if chance.coin() {
                let sector = bytes[(start - position) as usize..(stop - position) as usize].to_vec();
                Change::Write { position: start, bytes: sector }.apply(content);
            }
            start = stop;
        }
        if chance.coin() && (content.len() as u64) < end {
            content.resize(end as usize, 0);
        }
    }
}
