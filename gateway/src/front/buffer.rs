//! The read buffer of a connection: as large as its traffic, up to [`LARGEST`].
//!
//! A busy connection reads 256 KiB at a time, because large reads mean few system calls and large groups; an
//! idle one holds 1 KiB, because there are many of them. Payloads are slices of the buffer, so nothing is
//! copied on the way to ingest.

use bytes::BytesMut;

/// What a connection starts with and goes back to, in bytes.
const SMALLEST: usize = 1 << 10;
/// The most that is asked of the kernel at a time, in bytes.
const LARGEST: usize = 256 << 10;

/// Bytes that were read and not yet taken as packets.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    /// The bytes; the next read appends.
    pub(super) bytes: BytesMut,
    wanted: usize,
}

impl ReadBuffer {
    /// An empty buffer.
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::new(), wanted: SMALLEST }
    }

    /// Makes room before a read.
    pub(super) fn prepare(&mut self) {
        let spare = self.bytes.capacity() - self.bytes.len();
        if self.bytes.is_empty() && spare > 2 * self.wanted {
            self.bytes = BytesMut::with_capacity(self.wanted);
        } else if spare < self.wanted / 2 {
            self.bytes.reserve(self.wanted);
        }
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
