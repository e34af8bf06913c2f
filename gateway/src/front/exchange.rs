//! The exchange between a client and its [`Session`], from CONNACK to the end.
//!
//! What it guarantees: a client is not read while ingest, its window, its answers or the read buffers have no room,
//! and that silence is not held against it; a client that is silent otherwise, sends a packet that does not end, or
//! does not read its answers, is closed; when the gateway stops, what is in flight is answered first; what a client asked to
//! be retained is retained although its goodbye is right behind it ([MQTT-3.3.1-5]); a right that is taken away holds for the
//! next message.
//!
//! ```text
//! read -> packets -> session -> one submit per read -> ingest
//! write <- answers <- session <- events <-------------- ingest
//!                        ^------ live messages <------- router
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::Link;
use super::outbound::Next;
use super::refusal::{Refusal, Refused};
use super::session::{Goodbye, Session, Step, ToRetain};
use super::watchdog::{Overdue, Watchdog};
use super::wire::{Signals, Wire};
use crate::ingest::Event;
use crate::limits::Publisher;
use crate::mqtt::packet::{Packet, Publish};
use crate::mqtt::read::{MAX_PACKET, read};
use crate::sessions::{self, NotWritten, Taken, Written};

/// How soon positions that moved are handed in.
const SAVE: Duration = Duration::from_secs(1);

/// How long what was in front of the end of a connection is waited for; less than the next connection of a client waits.
const LAST: Duration = Duration::from_secs(5);

/// Why a session is over.
#[derive(Debug)]
pub(super) enum End {
    /// The transport is gone.
    Gone,
    /// DISCONNECT of the client.
    Goodbye(Goodbye),
    /// The gateway ends it.
    Refused(Refused),
    /// The gateway ends it after an answer that was counted already.
    Answered(Refused),
}

impl<R: Into<Refused>> From<R> for End {
    fn from(refused: R) -> Self {
        Self::Refused(refused.into())
    }
}

/// A client and its session.
pub(super) struct Exchange<'c, S, F> {
    wire: &'c mut Wire<S>,
    session: Session,
    signals: Signals,
    watchdog: Watchdog,
    rates: Publisher,
    /// When the client is read again that was over a rate.
    paused_until: Option<Instant>,
    /// Retains a message.
    retain: F,
    /// Messages that are being retained, in their order: the number of each, and what there is to wait for.
    retaining: VecDeque<(u64, Written)>,
    /// When the positions of the session are handed in.
    save_at: Option<Instant>,
}

