//! A moving view of a file for the scan.
//!
//! Guarantees: holds a bounded part of the file; a block that the device cannot read shows as zeros, which are no
//! frame, so that one bad sector costs its frames and not the log.

use crate::frame::MAX_FRAME_BYTES;
use crate::fs::File;
use std::io;

/// Bytes read at a time; a single larger frame makes the window grow to that frame.
const WINDOW_BYTES: usize = 256 * 1024;
/// Around an error bytes are read in pieces of this size.
const BLOCK_BYTES: u64 = 4096;

pub(crate) struct Window<'a> {
    file: &'a dyn File,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
    /// End of the last block that could not be read.
    unreadable_before: u64,
}

impl<'a> Window<'a> {
    /// A view of the first `end` bytes.
    pub(crate) fn new(file: &'a dyn File, end: u64) -> Window<'a> {
        Window { file, end, start: 0, bytes: Vec::new(), unreadable_before: 0 }
    }

    /// Where the bytes end.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether a block at or behind `position` was met that cannot be read.
    pub(crate) fn is_unreadable_behind(&self, position: u64) -> bool {
        self.unreadable_before > position
    }

    /// `length` bytes at `position`, or `None` when the file ends before that.
    pub(crate) fn get(&mut self, position: u64, length: usize) -> io::Result<Option<&[u8]>> {
        debug_assert!(length <= MAX_FRAME_BYTES);
        if position.checked_add(length as u64).is_none_or(|end| end > self.end) {
            return Ok(None);
        }
        if self.loaded(position, length).is_none() {
            self.load(position, length)?;
        }
        Ok(self.loaded(position, length))
    }

    /// Bytes that [`Window::get`] returned last are still here.
    pub(crate) fn loaded(&self, position: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(position.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(length)?)
    }

    pub(crate) fn loaded_mut(&mut self, position: u64, length: usize) -> Option<&mut [u8]> {
        let from = usize::try_from(position.checked_sub(self.start)?).ok()?;
        self.bytes.get_mut(from..from.checked_add(length)?)
    }

    fn load(&mut self, position: u64, length: usize) -> io::Result<()> {
        let wanted = (self.end - position).min(WINDOW_BYTES.max(length) as u64) as usize;
        self.start = position;
        self.bytes.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            let read = match self.file.read_at(&mut self.bytes[filled..], position + filled as u64) {
                Err(error) if is_medium_error(&error) => self.load_block(filled)?,
                read => read?,
            };
            if read == 0 {
                // Cut while we read it; what is there is all there is.
                self.bytes.truncate(filled);
                self.end = position + filled as u64;
                break;
            }
            filled += read;
        }
        Ok(())
    }

    /// Tries once more, the rest of one block only, and goes on with zeros; how many bytes that gave.
    fn load_block(&mut self, filled: usize) -> io::Result<usize> {
        let position = self.start + filled as u64;
        let rest = (BLOCK_BYTES - position % BLOCK_BYTES) as usize;
        let end = self.bytes.len().min(filled + rest);
        let block = &mut self.bytes[filled..end];
        match self.file.read_at(block, position) {
            Err(error) if is_medium_error(&error) => {
                block.fill(0);
                self.unreadable_before = self.unreadable_before.max(position + block.len() as u64);
                Ok(block.len())
            }
            read => read,
        }
    }
}

fn is_medium_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
