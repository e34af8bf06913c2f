//! The journal's file: its header, how it is made, opened and voided.
//!
//! Format (big endian): two header slots, at 0 and at 4096, then two halves of equal size that hold entries
//! ([`super::entry`]) and stale bytes behind them. A slot:
//!
//! ```text
//!  0 magic `WEIRJRNL`      12 CRC-32C of 16..48      24 bytes of the file u64
//!  8 version u16 = 1, 0 u16      16 salt u64         32 first epoch that counts u64, 40 next sequence u64
//! ```
//!
//! The valid slot with the later epoch counts. They are written in turn, so that one is whole whenever the power
//! goes. The file is filled with zeros once, when it is made: a sync of an entry then has no size and no extent to
//! commit, which is what makes the journal pay.

use super::entry::{BLOCK_BYTES, Place};
use crate::durable;
use crate::error::IoError;
use crate::fs::{File, Fs, Mode};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};

const NAME: &str = "journal";
const TEMPORARY_NAME: &str = "journal.tmp";
/// What a journal is called that cannot be believed; it replaces an earlier one.
const DAMAGED_NAME: &str = "journal.damaged";
const MAGIC: [u8; 8] = *b"WEIRJRNL";
const VERSION: u16 = 1;
const SLOT_BYTES: usize = 48;
const SLOTS: [u64; 2] = [0, BLOCK_BYTES];
/// The halves start here.
const DATA_START: u64 = 2 * BLOCK_BYTES;
/// Zeros written at once.
const FILL_BYTES: usize = 1 << 20;

/// A journal file, locked for as long as it is open.
pub(super) struct JournalFile {
    pub(super) file: Box<dyn File>,
    pub(super) path: PathBuf,
    pub(super) salt: u64,
    pub(super) bytes: u64,
    /// The first place that counts.
    pub(super) floor: Place,
    /// The slot that [`JournalFile::void_before`] writes next.
    next_slot: usize,
}

pub(super) fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}

impl JournalFile {
    /// Opens the journal of `root`; `None` when there is none, or none that can be believed: that is put aside.
    pub(super) fn open(fs: &dyn Fs, root: &Path) -> Result<Option<JournalFile>, IoError> {
        let path = path(root);
        let file = match fs.open(&path, Mode::ReadWrite) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(IoError::on("open", &path))?,
        };
        lock(&*file, &path)?;
        let journal = JournalFile::of(file, path.clone())?;
        if journal.is_none() {
            fs.rename(&path, &root.join(DAMAGED_NAME)).map_err(IoError::on("rename", &path))?;
            durable::sync_dir(fs, root)?;
        }
        Ok(journal)
    }

    /// Opens the journal of `root` for reading only, without a lock; `None` as for [`JournalFile::open`], but nothing
    /// is put aside.
    pub(super) fn look(fs: &dyn Fs, root: &Path) -> Result<Option<JournalFile>, IoError> {
        let path = path(root);
        match fs.open(&path, Mode::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => JournalFile::of(opened.map_err(IoError::on("open", &path))?, path),
        }
    }

    /// A file by its header; `None` if neither slot is valid.
    fn of(file: Box<dyn File>, path: PathBuf) -> Result<Option<JournalFile>, IoError> {
        let size = file.size().map_err(IoError::on("measure", &path))?;
        let mut slots = Vec::new();
        for (slot, position) in SLOTS.into_iter().enumerate() {
            let found = read_slot(&*file, position).map_err(IoError::on("read", &path))?;
            slots.extend(found.filter(|header| header.bytes == size).map(|header| (header.floor, slot, header)));
        }
        let newest = slots.into_iter().max_by_key(|(floor, ..)| *floor);
        Ok(newest.map(|(floor, slot, Header { salt, bytes, .. })| JournalFile {
            file,
            path,
            salt,
            bytes,
            floor,
            next_slot: 1 - slot,
        }))
    }

    /// Makes a journal of zeros, durable before it has its name. What a failure leaves behind is removed.
    pub(super) fn create(
        fs: &dyn Fs,
        root: &Path,
        (bytes, salt): (u64, u64),
        floor: Place,
    ) -> Result<JournalFile, IoError> {
        let temporary = root.join(TEMPORARY_NAME);
        let made = JournalFile::fill(fs, &temporary, (bytes, salt), floor);
        let named = made.and_then(|mut made| {
            made.path = path(root);
            fs.rename(&temporary, &made.path).map_err(IoError::on("create", &made.path))?;
            durable::sync_dir(fs, root)?;
            Ok(made)
        });
        if named.is_err() {
            // Zeros that nobody needs; if they stay, the next attempt cuts them.
            let _ = fs.remove(&temporary);
        }
        named
    }

    fn fill(fs: &dyn Fs, temporary: &Path, (bytes, salt): (u64, u64), floor: Place) -> Result<JournalFile, IoError> {
        let file = fs.open(temporary, Mode::Create).map_err(IoError::on("create", temporary))?;
        lock(&*file, temporary)?;
        file.set_len(0).map_err(IoError::on("cut", temporary))?;
        let zeros = vec![0; FILL_BYTES.min(bytes as usize)];
        let mut at = 0;
        while at < bytes {
            let piece = &zeros[..zeros.len().min((bytes - at) as usize)];
            file.write_at(piece, at).map_err(IoError::on("write", temporary))?;
            at += piece.len() as u64;
        }
        let mut made = JournalFile { file, path: temporary.to_owned(), salt, bytes, floor, next_slot: 0 };
        made.void_before(floor)?;
        Ok(made)
    }

    /// Removes the journal of `root`: nothing in it counts any more.
    pub(super) fn remove(fs: &dyn Fs, root: &Path) -> Result<(), IoError> {
        let path = path(root);
        match fs.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(IoError::on("remove", &path)(error)),
            _ => {}
        }
        durable::sync_dir(fs, root)
    }

    /// Gives back the room of a journal that was not finished.
    pub(super) fn remove_temporary(fs: &dyn Fs, root: &Path) -> Result<(), IoError> {
        let temporary = root.join(TEMPORARY_NAME);
        if !fs.exists(&temporary).map_err(IoError::on("look at", &temporary))? {
            return Ok(());
        }
        durable::remove(fs, &temporary)
    }

    /// Makes everything before this place void for ever.
    pub(super) fn void_before(&mut self, floor: Place) -> Result<(), IoError> {
        let header = Header { salt: self.salt, bytes: self.bytes, floor };
        let written = self.file.write_at(&header.encode(), SLOTS[self.next_slot]);
        written.map_err(IoError::on("write", &self.path))?;
        self.file.sync_data().map_err(IoError::on("sync", &self.path))?;
        self.floor = floor;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// Where the halves lie.
    pub(super) fn halves(&self) -> [Range<u64>; 2] {
        let half = half_bytes(self.bytes);
        [DATA_START..DATA_START + half, DATA_START + half..DATA_START + 2 * half]
    }
}

