//! The last offset of each key in a range of offsets, in bounded memory.

use super::{Halt, source};
use crate::error::IoError;
use crate::log::upkeep::Upkeep;
use crate::record::Record;
use crate::segments::Closed;
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// About what a key takes beside its bytes: its place in a map that is between half full and full, and its allocation.
const BYTES_PER_KEY: usize = 80;

/// Keys as they are, not hashes of them: devices choose keys, and two that collide would cost one of them its record.
pub(super) struct Keys {
    last: HashMap<Box<[u8]>, u64>,
    bytes: usize,
    max_bytes: usize,
    end: u64,
}

impl Keys {
    /// Reads the records of `offsets` until the memory is used up, at least one key.
    pub(super) fn collect<E: From<IoError>>(
        upkeep: &Upkeep,
        segments: &[Arc<Closed>],
        offsets: Range<u64>,
        max_bytes: usize,
        stop: &AtomicBool,
    ) -> Result<Keys, Halt<E>> {
        let mut keys = Keys { last: HashMap::new(), bytes: 0, max_bytes, end: offsets.end };
        for segment in segments.iter().filter(|segment| segment.next_offset > offsets.start) {
            let mut is_full = false;
            source::visit(upkeep, segment, stop, |record| {
                is_full = record.offset >= offsets.start && !keys.note(record);
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            if is_full {
                break;
            }
        }
        Ok(keys)
    }

    /// False when there is no room for its key: the range ends before it.
    fn note(&mut self, record: &Record<'_>) -> bool {
        let Some(key) = record.key else { return true };
        if let Some(last) = self.last.get_mut(key) {
            *last = record.offset;
            return true;
        }
        let bytes = self.bytes + key.len() + BYTES_PER_KEY;
        if bytes > self.max_bytes && !self.last.is_empty() {
            self.end = record.offset;
            return false;
        }
        self.bytes = bytes;
        self.last.insert(key.into(), record.offset);
        true
    }

    /// The offset behind the range.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether a later record in the range has the key of this one.
    pub(super) fn supersede(&self, record: &Record<'_>) -> bool {
        record.key.and_then(|key| self.last.get(key)).is_some_and(|last| *last > record.offset)
    }
}
