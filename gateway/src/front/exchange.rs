//! The exchange between a client and its [`Session`], from CONNACK to the end.
//!
//! What it guarantees: a client is not read while ingest, its window or its answers have no room, and that
//! silence is not held against it; a client that is silent otherwise, or does not read its answers, is
//! closed; when the gateway stops, what is in flight is answered first.
//!
//! ```text
//! read -> packets -> session -> one submit per read -> ingest
//! write <- answers <- session <- events <-------------- ingest
//! ```

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::Link;
use super::buffer::ReadBuffer;
use super::refusal::Refusal;
use super::session::{Session, Step};
use super::wire::{self, MAX_PACKET};
use crate::ingest::Event;

/// How long the answers to a client may wait without one byte of them being taken.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// Why a session is over.
#[derive(Debug)]
pub(super) enum End {
    /// The transport is gone.
    Gone,
    /// DISCONNECT of the client.
    Goodbye { with_will: bool },
    /// The gateway ends it.
    Refused(Refusal),
    /// The gateway ends it after an answer that was counted already.
    Answered(Refusal),
}

/// The bytes of a connection in both directions.
pub(super) struct Wire<S> {
    pub(super) reader: ReadHalf<S>,
    pub(super) writer: WriteHalf<S>,
    pub(super) input: ReadBuffer,
    pub(super) output: BytesMut,
}

/// What else a connection listens to.
pub(super) struct Signals {
    events: mpsc::UnboundedReceiver<Event>,
    taken: oneshot::Receiver<()>,
    stop: watch::Receiver<bool>,
    /// `stop` was heard.
    stopping: bool,
}

impl Signals {
    pub(super) fn new(
        events: mpsc::UnboundedReceiver<Event>,
        taken: oneshot::Receiver<()>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { events, taken, stop, stopping: false }
    }
}

/// Moves packets, messages, events and answers until something ends the session.
pub(super) async fn exchange<S, L>(
    wire: &mut Wire<S>,
    session: &mut Session,
    link: &mut L,
    signals: &mut Signals,
    silence: Duration,
    set_status: impl Fn(Bytes),
) -> End
where
    S: AsyncRead + AsyncWrite,
    L: Link,
{
    let mut watchdog = Watchdog::new(silence);
    loop {
        let taken = match take_packets(wire, session, &set_status) {
            Ok(taken) => taken,
            Err(refusal) => return End::Refused(refusal),
        };
        if !taken.messages.is_empty() {
            watchdog.set_reading(false);
            let mut submitted = pin!(link.submit(taken.messages));
            // While ingest has no room the client is not read, but it is answered.
            loop {
                let happened = tokio::select! {
                    biased;
                    () = &mut submitted => break,
                    happened = next(wire, signals, &mut watchdog) => happened,
                };
                if let Err(end) = apply(happened, wire, session, signals, &mut watchdog) {
                    return end;
                }
            }
        }
        if let Some(with_will) = taken.goodbye {
            return End::Goodbye { with_will };
        }
        watchdog.set_reading(taken.all);
        let happened = next(wire, signals, &mut watchdog).await;
        if let Err(end) = apply(happened, wire, session, signals, &mut watchdog) {
            return end;
        }
    }
}

/// What one pass over the read buffer brought.
struct Taken {
    messages: Vec<crate::ingest::Message>,
    /// Whether every whole packet was taken; else there was no room for more.
    all: bool,
    /// DISCONNECT; whether with the will.
    goodbye: Option<bool>,
}

/// Takes the packets that are there and have room.
fn take_packets<S>(wire: &mut Wire<S>, session: &mut Session, set_status: &impl Fn(Bytes)) -> Result<Taken, Refusal> {
    let mut taken = Taken { messages: Vec::new(), all: false, goodbye: None };
    while session.has_room(wire.output.len()) {
        let before = wire.input.bytes.len();
        let Some(packet) = wire::read(&mut wire.input.bytes, session.version(), MAX_PACKET)? else {
            taken.all = true;
            session.set_paused(false);
            return Ok(taken);
        };
        match session.handle(packet, before - wire.input.bytes.len(), &mut wire.output)? {
            Step::Nothing => (),
            Step::Submit(message) => taken.messages.push(message),
            Step::Status(status) => set_status(status),
            Step::Goodbye { with_will } => {
                taken.goodbye = Some(with_will);
                return Ok(taken);
            }
        }
    }
    session.set_paused(true);
    Ok(taken)
}

