//! Requests off the wire, responses onto it: a length of 4 bytes in front of each.
//!
//! What it guarantees: a request is at most [`MAX_REQUEST`] bytes, and nothing is allocated for a length alone; no more
//! than [`SMALL`] bytes are read ahead of the request that is being answered; a request that does not arrive, and a
//! response that is not taken, end in time.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::memory::{Lease, Room};
use super::refusal::Refusal;

/// The largest request, in bytes. The longest that a client has reason to send names ten thousand partitions.
pub(super) const MAX_REQUEST: usize = 1 << 20;
/// The smallest: what stands in front of every request.
const MIN_REQUEST: usize = 8;
/// What is read ahead at the most, and what a request may take without asking for room.
pub(super) const SMALL: usize = 16 << 10;
/// What an idle connection has room for.
const IDLE: usize = 512;
/// The length in front.
const LENGTH: usize = 4;
/// How long a response may take, besides a second for each [`SLOWEST`] bytes of it.
const SEND: Duration = Duration::from_secs(30);
/// The slowest reader of responses, in bytes a second.
const SLOWEST: usize = 64 << 10;
/// Pieces of a response that are handed to the system at a time.
const SLICES: usize = 16;

/// Why there is no next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client is gone.
    Gone,
    /// It is sent away.
    Refused(Refusal),
}

/// The requests of one client.
#[derive(Debug)]
pub(super) struct Requests<R> {
    reader: R,
    input: BytesMut,
    room: Room,
    within: Duration,
}

/// A request without its length, and the room that it takes.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    _lease: Option<Lease>,
}

impl<R: AsyncRead + Unpin> Requests<R> {
    /// Of a client whose requests arrive `within` this time.
    pub(super) fn new(reader: R, room: Room, within: Duration) -> Self {
        Self { reader, input: BytesMut::new(), room, within }
    }

    /// The next request; its first byte may take `idle`. Cancelling it loses nothing.
    pub(super) async fn next(&mut self, idle: Duration) -> Result<Frame, End> {
        if self.input.is_empty() {
            // What a long request took goes back.
            self.input = BytesMut::with_capacity(IDLE);
            timeout(idle, self.read()).await.map_err(|_| End::Refused(Refusal::Idle))??;
        }
        let within = self.within;
        timeout(within, self.whole()).await.map_err(|_| End::Refused(Refusal::SlowRequest))?
    }

    /// Resolves when the client is gone, reading a little ahead meanwhile.
    pub(super) async fn gone(&mut self) {
        while self.input.len() < SMALL {
            if self.read().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    async fn whole(&mut self) -> Result<Frame, End> {
        while self.input.len() < LENGTH {
            self.read().await?;
        }
        let length = self.input.first_chunk().map_or(0, |length| i32::from_be_bytes(*length));
        let allowed = usize::try_from(length).ok().filter(|length| (MIN_REQUEST..=MAX_REQUEST).contains(length));
        let needed = LENGTH + allowed.ok_or(End::Refused(Refusal::Oversized))?;
        let lease = if needed > SMALL { self.room.lease(needed).await } else { None };
        self.input.reserve(needed.saturating_sub(self.input.len()));
        while self.input.len() < needed {
            self.read().await?;
        }
        let mut bytes = self.input.split_to(needed).freeze();
        bytes.advance(LENGTH);
        Ok(Frame { bytes, _lease: lease })
    }

    async fn read(&mut self) -> Result<(), End> {
        if self.input.len() == self.input.capacity() {
            self.input.reserve(SMALL / 4);
        }
        match self.reader.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(End::Gone),
            Ok(_) => Ok(()),
        }
    }
}

/// Sends a response with its length in front; each piece is let go of as soon as the system has it.
pub(super) async fn send<W: AsyncWrite + Unpin>(writer: &mut W, pieces: Vec<Bytes>) -> Result<usize, End> {
    let total: usize = pieces.iter().map(Bytes::len).sum();
    // A response is bounded far below 2 GiB where it is made.
    let length = Bytes::copy_from_slice(&(total as i32).to_be_bytes());
    let pieces = std::iter::once(length).chain(pieces).collect();
    let by = SEND + Duration::from_secs((total / SLOWEST) as u64);
    match timeout(by, write(writer, pieces)).await {
        Ok(Ok(())) => Ok(LENGTH + total),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(End::Refused(Refusal::NotReading)),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Refused(Refusal::NotReading)),
    }
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = pieces.len().min(SLICES);
        for (slice, piece) in slices.iter_mut().zip(&pieces) {
            *slice = IoSlice::new(piece);
        }
        let mut written = writer.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.front_mut() {
            if piece.len() > written {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            pieces.pop_front();
        }
    }
    writer.flush().await
}
