//! One connection: sends what is due, takes answers, and comes back whenever it was lost.
//!
//! It is one task that waits for its socket, for the next due time or for an order. It never waits for an answer before it
//! sends, only for room in its window, and it never gives up what is not acknowledged.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use weir_protocol::{DeviceId, Timestamp};

use super::content::Content;
use super::entrance::Entrance;
use super::line::{Cargo, Line};
use super::plan::LoadPlan;
use super::schedule::Schedule;
use super::tally::Tally;
use super::values::mix;
use super::wire::{Answer, Wire};
use crate::ledger::Fleet;

/// How long a connection may take to be let in.
const ENTER: Duration = Duration::from_secs(30);
/// Waits between attempts: doubled from the first to the last, less up to half of it by chance.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(2);
/// The first wait after a refusal: whoever is over a limit comes back later.
const REFUSED_WAIT: Duration = Duration::from_millis(500);
const REFUSED_LAST_WAIT: Duration = Duration::from_secs(10);
/// Bytes that wait for a socket; beyond it nothing is formed.
const OUTPUT: usize = 64 * 1024;
/// A wait for nothing in particular.
const LONG: Duration = Duration::from_secs(3600);
/// PUBACK: dead-lettered durably.
const DEAD_LETTERED: u8 = 0x99;

/// What all connections are told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// When the load began, on both clocks; until then devices are described.
    pub(super) began: Option<(Instant, Timestamp)>,
    /// No reading is due from this time on.
    pub(super) until: Option<u64>,
    /// How often all connections were cut.
    pub(super) cuts: u32,
    /// It is over.
    pub(super) is_over: bool,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) plan: LoadPlan,
    pub(super) schedule: Schedule,
    pub(super) content: Content,
    pub(super) fleet: Fleet,
    pub(super) tally: Tally,
    pub(super) entrance: Entrance,
    /// Connections that have described their devices, and devices that are described.
    pub(super) ready: AtomicU32,
    pub(super) described: AtomicU32,
    /// A device that is another agent's, if there is one.
    pub(super) taken: OnceLock<DeviceId>,
    /// Connections that begin at a time.
    pub(super) gate: Semaphore,
}

/// Why a connection ended.
enum Gone {
    /// It was told to.
    Cut,
    /// It was refused, for this reason.
    Refused(String),
    /// It was lost, for this reason.
    Lost(String),
}

impl From<std::io::Error> for Gone {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.kind().to_string())
    }
}

impl From<anyhow::Error> for Gone {
    fn from(error: anyhow::Error) -> Self {
        Self::Lost(format!("{error:#}"))
    }
}

/// One connection.
pub(super) struct Connection {
    number: u32,
    shared: Arc<Shared>,
    orders: watch::Receiver<Order>,
    line: Line,
    is_ready: bool,
    attempts: u32,
}

impl Connection {
    /// Not begun.
    pub(super) fn new(number: u32, shared: Arc<Shared>, orders: watch::Receiver<Order>) -> Self {
        Self { number, shared, orders, line: Line::default(), is_ready: false, attempts: 0 }
    }

    /// Goes on until it is told that it is over; how far it came.
    pub(super) async fn run(mut self) -> (u32, Line) {
        let mut orders = self.orders.clone();
        tokio::select! {
            biased;
            // The load may be gone without a word.
            _ = orders.wait_for(|order| order.is_over) => {}
            () = self.live() => {}
        }
        (self.number, self.line)
    }

    async fn live(&mut self) {
        loop {
            let gone = match self.session().await {
                Err(gone) => gone,
                Ok(never) => match never {},
            };
            let now = self.now();
            let wait = match gone {
                Gone::Cut => continue,
                Gone::Refused(reason) => {
                    self.shared.tally.refused(now, &reason);
                    self.wait(REFUSED_WAIT, REFUSED_LAST_WAIT)
                }
                Gone::Lost(reason) => {
                    self.shared.tally.refused(now, &reason);
                    self.wait(FIRST_WAIT, LAST_WAIT)
                }
            };
            self.attempts = self.attempts.saturating_add(1);
            sleep(wait).await;
        }
    }

    /// How long to stay away.
    fn wait(&self, first: Duration, last: Duration) -> Duration {
        let wait = first.saturating_mul(1 << self.attempts.min(16)).min(last);
        let chance = mix(self.shared.plan.seed ^ mix(u64::from(self.number) << 32 | u64::from(self.attempts)));
        wait - wait.mul_f64(chance as f64 / u64::MAX as f64 / 2.0)
    }

    /// Nanoseconds since the load began.
    fn now(&self) -> u64 {
        let began = self.orders.borrow().began.map(|(began, _)| began);
        began.map_or(0, |began| Schedule::time(began.elapsed()))
    }

    /// One connection, from its beginning to its end.
    async fn session(&mut self) -> Result<std::convert::Infallible, Gone> {
        let cuts = self.orders.borrow_and_update().cuts;
        let shared = Arc::clone(&self.shared);
        let (mut wire, window) = {
            // At first a few at a time, as a fleet comes; in a storm all at once.
            let _turn = if self.is_ready { None } else { shared.gate.acquire().await.ok() };
            timeout(ENTER, self.enter()).await.map_err(|_| Gone::Lost("no answer to CONNECT".to_owned()))??
        };
        self.line.connected();
        shared.tally.connected(self.now());
        let gone = self.serve(&mut wire, cuts, window).await;
        shared.tally.disconnected(self.now());
        gone
    }

