//! The ledger: what was promised, kept outside the system that promised it.
//!
//! It is written by the relays and by what boards print, never by asking agent or gateway. Per restart it
//! holds a few numbers and sets of ranges, so its memory is bounded by the number of restarts and of gaps,
//! not of readings.

mod facts;
mod fleet;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;
use weir_protocol::batch::{LossKind, Span};
use weir_protocol::identity::{DeviceId, Restart};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::serial::{Down, Up};

pub use facts::Facts;
pub use fleet::Fleet;
use timing::{Stopwatch, Timing};

/// The most restarts that are remembered, fleets apart; a run with more is refused rather than forgotten in part.
pub const MAX_RESTARTS: usize = 100_000;

/// With so many readings unsent an agent may take what waits for backlog, also on a connection that stands. It does so
/// from 1,024 records on (`agent/src/uplink/spool/shelf.rs`), some of which are of sources that no cable shows.
const MUCH: u64 = 512;

/// Whose sequences: a device and one of its restarts.
pub type RestartKey = (DeviceId, Restart);

/// A shared handle of the ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    pages: Arc<Mutex<BTreeMap<RestartKey, Facts>>>,
    fleets: Arc<Mutex<Vec<Arc<fleet::Pages>>>>,
    promises: Arc<Promises>,
    allowed: Arc<Mutex<BTreeSet<LossKind>>>,
    timing: Option<Timing>,
}

