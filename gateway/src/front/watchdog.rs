//! What a client owes in time: bytes within its keep alive, the end of a packet that it began, and taking its answers.
//!
//! What it guarantees: only a client that is being read, and for whose bytes there is room, can be too slow in
//! sending; a sender of [`SLOWEST`] bytes a second is never too slow, and one byte now and then is, after [`PACKET`].

use std::time::Duration;

use tokio::time::Instant;

use super::refusal::Refusal;

/// How long the answers to a client may wait without one byte of them being taken.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long a packet may take from its first byte to its last, besides a second for each [`SLOWEST`] bytes of it.
const PACKET: Duration = Duration::from_secs(30);
/// The slowest sender of long packets, in bytes a second.
const SLOWEST: usize = 1024;
/// How long to wait before room for reading is looked for again.
const NO_ROOM: Duration = Duration::from_millis(50);
/// After so long without a byte, a connection gives back the memory that its traffic took.
const IDLE: Duration = Duration::from_secs(2);

/// What is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client is too slow.
    Refused(Refusal),
    /// Nothing is wrong, and nothing happens.
    Idle,
}

/// When the client was last heard and last took an answer.
#[derive(Debug)]
pub(super) struct Watchdog {
    silence: Duration,
    /// Whether the client is being read; what is not read cannot be heard.
    pub(super) reading: bool,
    /// Whether it would be read if there were room for more bytes.
    starving: bool,
    heard: Instant,
    /// Since when a packet is half there, and how many bytes of it.
    packet: Option<(Instant, usize)>,
    /// Whether answers wait to be taken.
    writing: bool,
    written: Instant,
    trimmed: bool,
}

impl Watchdog {
    /// Of a client that may be silent for `silence`.
    pub(super) fn new(silence: Duration) -> Self {
        let now = Instant::now();
        Self {
            silence,
            reading: true,
            starving: false,
            heard: now,
            packet: None,
            writing: false,
            written: now,
            trimmed: false,
        }
    }

    /// Notes whether the client is being read from here on; its silence counts from then.
    pub(super) fn set_reading(&mut self, reading: bool) {
        if reading && !self.reading {
            let now = Instant::now();
            self.heard = now;
            self.packet = self.packet.map(|(_, bytes)| (now, bytes));
        }
        self.reading = reading;
    }

    /// Notes whether there is no room for more bytes; time without room is not the client's.
    pub(super) fn set_starving(&mut self, starving: bool) {
        if starving {
            let now = Instant::now();
            self.heard = now;
            self.packet = self.packet.map(|(_, bytes)| (now, bytes));
        }
        self.starving = starving;
    }

    /// Notes that bytes came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.trimmed = false;
    }

    /// Notes that the buffer was looked through: whether there was `any` packet, and the bytes behind the last one.
    pub(super) fn took(&mut self, any: bool, rest: usize) {
        self.packet = match self.packet {
            _ if rest == 0 => None,
            Some((since, _)) if !any => Some((since, rest)),
            _ => Some((Instant::now(), rest)),
        };
    }

    /// Notes whether answers wait; they may wait for a while from then.
    pub(super) fn set_writing(&mut self, writing: bool) {
        if writing && !self.writing {
            self.written = Instant::now();
        }
        self.writing = writing;
    }

    /// Notes that answers were taken.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.written = now;
    }

    fn keep_alive_due(&self) -> Option<Instant> {
        (self.reading && !self.starving).then(|| self.heard + self.silence)
    }

    fn packet_due(&self) -> Option<Instant> {
        let (since, bytes) = self.packet.filter(|_| self.reading && !self.starving)?;
        Some(since + PACKET + Duration::from_secs((bytes / SLOWEST) as u64))
    }

    fn write_due(&self) -> Option<Instant> {
        self.writing.then(|| self.written + WRITE_STALL)
    }

    fn idle_due(&self) -> Option<Instant> {
        (!self.trimmed).then(|| self.heard + IDLE)
    }

    /// When to look at the client next; `None` if nothing is awaited of it.
    pub(super) fn due(&self) -> Option<Instant> {
        let room = self.starving.then(|| Instant::now() + NO_ROOM);
        let all = [self.keep_alive_due(), self.packet_due(), self.write_due(), self.idle_due(), room];
        all.into_iter().flatten().min()
    }

    /// What is overdue at `now`.
    pub(super) fn look(&mut self, now: Instant) -> Option<Overdue> {
        let over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if over(self.keep_alive_due()) {
            return Some(Overdue::Refused(Refusal::KeepAlive));
        }
        if over(self.packet_due()) {
            return Some(Overdue::Refused(Refusal::SlowPacket));
        }
        if over(self.write_due()) {
            return Some(Overdue::Refused(Refusal::NotReading));
        }
        if over(self.idle_due()) {
            self.trimmed = true;
            return Some(Overdue::Idle);
        }
        None
    }
}