    async fn enter(&self) -> Result<(Wire, u16), Gone> {
        let plan = &self.shared.plan;
        let mut wire = self.shared.entrance.open(plan, self.number).await?;
        loop {
            wire.turn().await?;
            match wire.next()? {
                Some(Answer::Connected { window }) => return Ok((wire, window.min(plan.window))),
                Some(Answer::Refused(code)) => return Err(Gone::Refused(format!("CONNACK {code:#04x}"))),
                Some(Answer::Disconnected(code)) => return Err(Gone::Refused(format!("DISCONNECT {code:#04x}"))),
                _ => {}
            }
        }
    }

    async fn serve(&mut self, wire: &mut Wire, cuts: u32, window: u16) -> Result<std::convert::Infallible, Gone> {
        loop {
            while let Some(answer) = wire.next()? {
                self.take(answer)?;
            }
            wire.rest();
            let now = Instant::now();
            let silent = self.line.oldest().map(|sent| sent + self.shared.plan.ack_timeout);
            if silent.is_some_and(|silent| silent <= now) {
                return Err(Gone::Lost("no PUBACK within the time".to_owned()));
            }
            let wake = self.fill(wire, window, now);
            wire.flush()?;
            let wake = silent.map_or(wake, |silent| silent.min(wake));
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    // The load is gone: `run` ends this.
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    if self.orders.borrow().cuts != cuts {
                        return Err(Gone::Cut);
                    }
                }
                turned = wire.turn() => turned?,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Forms and sends what is due and has room; when to look again if nothing else happens.
    fn fill(&mut self, wire: &mut Wire, window: u16, now: Instant) -> Instant {
        let shared = Arc::clone(&self.shared);
        let (number, content) = (self.number, &shared.content);
        let of = shared.schedule.devices_of(number);
        let has_room = |line: &Line, wire: &Wire| line.under_way() < usize::from(window) && wire.waiting() < OUTPUT;
        while content.describes() && self.line.describe < of {
            if !has_room(&self.line, wire) {
                return now + LONG;
            }
            let slot = self.line.describe;
            let id = self.line.send(Cargo::Description(slot), now);
            content.describe(shared.fleet.key(shared.schedule.device(number, slot)), number, id, wire);
        }
        if !self.is_ready && (!content.describes() || self.line.described == of) {
            self.is_ready = true;
            shared.ready.fetch_add(1, Relaxed);
        }
        let order = *self.orders.borrow();
        let Some((began, wall)) = order.began else { return now + LONG };
        let elapsed = Schedule::time(now.saturating_duration_since(began));
        let until = order.until.unwrap_or(u64::MAX);
        let due = shared.schedule.count(number, elapsed.min(until));
        loop {
            let next = self.line.next;
            let most = content.most();
            let full = shared.schedule.due(number, next + u64::from(most) - 1);
            let gathered = shared.schedule.due(number, next).saturating_add(content.gather());
            // What is due is sent when its batch is full, or when its first reading has waited; at the end at once.
            let ready = if next < due && order.until.is_some() { 0 } else { full.min(gathered) };
            if next >= due || ready > elapsed {
                let is_over = next >= due && until <= elapsed;
                return if is_over { now + LONG } else { began + Duration::from_nanos(ready) };
            }
            if !has_room(&self.line, wire) {
                return now + LONG;
            }
            let positions = next..due.min(next + u64::from(most));
            let (before, all) = (self.line.reached, positions.end - positions.start);
            // Before it can be answered.
            shared.fleet.sent(shared.schedule.runs(number, positions.clone()));
            let id = self.line.send(Cargo::Readings(positions.clone()), now);
            let fresh = self.line.reached - before;
            shared.tally.sent(elapsed, fresh, all - fresh);
            content.publish(&shared, number, positions, wall, id, wire);
        }
    }

    fn take(&mut self, answer: Answer) -> Result<(), Gone> {
        match answer {
            Answer::Acknowledged { id, code } if code < 0x80 || code == DEAD_LETTERED => {
                // An answer is an answer once; another one is for nothing that is under way.
                let Some(cargo) = self.line.acknowledge(id) else { return Ok(()) };
                self.attempts = 0;
                if code == DEAD_LETTERED {
                    self.shared.tally.refused(self.now(), "PUBACK 0x99, dead-lettered");
                }
                let shared = &self.shared;
                match cargo {
                    Cargo::Readings(positions) => {
                        shared.fleet.acknowledged(shared.schedule.runs(self.number, positions.clone()));
                        shared.tally.acknowledged(self.now(), self.number, positions, code == DEAD_LETTERED);
                    }
                    Cargo::Description(slot) => {
                        if code == DEAD_LETTERED {
                            // Of several one is enough to be told.
                            let device = shared.schedule.device(self.number, slot);
                            let _ = shared.taken.set(shared.fleet.key(device).0);
                        }
                        shared.described.fetch_add(1, Relaxed);
                    }
                }
                Ok(())
            }
            // Everything behind it is refused too: this connection is of no more use.
            Answer::Acknowledged { code, .. } => Err(Gone::Refused(format!("PUBACK {code:#04x}"))),
            Answer::Disconnected(code) => Err(Gone::Refused(format!("DISCONNECT {code:#04x}"))),
            Answer::Connected { .. } | Answer::Refused(_) | Answer::Other => Ok(()),
        }
    }
}
