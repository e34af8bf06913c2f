//! One connection, from CONNACK to its end.
//!
//! Order on it: subscribe to commands, status, every description that is known, positions, claims, then batches; a
//! description that becomes known goes before the next batch.
//!
//! While another gateway than the preferred one is used, the preferred one is connected to beside it when its time comes.
//! Once that stands nothing more is sent here, what is in flight is waited for, and the uplink goes on over there.

mod answers;
mod elsewhere;
mod send;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::accounts::Accounts;
use super::attempt::{Attempt, Standing};
use super::connection::{Connection, Greeting};
use super::flight::Flights;
use super::gateways::Gateways;
use super::pace::Pace;
use super::progress::Progress;
use super::spool::{LaneId, Spool};
use super::status::Status;
use super::{Drain, OpenClasses, Topics, Uplink};
use elsewhere::stands;
use send::What;

/// How long the answer of a preferred gateway is waited for once the present connection is over.
const TAKEN_OVER: Duration = Duration::from_secs(2);

/// So many events of a connection are taken in a row; then everything else has its turn.
const HEARD_AT_ONCE: usize = 64;

/// How a connection ended.
pub(super) enum Outcome {
    /// Everything was shipped, and nothing more will come.
    Drained,
    /// Connect again at once.
    Again,
    /// Connect again after a pause.
    Lost(String),
    /// Nothing was acknowledged for too long although something was to be sent.
    Stalled,
    /// Go on at a preferred gateway, which is connected to.
    Returned(usize, Standing),
}

/// What outlives a connection.
pub(super) struct Parts<'a> {
    pub(super) spool: &'a mut Spool,
    pub(super) gateways: &'a mut Gateways,
    pub(super) accounts: &'a mut Accounts,
    pub(super) progress: &'a mut Progress,
    pub(super) pace: &'a mut Pace,
}