/// Counts acknowledgements, so that a kill can be aimed right behind one.
#[derive(Debug)]
struct Promises {
    agent: watch::Sender<u64>,
    gateway: watch::Sender<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        let promises = Promises { agent: watch::Sender::new(0), gateway: watch::Sender::new(0) };
        let promises = Arc::new(promises);
        Self { pages: Arc::default(), fleets: Arc::default(), promises, allowed: Arc::default(), timing: None }
    }

    /// A fleet of devices that the lab drives by itself, each with this restart.
    ///
    /// # Errors
    /// More than [`MAX_RESTARTS`] devices in all fleets.
    pub fn fleet(&self, restart: Restart, devices: Vec<DeviceId>) -> Result<Fleet> {
        let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        let all = devices.len() + fleets.iter().map(|fleet| fleet.len()).sum::<usize>();
        if all > MAX_RESTARTS {
            bail!(
                "{all} driven devices in one run, expected at most {MAX_RESTARTS}; drive fewer, or in a run of their own"
            );
        }
        let (fleet, pages) = Fleet::new(restart, devices, self.promises.gateway.clone());
        fleets.push(pages);
        Ok(fleet)
    }

    /// What is counted lost as `kind` breaks no promise from now on: the run drops, damages or exports on purpose, and
    /// compares how much by itself.
    pub fn allow(&self, kind: LossKind) {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
    }

    /// The kinds of loss that break no promise in this run.
    pub fn allowed(&self) -> BTreeSet<LossKind> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An observer for one serial cable.
    pub fn cable(&self) -> Cable {
        let stopwatch = self.timing.clone().map(Stopwatch::new);
        Cable { ledger: self.clone(), device: None, early: BTreeMap::new(), stopwatch }
    }

    /// The same ledger, whose cables tell how long samples took to be acknowledged by the agent.
    pub fn timed(&self, take: Arc<dyn Fn(Duration) + Send + Sync>) -> Self {
        Self { timing: Some(Timing(take)), ..self.clone() }
    }

    /// A board says on its own stdout that the next sample of a restart takes `next`.
    pub fn sampled(&self, device: DeviceId, restart: Restart, next: u64) {
        self.note((device, restart), |facts| facts.sampled(next));
    }

    /// The first batch of a connection is on its way to the gateway: what the agent has by now is its backlog.
    pub fn begins(&self) {
        self.lock().values_mut().for_each(|facts| facts.waited = facts.reached);
    }

    /// A batch passed on its way to the gateway.
    pub fn published(&self, spans: &[Span]) {
        if self.lock().values().map(Facts::unsent).sum::<u64>() > MUCH {
            self.begins();
        }
        for span in spans {
            self.note((span.device, span.restart), |facts| facts.published(span.start.0..span.end.0));
        }
    }

    /// The batch that passed held these as readings.
    pub fn sent(&self, span: Span) {
        self.note((span.device, span.restart), |facts| facts.sent.insert(span.start.0..span.end.0));
    }

    /// The gateway acknowledged a batch.
    pub fn acknowledged(&self, spans: &[Span]) {
        for span in spans {
            self.note((span.device, span.restart), |facts| facts.gateway_acked.insert(span.start.0..span.end.0));
        }
        if !spans.is_empty() {
            self.promises.gateway.send_modify(|n| *n += 1);
        }
    }

    /// Counts the acknowledgements that the agent gave to devices.
    pub fn agent_promises(&self) -> watch::Receiver<u64> {
        self.promises.agent.subscribe()
    }

    /// Counts the PUBACKs of the gateway.
    pub fn gateway_promises(&self) -> watch::Receiver<u64> {
        self.promises.gateway.subscribe()
    }

    /// How many sequences of what the relays saw are known to exist, and how many of them the gateway acknowledged. What the
    /// lab drives by itself counts by itself.
    pub fn observed(&self) -> (u64, u64) {
        let count = |sum: (u64, u64), facts: &Facts| (sum.0 + facts.known_end(), sum.1 + facts.gateway_acked.len());
        self.lock().values().fold((0, 0), count)
    }

    /// A copy of everything known.
    pub fn pages(&self) -> BTreeMap<RestartKey, Facts> {
        let mut pages = self.lock().clone();
        for fleet in self.fleets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (key, facts) in fleet.copy() {
                pages.entry(key).or_default().merge(&facts);
            }
        }
        pages
    }

    /// A device with a volatile ring says which restarts it holds: the others went with its power.
    fn holds_only(&self, device: DeviceId, held: &[Restart]) {
        let mut pages = self.lock();
        let own = pages.iter_mut().filter(|((whose, restart), _)| *whose == device && !held.contains(restart));
        own.for_each(|(_, facts)| facts.gone = true);
    }

    fn note(&self, key: RestartKey, what: impl FnOnce(&mut Facts)) {
        // Restart 0 is no restart: the device waits for a number.
        if key.1 == Restart::UNBOUND {
            return;
        }
        let mut pages = self.lock();
        assert!(pages.len() < MAX_RESTARTS || pages.contains_key(&key), "more than {MAX_RESTARTS} restarts in one run");
        what(pages.entry(key).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RestartKey, Facts>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the ledger sees of one serial cable. Only Hello names the device, so what came before it waits here.
#[derive(Debug)]
pub struct Cable {
    ledger: Ledger,
    device: Option<DeviceId>,
    early: BTreeMap<Restart, Facts>,
    stopwatch: Option<Stopwatch>,
}

/// Restarts that may be heard of on a cable before its device is.
const EARLY: usize = 64;

impl Cable {
    /// A message of the device passed.
    pub fn up(&mut self, message: &Up<'_>) {
        match message {
            Up::Hello(hello) => {
                self.meet(hello.device);
                let durable = hello.ring == Ring::Durable;
                let held: Vec<_> = hello.held.iter().filter_map(Result::ok).map(|held| held.restart).collect();
                if !durable {
                    self.ledger.holds_only(hello.device, &held);
                }
                for held in hello.held.iter().filter_map(Result::ok) {
                    self.note(held.restart, |facts| {
                        facts.durable |= durable;
                        facts.held(held.base.0, held.next.0);
                    });
                }
            }
            Up::Readings(run) => {
                if let Some(stopwatch) = &mut self.stopwatch {
                    stopwatch.sent(run);
                }
                self.note(run.restart, |facts| {
                    facts.held(run.base.0, run.next.0);
                    facts.sends(run.first.0 + run.readings.iter().count() as u64);
                });
            }
            Up::Describe(_) | Up::TimeRequest { .. } | Up::CommandResult(_) => {}
        }
    }

    /// A message of the agent passed.
    pub fn down(&mut self, message: &Down) {
        if let Down::Ack { restart, accepted } = message {
            self.note(*restart, |facts| facts.agent_acked(accepted.0));
            if let Some(stopwatch) = &mut self.stopwatch {
                stopwatch.acknowledged(*restart, accepted.0);
            }
            self.ledger.promises.agent.send_modify(|n| *n += 1);
        }
    }

    fn meet(&mut self, device: DeviceId) {
        self.device = Some(device);
        for (restart, early) in std::mem::take(&mut self.early) {
            self.ledger.note((device, restart), |facts| facts.merge(&early));
        }
    }

    fn note(&mut self, restart: Restart, what: impl FnOnce(&mut Facts)) {
        match self.device {
            Some(device) => self.ledger.note((device, restart), what),
            None if self.early.len() < EARLY || self.early.contains_key(&restart) => {
                what(self.early.entry(restart).or_default());
            }
            None => {}
        }
    }
}
