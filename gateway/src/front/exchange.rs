//! The exchange between a client and its [`Session`], from CONNACK to the end.
//!
//! What it guarantees: a client is not read while ingest, its window, its answers or the read buffers have no room,
//! and that silence is not held against it; a client that is silent otherwise, sends a packet that does not end, or
//! does not read its answers, is closed; when the gateway stops, what is in flight is answered first.
//!
//! ```text
//! read -> packets -> session -> one submit per read -> ingest
//! write <- answers <- session <- events <-------------- ingest
//!                        ^------ live messages <------- router
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
use super::memory::Held;
use super::outbound::Next;
use super::refusal::Refusal;
use super::session::{Session, Step};
use super::watchdog::{Overdue, Watchdog};
use super::wire::{self, MAX_PACKET};
use crate::ingest::Event;

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
    pub(super) held: Held,
}

impl<S> Wire<S> {
    /// Counts what the connection holds, `session` bytes of it in the session.
    fn count(&mut self, session: usize) {
        self.held.set(self.input.held() + self.output.capacity() + session);
    }

    /// Gives back what the buffers hold for traffic that there is not.
    fn trim(&mut self) {
        self.input.trim();
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }
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
        wire.count(session.held());
        watchdog.took(taken.any, wire.input.bytes.len());
        if !taken.messages.is_empty() {
            watchdog.set_reading(false);
            let mut submitted = pin!(link.submit(taken.messages));
            // While ingest has no room the client is not read, but it is answered.
            loop {
                let happened = tokio::select! {
                    biased;
                    () = &mut submitted => break,
                    happened = next(wire, session, signals, &mut watchdog) => happened,
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
        let happened = next(wire, session, signals, &mut watchdog).await;
        if let Err(end) = apply(happened, wire, session, signals, &mut watchdog) {
            return end;
        }
    }
}

/// What one pass over the read buffer brought.
struct Taken {
    messages: Vec<crate::ingest::Message>,
    /// Whether there was a packet at all.
    any: bool,
    /// Whether every whole packet was taken; else there was no room for more.
    all: bool,
    /// DISCONNECT; whether with the will.
    goodbye: Option<bool>,
}

/// Takes the packets that are there and have room.
fn take_packets<S>(wire: &mut Wire<S>, session: &mut Session, set_status: &impl Fn(Bytes)) -> Result<Taken, Refusal> {
    let mut taken = Taken { messages: Vec::new(), any: false, all: false, goodbye: None };
    while session.has_room(wire.output.len()) {
        let before = wire.input.bytes.len();
        let Some(packet) = wire::read(&mut wire.input.bytes, session.version(), MAX_PACKET)? else {
            taken.all = true;
            session.set_paused(false);
            return Ok(taken);
        };
        taken.any = true;
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
    Message(Next),
    TakenOver,
    Stopping,
    Tick,
}

/// Waits for the next thing to happen; may be dropped at any time without losing anything.
async fn next<S: AsyncRead + AsyncWrite>(
    wire: &mut Wire<S>,
    session: &mut Session,
    signals: &mut Signals,
    watchdog: &mut Watchdog,
) -> Happened {
    let readable = watchdog.reading && wire.input.prepare();
    watchdog.set_starving(watchdog.reading && !readable);
    let takes_messages = session.takes_messages(wire.output.len());
    let writing = !wire.output.is_empty();
    watchdog.set_writing(writing);
    let due = watchdog.due();
    tokio::select! {
        Some(event) = signals.events.recv() => Happened::Told(event),
        wrote = wire.writer.write_buf(&mut wire.output), if writing => Happened::Wrote(wrote),
        read = wire.reader.read_buf(&mut wire.input.bytes), if readable => Happened::Read(read),
        message = session.next_message(), if takes_messages => Happened::Message(message),
        _ = &mut signals.taken => Happened::TakenOver,
        _ = signals.stop.wait_for(|stop| *stop), if !signals.stopping => Happened::Stopping,
        () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Happened::Tick,
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
            watchdog.heard(now);
        }
        Happened::Message(message) => session.deliver(message, &mut wire.output),
        Happened::Wrote(Ok(_)) => watchdog.wrote(now),
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
        Happened::Tick => match watchdog.look(now) {
            Some(Overdue::Refused(refusal)) => return Err(End::Refused(refusal)),
            Some(Overdue::Idle) => {
                session.trim();
                wire.trim();
            }
            None => (),
        },
    }
    match session.ended() {
        Some(Refusal::ShuttingDown) => Err(End::Refused(Refusal::ShuttingDown)),
        Some(refusal) => Err(End::Answered(refusal)),
        None => Ok(()),
    }
}
