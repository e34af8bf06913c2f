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
/// The smallest: a message of SASL that comes bare.
const MIN_REQUEST: usize = 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    const WITHIN: Duration = Duration::from_secs(10);
    const LONG: Duration = Duration::from_secs(3600);

    fn requests() -> (DuplexStream, Requests<DuplexStream>) {
        let (theirs, ours) = duplex(1 << 20);
        (theirs, Requests::new(ours, Room::new(2 * MAX_REQUEST), WITHIN))
    }

    fn framed(length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes().to_vec();
        frame.extend((0..length).map(|at| at as u8));
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn requests_come_whole_however_they_are_cut() {
        let (mut theirs, mut requests) = requests();
        let lengths = [8, 100, SMALL, 3 * SMALL, MAX_REQUEST, 8];
        let all: Vec<u8> = lengths.iter().flat_map(|length| framed(*length)).collect();
        let sending = tokio::spawn(async move {
            for piece in all.chunks(7_001) {
                theirs.write_all(piece).await.unwrap();
            }
            theirs
        });
        for length in lengths {
            let frame = requests.next(LONG).await.unwrap();
            assert_eq!(frame.bytes[..], framed(length)[LENGTH..]);
        }
        drop(sending.await);
        assert_eq!(requests.next(LONG).await.unwrap_err(), End::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn a_length_that_cannot_be_allocates_nothing() {
        for length in [0, MAX_REQUEST as i32 + 1, i32::MAX, -1, i32::MIN] {
            let (mut theirs, mut requests) = requests();
            theirs.write_all(&length.to_be_bytes()).await.unwrap();
            assert_eq!(requests.next(LONG).await.unwrap_err(), End::Refused(Refusal::Oversized), "{length}");
            assert!(requests.input.capacity() <= SMALL);
        }
        // One that can be takes no more than what was sent of it, and the room that it asks for comes back.
        let (mut theirs, mut requests) = requests();
        theirs.write_all(&(MAX_REQUEST as i32).to_be_bytes()).await.unwrap();
        assert_eq!(requests.next(LONG).await.unwrap_err(), End::Refused(Refusal::SlowRequest));
        assert_eq!(requests.room.free(), 2 * MAX_REQUEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_its_time_and_silence_has_another() {
        let (mut theirs, mut requests) = requests();
        let began = Instant::now();
        assert_eq!(requests.next(LONG).await.unwrap_err(), End::Refused(Refusal::Idle));
        assert_eq!(began.elapsed(), LONG);
        theirs.write_all(&framed(100)[..50]).await.unwrap();
        let began = Instant::now();
        assert_eq!(requests.next(LONG).await.unwrap_err(), End::Refused(Refusal::SlowRequest));
        assert_eq!(began.elapsed(), WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_a_little_is_read_ahead_and_the_end_is_noticed() {
        let (mut theirs, mut requests) = requests();
        theirs.write_all(&vec![0; 10 * SMALL]).await.unwrap();
        assert!(timeout(LONG, requests.gone()).await.is_err());
        assert!(requests.input.len() <= 2 * SMALL, "{}", requests.input.len());
        let (theirs, mut requests) = self::requests();
        drop(theirs);
        requests.gone().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_taken_drop_by_drop_ends() {
        let (mut theirs, mut ours) = duplex(1);
        let dripping = tokio::spawn(async move {
            // Never so long without a byte that it would look dead.
            while theirs.read_u8().await.is_ok() {
                sleep(SEND / 2).await;
            }
        });
        let began = Instant::now();
        let pieces = vec![Bytes::from_static(b"head"), Bytes::from(vec![7; 10 * SLOWEST])];
        assert_eq!(send(&mut ours, pieces).await, Err(End::Refused(Refusal::NotReading)));
        assert_eq!(began.elapsed(), SEND + Duration::from_secs(10));
        drop(ours);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_of_many_pieces_arrives_in_order() {
        let (mut theirs, mut ours) = duplex(1000);
        let pieces: Vec<_> = (0..100_u8).map(|piece| Bytes::from(vec![piece; 99 * usize::from(piece % 3)])).collect();
        let expected: Vec<u8> = pieces.iter().flatten().copied().collect();
        let sending = tokio::spawn(async move { send(&mut ours, pieces).await });
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(sending.await.unwrap(), Ok(LENGTH + expected.len()));
        assert_eq!(got[..LENGTH], (expected.len() as u32).to_be_bytes());
        assert_eq!(got[LENGTH..], expected);
    }
}