impl<'c, S, F> Exchange<'c, S, F>
where
    S: AsyncRead + AsyncWrite,
    F: Fn(&Publish) -> Result<Written, Refusal>,
{
    /// Of a client that may be silent for `silence`.
    pub(super) fn new(
        wire: &'c mut Wire<S>,
        session: Session,
        signals: Signals,
        (rates, silence): (Publisher, Duration),
        retain: F,
    ) -> Self {
        Self {
            wire,
            session,
            signals,
            watchdog: Watchdog::new(silence),
            rates,
            paused_until: None,
            retain,
            retaining: VecDeque::new(),
            save_at: None,
        }
    }

    /// Moves packets, messages, events and answers until something ends the session, and what is to be retained is.
    pub(super) async fn run<L: Link>(&mut self, link: &mut L) -> End {
        let end = loop {
            if let Err(end) = self.turn(link).await {
                break end;
            }
        };
        // A commit that takes longer decides without us; then the message is stored, and not retained.
        let _ = timeout(LAST, self.retain_rest()).await;
        end
    }

    /// Takes what was read, and waits for the next thing to happen.
    async fn turn<L: Link>(&mut self, link: &mut L) -> Result<(), End> {
        let taken = self.take_packets()?;
        self.wire.count(self.session.held());
        self.watchdog.took(taken.any, self.wire.input.bytes.len());
        if let Some(goodbye) = taken.goodbye {
            // Whatever becomes of its transport from here on: who said goodbye has taken its will back.
            let _ = timeout(LAST, self.hand_in_last(link)).await;
            return Err(End::Goodbye(goodbye));
        }
        if let Some(written) = self.session.flush() {
            self.watchdog.set_reading(false);
            self.attend(written).await?.map_err(|_| Refusal::Commit)?;
        }
        self.session.committed(&mut self.wire.output);
        let messages = self.session.take_messages();
        if !messages.is_empty() {
            // While ingest has no room the client is not read, but it is answered.
            self.watchdog.set_reading(false);
            self.attend(link.submit(messages)).await?;
        }
        self.watchdog.set_reading(taken.all);
        let happened = self.next().await;
        self.apply(happened)
    }

    /// Hands in what was in front of a goodbye, unless the session cannot remember it.
    async fn hand_in_last<L: Link>(&mut self, link: &mut L) {
        let remembered = match self.session.flush() {
            Some(written) => written.await.is_ok(),
            None => true,
        };
        if remembered {
            self.session.committed(&mut self.wire.output);
            link.submit(self.session.take_messages()).await;
        }
    }

    /// Waits until what the client asked to be retained is, or will not be.
    async fn retain_rest(&mut self) {
        while !self.retaining.is_empty() || self.session.is_to_retain() {
            let Self { signals, retaining, .. } = self;
            let happened = tokio::select! {
                Some(event) = signals.events.recv() => Happened::Told(event),
                written = first(retaining), if !retaining.is_empty() => Happened::Retained(written),
                else => return,
            };
            if self.apply(happened).is_err() {
                return;
            }
        }
    }

    /// The connection is over: gives the session back.
    pub(super) fn finish(self, end: &End) {
        let end = match end {
            End::Goodbye(Goodbye { with_will, session_expiry }) => {
                sessions::End { will: *with_will, expiry: *session_expiry }
            }
            End::Gone | End::Refused(_) | End::Answered(_) => sessions::End { will: true, expiry: None },
        };
        self.session.detach(end);
    }

    /// Waits for something while the client is answered and not read.
    async fn attend<T>(&mut self, future: impl Future<Output = T>) -> Result<T, End> {
        let mut future = pin!(future);
        loop {
            let happened = tokio::select! {
                biased;
                done = &mut future => return Ok(done),
                happened = self.next() => happened,
            };
            self.apply(happened)?;
        }
    }

    /// Takes the packets that are there and have room.
    fn take_packets(&mut self) -> Result<Pass, End> {
        let mut taken = Pass { any: false, all: false, goodbye: None };
        let now = Instant::now();
        if self.paused_until.is_some_and(|until| now < until) {
            return Ok(taken);
        }
        self.paused_until = None;
        while self.paused_until.is_none() && self.session.has_room(self.wire.output.len()) {
            let before = self.wire.input.bytes.len();
            let Some(packet) = read(&mut self.wire.input.bytes, self.session.version(), MAX_PACKET)? else {
                taken.all = true;
                self.session.set_paused(false);
                return Ok(taken);
            };
            taken.any = true;
            let bytes = before - self.wire.input.bytes.len();
            if matches!(packet, Packet::Publish(_)) {
                let pause = self.rates.publish(bytes, now.into_std());
                self.paused_until = pause.map(|pause| now + pause);
            }
            match self.session.handle(packet, bytes, &mut self.wire.output)? {
                Step::Nothing => (),
                Step::Retain(ToRetain { ticket, publish }) => self.retain(ticket, &publish),
                Step::Goodbye(goodbye) => {
                    taken.goodbye = Some(goodbye);
                    return Ok(taken);
                }
            }
        }
        self.session.set_paused(true);
        Ok(taken)
    }

    /// Retains a message and answers it when that is done.
    fn retain(&mut self, ticket: u64, publish: &Publish) {
        match (self.retain)(publish) {
            Ok(written) => self.retaining.push_back((ticket, written)),
            Err(refusal) => self.session.retained(ticket, Err(refusal), &mut self.wire.output),
        }
    }

    /// Waits for the next thing to happen; may be dropped at any time without losing anything.
    async fn next(&mut self) -> Happened {
        let Self { wire, session, signals, watchdog, retaining, .. } = self;
        let readable = watchdog.reading && wire.input.prepare();
        watchdog.set_starving(watchdog.reading && !readable);
        let takes_messages = session.takes_messages(wire.output.len());
        let writing = !wire.output.is_empty();
        watchdog.set_writing(writing);
        let due = [watchdog.due(), self.paused_until, self.save_at].into_iter().flatten().min();
        let Signals { events, taken, revoked, stop, stopping } = signals;
        let other = async {
            tokio::select! {
                Some(event) = events.recv() => Happened::Told(event),
                wrote = wire.writer.write_buf(&mut wire.output), if writing => Happened::Wrote(wrote),
                read = wire.reader.read_buf(&mut wire.input.bytes), if readable => Happened::Read(read),
                message = session.next_message(), if takes_messages => Happened::Message(message),
                written = first(retaining), if !retaining.is_empty() => Happened::Retained(written),
                taken = taken => Happened::Over(match taken {
                    Ok(Taken::Over) | Err(_) => Refusal::TakenOver,
                    Ok(Taken::Deleted) => Refusal::SentAway,
                }),
                _ = stop.wait_for(|stop| *stop), if !*stopping => Happened::Stopping,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Happened::Tick,
            }
        };
        tokio::select! {
            biased;
            // In front of everything else: no message is delivered any more that was committed afterwards.
            () = revoked => Happened::Over(Refusal::SentAway),
            happened = other => happened,
        }
    }

    /// Acts on what happened; an error ends the session.
    fn apply(&mut self, happened: Happened) -> Result<(), End> {
        let now = Instant::now();
        match happened {
            Happened::Read(Ok(0) | Err(_)) | Happened::Wrote(Ok(0) | Err(_)) => return Err(End::Gone),
            Happened::Read(Ok(length)) => {
                self.wire.input.learn(length);
                self.watchdog.heard(now);
            }
            Happened::Message(message) => self.session.deliver(message, &mut self.wire.output),
            Happened::Wrote(Ok(_)) => self.watchdog.wrote(now),
            Happened::Told(event) => {
                self.settle(event)?;
                // Everything that was told meanwhile leaves with the same write.
                while let Ok(event) = self.signals.events.try_recv() {
                    self.settle(event)?;
                }
            }
            Happened::Retained(written) => {
                // It is decided either way, and not to be waited for again.
                let decided = self.retaining.pop_front();
                written.map_err(|_| Refusal::Commit)?;
                if let Some((ticket, _)) = decided {
                    self.session.retained(ticket, Ok(()), &mut self.wire.output);
                }
            }
            Happened::Over(refusal) => return Err(refusal.into()),
            Happened::Stopping => {
                self.signals.stopping = true;
                self.session.end_with(Refusal::ShuttingDown);
            }
            Happened::Tick => self.tick(now)?,
        }
        if self.save_at.is_none() && self.session.has_moved() {
            self.save_at = Some(now + SAVE);
        }
        match self.session.ended() {
            Some(Refusal::ShuttingDown) => Err(Refusal::ShuttingDown.into()),
            Some(refusal) => Err(End::Answered(refusal.into())),
            None => Ok(()),
        }
    }

    fn tick(&mut self, now: Instant) -> Result<(), End> {
        if self.save_at.is_some_and(|at| at <= now) {
            self.save_at = None;
            self.session.save();
        }
        match self.watchdog.look(now) {
            Some(Overdue::Refused(refusal)) => return Err(refusal.into()),
            Some(Overdue::Idle) => {
                self.session.trim();
                self.wire.trim();
                self.retaining.shrink_to_fit();
            }
            None => (),
        }
        Ok(())
    }

    fn settle(&mut self, event: Event) -> Result<(), End> {
        for ToRetain { ticket, publish } in self.session.settle(event, &mut self.wire.output)? {
            self.retain(ticket, &publish);
        }
        Ok(())
    }
}

/// Waits for the first of what is being retained; may be dropped at any time without losing anything.
async fn first(retaining: &mut VecDeque<(u64, Written)>) -> Result<(), NotWritten> {
    match retaining.front_mut() {
        Some((_, written)) => written.await,
        None => std::future::pending().await,
    }
}

/// What one pass over the read buffer brought.
struct Pass {
    /// Whether there was a packet at all.
    any: bool,
    /// Whether every whole packet was taken; else there was no room for more.
    all: bool,
    goodbye: Option<Goodbye>,
}

/// One thing that happened to a connection.
enum Happened {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Told(Event),
    Message(Next),
    Retained(Result<(), NotWritten>),
    Over(Refusal),
    Stopping,
    Tick,
}