/// The size of each half of a journal of `bytes`.
fn half_bytes(bytes: u64) -> u64 {
    bytes.saturating_sub(DATA_START) / 2 / BLOCK_BYTES * BLOCK_BYTES
}

#[derive(Debug, Clone, Copy)]
struct Header {
    salt: u64,
    bytes: u64,
    floor: Place,
}

impl Header {
    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(&MAGIC);
        slot[8..10].copy_from_slice(&VERSION.to_be_bytes());
        slot[16..24].copy_from_slice(&self.salt.to_be_bytes());
        slot[24..32].copy_from_slice(&self.bytes.to_be_bytes());
        slot[32..40].copy_from_slice(&self.floor.epoch.to_be_bytes());
        slot[40..48].copy_from_slice(&self.floor.sequence.to_be_bytes());
        let crc = crc32c::crc32c(&slot[16..]);
        slot[12..16].copy_from_slice(&crc.to_be_bytes());
        slot
    }

    fn decode(slot: &[u8; SLOT_BYTES]) -> Option<Header> {
        let number = |at: usize| slot[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let header =
            Header { salt: number(16), bytes: number(24), floor: Place { epoch: number(32), sequence: number(40) } };
        (header.encode() == *slot).then_some(header)
    }
}

fn read_slot(file: &dyn File, position: u64) -> io::Result<Option<Header>> {
    let mut slot = [0; SLOT_BYTES];
    Ok(if read(file, &mut slot, position)? { Header::decode(&slot) } else { None })
}

/// Fills the buffer; false when the file ends before that, or the device cannot read it.
pub(super) fn read(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => return Ok(false),
            Ok(more) => filled += more,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn lock(file: &dyn File, path: &Path) -> Result<(), IoError> {
    if file.try_lock().map_err(IoError::on("lock", path))? {
        return Ok(());
    }
    let held = io::Error::new(ErrorKind::WouldBlock, "in use by another process: stop that one first");
    Err(IoError::on("lock", path)(held))
}
