//! A filesystem in memory that fails as real ones do, replayable by its seed.
//!
//! It promises what [`crate::fs`] asks for and not a bit more:
//! - a power cut keeps or drops, by the seed, each unsynced write (whole, or sector by sector), each
//!   unsynced length, each unsynced name, and each file that was never synced itself, whatever its name is worth;
//! - a failed write has written a part; a failed sync has stored a part, loses the rest for ever, and the
//!   cache goes on showing it all while later syncs succeed;
//! - a full disk takes what fits in whole blocks and refuses the rest;
//! - a bit can flip, and a block can become unreadable.
//!
//! It can also lie about syncs ([`super::Lie`]), for faults that are planted.
//!
//! Paths are absolute. Clones are the same disk.

mod chance;
mod disk;
mod inode;

use super::{File, Fs, Mode};
use disk::Disk;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write, after a part of it.
    Write,
    /// A sync of a file.
    Sync,
    /// A cut or extension of a file.
    SetLen,
    /// A sync of a directory.
    SyncDir,
    /// Making, renaming or removing a name.
    Name,
}

/// The faulty filesystem.
#[derive(Clone)]
pub struct FaultyFs {
    disk: Arc<Mutex<Disk>>,
}

impl FaultyFs {
    /// An empty disk with the root directory; all its choices follow from the seed.
    pub fn new(seed: u64) -> FaultyFs {
        FaultyFs { disk: Arc::new(Mutex::new(Disk::new(seed))) }
    }

    /// Cuts the power: every open file of this disk fails from now on, and what survived is the disk
    /// returned.
    pub fn power_cut(&self) -> FaultyFs {
        let mut disk = self.lock();
        disk.power_fails_at = Some(0);
        FaultyFs { disk: Arc::new(Mutex::new(disk.survivor())) }
    }

    /// Lets the power fail by itself after so many more changing operations; then take the survivor with
    /// [`FaultyFs::power_cut`].
    pub fn fail_power_after(&self, operations: u64) {
        let mut disk = self.lock();
        disk.power_fails_at = Some(disk.operations + operations);
    }

    /// Changing operations so far: writes, syncs, lengths, names.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes the next operation of this kind fail, once.
    pub fn fail_once(&self, fault: Fault) {
        self.fail_after(fault, 0);
    }

    /// Lets so many operations of this kind pass, and makes the next one fail, once.
    pub fn fail_after(&self, fault: Fault, passing: usize) {
        self.lock().once.push((fault, passing));
    }

    /// Makes operations of this kind fail at these odds; 0 stops it.
    pub fn fail_sometimes(&self, fault: Fault, per_mille: u64) {
        let mut disk = self.lock();
        disk.per_mille.retain(|(planned, _)| *planned != fault);
        disk.per_mille.push((fault, per_mille));
    }

    /// Nothing that was planned to fail does any more, except that the power may.
    pub fn heal(&self) {
        let mut disk = self.lock();
        (disk.once, disk.per_mille) = Default::default();
    }

    /// Sets the size of the disk; `None` is endless. Less than what is used means full.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// Bytes that files take, in whole blocks.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// What it says to have done and does not, from now on and over power cuts.
    #[cfg(any(test, feature = "plant"))]
    pub fn lie(&self, lie: Option<super::Lie>) {
        self.lock().lie = lie;
    }

    /// Flips one bit of a file, on the disk and in the cache; false when there is no such byte.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> bool {
        let mut disk = self.lock();
        let Some(id) = disk.file_at(path) else { return false };
        disk.inode(id).is_ok_and(|inode| inode.flip_bit(position, bit))
    }

    /// Makes the block around a byte of a file unreadable for good; false when there is no such byte.
    pub fn spoil_block(&self, path: &Path, position: u64) -> bool {
        let mut disk = self.lock();
        let Some(id) = disk.file_at(path) else { return false };
        disk.inode(id).is_ok_and(|inode| inode.spoil_block(position))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fs for FaultyFs {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let inode = self.lock().open(path, mode)?;
        Ok(Box::new(FaultyFile { fs: self.clone(), inode, locking: Mutex::new(false) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.lock().create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.lock().list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.lock().exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock().sync_dir(dir)
    }
}

struct FaultyFile {
    fs: FaultyFs,
    inode: u64,
    /// Whether this open file holds the lock.
    locking: Mutex<bool>,
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut disk = self.fs.lock();
        disk.powered()?;
        disk.inode(self.inode)?.read(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut disk = self.fs.lock();
        disk.powered()?;
        if let Err(fault) = disk.operate(Fault::Write) {
            let part = disk.chance.below(bytes.len() as u64) as usize;
            disk.inode(self.inode)?.write(position, &bytes[..part]);
            return Err(fault);
        }
        let free = disk.free_bytes();
        let inode = disk.inode(self.inode)?;
        let room = inode.room_at(position, free).min(bytes.len() as u64) as usize;
        inode.write(position, &bytes[..room]);
        if room < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.fs.lock();
        disk.powered()?;
        let operated = disk.operate(Fault::Sync);
        let powered = disk.powered().is_ok();
        #[cfg(any(test, feature = "plant"))]
        let swallowed = powered && disk.lie == Some(super::Lie::Sync);
        let (inode, chance) = disk.inode_and_chance(self.inode)?;
        match operated {
            Ok(()) => inode.sync(),
            // When the power fails the survivor decides what was stored.
            Err(_) if powered => inode.fail_sync(chance),
            Err(_) => {}
        }
        #[cfg(any(test, feature = "plant"))]
        if swallowed {
            return Ok(());
        }
        operated
    }

    /// It makes nothing durable, and fails as a sync does.
    fn write_out(&self, _: Range<u64>) -> io::Result<()> {
        let mut disk = self.fs.lock();
        disk.powered()?;
        let operated = disk.operate(Fault::Sync);
        if operated.is_err() && disk.powered().is_ok() {
            let (inode, chance) = disk.inode_and_chance(self.inode)?;
            inode.fail_sync(chance);
        }
        operated
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.fs.lock();
        disk.operate(Fault::SetLen)?;
        disk.inode(self.inode)?.set_len(bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let mut disk = self.fs.lock();
        disk.powered()?;
        Ok(disk.inode(self.inode)?.size())
    }

    fn allocated(&self) -> io::Result<u64> {
        let mut disk = self.fs.lock();
        disk.powered()?;
        Ok(disk.inode(self.inode)?.allocated())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut locking = self.locking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut disk = self.fs.lock();
        let inode = disk.inode(self.inode)?;
        if !*locking && !inode.locked {
            *locking = true;
            inode.locked = true;
        }
        Ok(*locking)
    }

    fn forget_cache(&self) -> io::Result<()> {
        let mut disk = self.fs.lock();
        disk.powered()?;
        disk.inode(self.inode)?.forget_cache();
        Ok(())
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        let locking = *self.locking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut disk = self.fs.lock();
        if let Ok(inode) = disk.inode(self.inode) {
            inode.handles -= 1;
            inode.locked &= !locking;
        }
    }
}
