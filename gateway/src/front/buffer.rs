//! The read buffer of a connection: as large as its traffic, up to [`LARGEST`] at a time, within the room that all
//! connections share.
//!
//! A busy connection reads 256 KiB at a time, because large reads mean few system calls and large groups; an
//! idle one holds [`SMALLEST`], because there are many of them. Payloads are slices of the buffer, so nothing is
//! copied on the way to ingest.
//!
//! What it guarantees: beyond [`SMALLEST`] each, the buffers of all connections together hold no more than their
//! [`Room`], half-sent packets included. A connection that finds none goes on with what it has, and waits once that
//! is full; [`super::exchange`] gives up senders whose packets never end, so room always comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;

use crate::mqtt::read::MAX_PACKET;

/// What a connection starts with and goes back to, in bytes; this much each connection has for itself.
pub(super) const SMALLEST: usize = 1 << 10;
/// The most that is asked of the kernel at a time, in bytes.
const LARGEST: usize = 256 << 10;
/// The most that one buffer holds: a packet that is almost there and room for the next read. In bytes.
pub(super) const MOST: usize = MAX_PACKET + LARGEST;

/// The room that the read buffers of all connections share.
#[derive(Debug)]
pub(super) struct Room {
    free: AtomicUsize,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        let took = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes));
        took.is_ok()
    }

    fn give(&self, bytes: usize) {
        self.free.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that nobody holds.
    pub(super) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}

/// Bytes that were read and not yet taken as packets.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    /// The bytes; the next read appends.
    pub(super) bytes: BytesMut,
    wanted: usize,
    room: Arc<Room>,
    /// What it holds of the room: for its block beyond [`SMALLEST`], packets included that were taken from the block
    /// since and wait for ingest.
    held: usize,
}

impl ReadBuffer {
    /// An empty buffer.
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { bytes: BytesMut::new(), wanted: SMALLEST, room, held: 0 }
    }

    /// Bytes that it takes now.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity().max(self.held)
    }

    /// Makes room before a read; false if there is none, and the connection has to wait.
    pub(super) fn prepare(&mut self) -> bool {
        let spare = self.bytes.capacity() - self.bytes.len();
        if self.bytes.is_empty() && spare > 2 * self.wanted {
            self.replace(self.wanted);
        } else if spare < self.wanted / 2 && !self.bytes.try_reclaim(self.wanted) {
            let grown = self.replace(self.bytes.len() + self.wanted);
            if !grown && self.bytes.is_empty() {
                self.wanted = SMALLEST;
                self.replace(SMALLEST);
            }
        }
        self.bytes.capacity() > self.bytes.len()
    }

    /// Goes on in a block of this size, if there is room for it. A buffer that grows by itself would take twice as much.
    fn replace(&mut self, capacity: usize) -> bool {
        let leased = self.lease(capacity);
        if leased {
            let mut block = BytesMut::with_capacity(capacity);
            block.extend_from_slice(&self.bytes);
            self.bytes = block;
        }
        leased
    }

    /// Gives back what it holds for traffic that there is not.
    pub(super) fn trim(&mut self) {
        if self.bytes.is_empty() {
            self.wanted = SMALLEST;
            self.replace(SMALLEST);
        }
    }

    /// Holds as much of the room as `capacity` needs; false if that is not there, and what it held stays.
    fn lease(&mut self, capacity: usize) -> bool {
        let needed = capacity.saturating_sub(SMALLEST);
        if needed > self.held {
            if !self.room.take(needed - self.held) {
                return false;
            }
        } else {
            self.room.give(self.held - needed);
        }
        self.held = needed;
        true
    }

    /// Learns from a read of `length` bytes: more at a time after a read that filled the buffer, less after
    /// one that hardly used it.
    pub(super) fn learn(&mut self, length: usize) {
        if self.bytes.len() == self.bytes.capacity() {
            self.wanted = (self.wanted * 4).min(LARGEST);
        } else if length < self.wanted / 8 {
            self.wanted = (self.wanted / 2).max(SMALLEST);
        }
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.room.give(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a busy connection does, each time as much as fits; the bytes that came in.
    fn fill(buffer: &mut ReadBuffer, times: usize) -> usize {
        let mut came = 0;
        for _ in 0..times {
            if !buffer.prepare() {
                break;
            }
            let spare = buffer.bytes.capacity() - buffer.bytes.len();
            buffer.bytes.resize(buffer.bytes.len() + spare, 7);
            buffer.learn(spare);
            came += spare;
        }
        came
    }

    #[test]
    fn all_buffers_together_hold_no_more_than_their_room() {
        const ROOM: usize = 1 << 20;
        let room = Room::new(ROOM);
        let mut buffers: Vec<_> = (0..100).map(|_| ReadBuffer::new(room.clone())).collect();
        for buffer in &mut buffers {
            fill(buffer, 20);
        }
        let all: usize = buffers.iter().map(|buffer| buffer.bytes.capacity()).sum();
        assert!(all <= ROOM + 100 * SMALLEST, "{all} bytes are held");
        assert!(buffers.iter().all(|buffer| !buffer.bytes.is_empty()), "each has a little for itself");
        let mut latecomer = ReadBuffer::new(room.clone());
        assert!(latecomer.prepare(), "who comes late can still say something");
        buffers.clear();
        drop(latecomer);
        assert_eq!(room.free(), ROOM, "the room comes back");
    }

    #[test]
    fn a_buffer_without_room_waits_and_goes_on_when_there_is_some() {
        let room = Room::new(MOST);
        let mut greedy = ReadBuffer::new(room.clone());
        let mut patient = ReadBuffer::new(room.clone());
        assert!(room.take(room.free() - 10));
        fill(&mut greedy, 1);
        fill(&mut patient, 10);
        assert!(!patient.prepare());
        room.give(MOST - 10);
        assert!(patient.prepare());
    }
}