pub(super) struct Session<'a> {
    uplink: &'a mut Uplink,
    topics: &'a Topics,
    spool: &'a mut Spool,
    gateways: &'a mut Gateways,
    accounts: &'a mut Accounts,
    progress: &'a mut Progress,
    pace: &'a mut Pace,
    connection: Connection,
    greeting: Greeting,
    flights: Flights,
    receive_max: usize,
    /// What hours and budget let through, and until when.
    open: OpenClasses,
    may_tell: bool,
    gate_at: Option<Instant>,
    /// A preferred gateway that is being connected to, and one that is.
    probe: Option<(usize, Attempt)>,
    returning: Option<(usize, Standing)>,
    /// Descriptions to send, and up to which revision they were collected.
    descriptions: VecDeque<Vec<u8>>,
    described: Option<u64>,
    /// Events in a row, without a look at anything else.
    heard: usize,
    /// When something was last acknowledged, or first put in flight.
    progress_at: Instant,
    /// Until when the gateway may keep a batch waiting for a description that it asked for.
    patient_until: Instant,
    /// When the batch that a lane is forming must go.
    due: BTreeMap<LaneId, Instant>,
    /// When there is something to send, if only time must pass.
    send_at: Option<Instant>,
    status_at: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        uplink: &'a mut Uplink,
        topics: &'a Topics,
        parts: &'a mut Parts<'_>,
        standing: Standing,
    ) -> Self {
        let Parts { spool, gateways, accounts, progress, pace } = parts;
        let Standing { connection, greeting } = standing;
        let now = Instant::now();
        let receive_max = usize::from(greeting.receive_max.min(uplink.options.connection.window)).max(1);
        Self {
            uplink,
            topics,
            spool,
            gateways,
            accounts,
            progress,
            pace,
            connection,
            greeting,
            flights: Flights::default(),
            receive_max,
            open: OpenClasses::ALL,
            may_tell: true,
            gate_at: None,
            probe: None,
            returning: None,
            descriptions: VecDeque::new(),
            described: None,
            heard: 0,
            progress_at: now,
            patient_until: now,
            due: BTreeMap::new(),
            send_at: None,
            status_at: now,
        }
    }

    /// Works on this connection until it ends.
    pub(super) async fn run(mut self) -> Outcome {
        let outcome = self.work().await;
        let is_over_for_good = matches!(outcome, Outcome::Drained | Outcome::Returned(..));
        if let Some((at, mut attempt)) = self.probe.take() {
            // A gateway that is reached at two addresses ends this connection because the other one begins: its client
            // id is the same.
            let patience = if is_over_for_good { Duration::ZERO } else { TAKEN_OVER };
            match tokio::time::timeout(patience, attempt.stands()).await {
                Ok(Ok(standing)) => self.returning = Some((at, standing)),
                _ => self.gateways.probe_dropped(at),
            }
        }
        match (outcome, self.returning.take()) {
            // What ended this connection does not matter if another one stands.
            (Outcome::Again | Outcome::Lost(_) | Outcome::Stalled, Some((at, standing))) => {
                Outcome::Returned(at, standing)
            }
            (outcome, _) => outcome,
        }
    }

    async fn work(&mut self) -> Outcome {
        self.accounts.connected();
        self.pace.connected(&mut self.uplink.random);
        // Which brings what was missed, too.
        self.uplink.orders.take_again();
        let wanted = std::iter::once(&self.topics.command).chain(self.uplink.orders.topics());
        if wanted.map(|topic| self.connection.subscribe([topic.as_str()], true)).any(|subscribed| subscribed.is_err()) {
            return Outcome::Lost("the event loop takes nothing".to_owned());
        }
        loop {
            if self.uplink.orders.take_again()
                && self.uplink.orders.topics().any(|topic| self.connection.subscribe([topic.as_str()], true).is_err())
            {
                return Outcome::Lost("the event loop takes nothing".to_owned());
            }
            self.look_at_the_clock();
            if self.returning.is_none()
                && let Err(outcome) = self.send()
            {
                return outcome;
            }
            if self.flights.is_empty()
                && let Some((at, standing)) = self.returning.take()
            {
                self.leave_behind().await;
                return Outcome::Returned(at, standing);
            }
            let draining = *self.uplink.drain.borrow() == Drain::Empty;
            if draining && self.has_said_everything() {
                return self.finish().await;
            }
            if *self.uplink.drain.borrow() == Drain::Leave {
                self.connection.disconnect().await;
                return Outcome::Drained;
            }
            let now = Instant::now();
            self.progress.waiting(self.flights.batches() > 0, now);
            let silent_since = now.checked_sub(self.progress.silent(now));
            self.uplink.health.change(|view| view.silent_since = silent_since);
            let stalls_at = self.progress.due_at();
            let may_probe = self.probe.is_none() && self.returning.is_none() && !draining;
            let probe_at = self.gateways.probe().filter(|_| may_probe);
            let dead_at = self.progress_at.max(self.patient_until) + self.uplink.options.ack_timeout;
            let waiting = !self.flights.is_empty();
            // With everything in flight that may be, only an answer changes anything: no timer wakes for less.
            let may_send = self.flights.len() < self.receive_max && self.returning.is_none();
            let may_tell = may_send && self.may_tell;
            let send_at = self.send_at.filter(|_| may_send);
            // Whoever talks without an end keeps nothing else from its turn.
            let overdue = self.heard >= HEARD_AT_ONCE;
            // In an order, so that a simulation takes the same way twice: what the gateway says goes first, because an
            // acknowledgement that is there already puts the deadlines off.
            tokio::select! {
                biased;
                event = self.connection.events.recv(), if !overdue => {
                    self.heard += 1;
                    if let Some(outcome) = self.on(event) {
                        return outcome;
                    }
                    continue;
                }
                // Nobody is left to tell once the intake ended, which is no event.
                Ok(()) = self.uplink.committed.changed() => {}
                Ok(()) = self.uplink.drain.changed() => {}
                () = self.uplink.orders.told(), if may_send && self.greeting.retain => {}
                // What is in flight is sent again, and is a repeat if it was stored.
                Ok(()) = self.uplink.renewed.changed() => {
                    self.connection.disconnect().await;
                    return Outcome::Again;
                }
                () = sleep_until(dead_at), if waiting => {
                    let waited = self.uplink.options.ack_timeout.as_secs();
                    return Outcome::Lost(format!("nothing acknowledged for {waited} s"));
                }
                () = sleep_until(stalls_at.unwrap_or(dead_at)), if stalls_at.is_some() => return Outcome::Stalled,
                stands = stands(&mut self.probe) => self.probed(stands),
                () = sleep_until(probe_at.map_or(dead_at, |(at, _)| at)), if probe_at.is_some() => self.probe(),
                () = sleep_until(send_at.unwrap_or(dead_at)), if send_at.is_some() => {}
                () = sleep_until(self.gate_at.unwrap_or(dead_at)), if self.gate_at.is_some() => {}
                () = sleep_until(self.status_at), if may_tell => {}
                () = sleep_until(self.accounts.due_at), if may_tell => {}
                () = std::future::ready(()), if overdue => {}
            }
            self.heard = 0;
        }
    }

    /// Whether the gateway has everything that may be sent, and was told so.
    fn has_said_everything(&self) -> bool {
        let in_flight = self.flights.batches() + self.flights.accounts();
        let mut open = self.spool.lanes().filter(|lane| self.open.has(lane.class));
        if in_flight > 0 || open.any(|lane| self.spool.is_forming(lane)) {
            return false;
        }
        match self.uplink.queue.is_empty() {
            true => !self.accounts.is_waiting() || !self.may_tell,
            // Everything that may go is in flight or forming once `send` had its turn.
            false => self.open != OpenClasses::ALL,
        }
    }

    async fn finish(&mut self) -> Outcome {
        if self.open != OpenClasses::ALL {
            tracing::info!("what hours or budget hold back stays in the queue");
        }
        let stopped = Status::stopped(self.uplink.options.agent);
        if self.publish(What::Status, stopped.into_bytes()).is_ok() {
            self.connection.disconnect().await;
        }
        Outcome::Drained
    }
}
