//! Room ahead: zeros that a small commit writes behind itself, so that those after it change bytes of the file and
//! nothing else.
//!
//! A file that grows with each commit makes the filesystem write its length and its blocks with each sync: of 250 bytes
//! a commit ext4 makes 17 kB with its journal, and 4.8 kB where the file has the bytes already (blocks of 4 KiB, counted
//! by the block layer). Blocks that are taken but not written, as of fallocate(2), save nothing: each sync notes that
//! they were written.
//!
//! Guarantees: room is within the cap and within the segment, and is synced with a commit, never by itself; a disk that
//! takes no zeros still takes the commit. Zeros are no frame: every walk takes them for the end of the segment
//! ([`crate::scan`]), and they go when the segment is closed, or opened again.

use super::Log;
use super::commit::BLOCK_BYTES;
use crate::segment::Segment;

/// A commit of more than this part of the room pays for its blocks itself.
const SMALL: u64 = 4;
const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

impl Log {
    /// Takes room behind a commit of `bytes` that was written up to `end` of the segment, if there is none. Best effort:
    /// what is missing the next commit takes as any file grows.
    pub(super) fn take_room(&mut self, segment: &Segment, bytes: u64, end: u64) {
        let room = self.options.room_bytes;
        if end <= self.room_upto || bytes > room / SMALL {
            return;
        }
        // As of the commit before, like what the log has allocated: both leave out what this one took.
        let own = segment.with_extent(|extent| extent.allocated);
        let within_cap = self.options.cap_bytes.map_or(u64::MAX, |cap| own + cap.saturating_sub(self.allocated()));
        let upto = (end + room).min(self.options.segment_limit()).min(within_cap) / BLOCK_BYTES * BLOCK_BYTES;
        let mut at = end;
        // Block by block: a page of the cache as large as the room would count as written whole with each commit.
        while at < upto {
            let length = BLOCK_BYTES - at % BLOCK_BYTES;
            if segment.file.write_at(&ZEROS[..length as usize], at).is_err() {
                break;
            }
            at += length;
        }
        self.room_upto = at;
    }

    /// Gives the room of the segment back that took commits; best effort, nobody needs it.
    pub(super) fn give_room_back(&self, segment: &Segment) {
        let bytes = segment.with_extent(|extent| extent.bytes);
        if self.room_upto > bytes
            && segment.file.set_len(bytes).is_ok()
            && let Ok(allocated) = segment.file.allocated()
        {
            segment.change_extent(|extent| extent.allocated = allocated);
        }
    }
}