/// One thing that happened to a connection.
enum Happened {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Told(Event),
    TakenOver,
    Stopping,
    Tick,
}

/// Waits for the next thing to happen; may be dropped at any time without losing anything.
async fn next<S: AsyncRead + AsyncWrite>(
    wire: &mut Wire<S>,
    signals: &mut Signals,
    watchdog: &mut Watchdog,
) -> Happened {
    if watchdog.reading {
        wire.input.prepare();
    }
    let writing = !wire.output.is_empty();
    watchdog.set_writing(writing);
    let due = watchdog.due();
    tokio::select! {
        Some(event) = signals.events.recv() => Happened::Told(event),
        wrote = wire.writer.write_buf(&mut wire.output), if writing => Happened::Wrote(wrote),
        read = wire.reader.read_buf(&mut wire.input.bytes), if watchdog.reading => Happened::Read(read),
        _ = &mut signals.taken => Happened::TakenOver,
        _ = signals.stop.wait_for(|stop| *stop), if !signals.stopping => Happened::Stopping,
        () = sleep_until(due.unwrap_or(watchdog.heard)), if due.is_some() => Happened::Tick,
    }
}

/// Acts on what happened; an error ends the session.
fn apply<S>(
    happened: Happened,
    wire: &mut Wire<S>,
    session: &mut Session,
    signals: &mut Signals,
    watchdog: &mut Watchdog,
) -> Result<(), End> {
    let now = Instant::now();
    match happened {
        Happened::Read(Ok(0) | Err(_)) | Happened::Wrote(Ok(0) | Err(_)) => return Err(End::Gone),
        Happened::Read(Ok(length)) => {
            wire.input.learn(length);
            watchdog.heard = now;
        }
        Happened::Wrote(Ok(_)) => watchdog.written = now,
        Happened::Told(event) => {
            session.settle(event, &mut wire.output).map_err(End::Refused)?;
            // Everything that was told meanwhile leaves with the same write.
            while let Ok(event) = signals.events.try_recv() {
                session.settle(event, &mut wire.output).map_err(End::Refused)?;
            }
        }
        Happened::TakenOver => return Err(End::Refused(Refusal::TakenOver)),
        Happened::Stopping => {
            signals.stopping = true;
            session.end_with(Refusal::ShuttingDown);
        }
        Happened::Tick if watchdog.reading && watchdog.heard + watchdog.silence <= now => {
            return Err(End::Refused(Refusal::KeepAlive));
        }
        Happened::Tick if !wire.output.is_empty() && watchdog.written + WRITE_STALL <= now => {
            return Err(End::Refused(Refusal::NotReading));
        }
        Happened::Tick => (),
    }
    match session.ended() {
        Some(Refusal::ShuttingDown) => Err(End::Refused(Refusal::ShuttingDown)),
        Some(refusal) => Err(End::Answered(refusal)),
        None => Ok(()),
    }
}

/// When the client was last heard and last took an answer.
struct Watchdog {
    silence: Duration,
    /// Whether the client is being read; what is not read cannot be heard.
    reading: bool,
    heard: Instant,
    /// Whether answers wait to be taken.
    writing: bool,
    written: Instant,
}

impl Watchdog {
    fn new(silence: Duration) -> Self {
        let now = Instant::now();
        Self { silence, reading: true, heard: now, writing: false, written: now }
    }

    /// Notes whether the client is being read from here on; its silence counts from then.
    fn set_reading(&mut self, reading: bool) {
        if reading && !self.reading {
            self.heard = Instant::now();
        }
        self.reading = reading;
    }

    /// Notes whether answers wait; they may wait for a while from then.
    fn set_writing(&mut self, writing: bool) {
        if writing && !self.writing {
            self.written = Instant::now();
        }
        self.writing = writing;
    }

    /// When to look at the client next; `None` if nothing is awaited of it.
    fn due(&self) -> Option<Instant> {
        let heard = self.reading.then(|| self.heard + self.silence);
        let taken = self.writing.then(|| self.written + WRITE_STALL);
        heard.into_iter().chain(taken).min()
    }
}
