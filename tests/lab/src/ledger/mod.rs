//! The ledger: what was promised, kept outside the system that promised it.
//!
//! It is written by the relays and by what boards print, never by asking agent or gateway. Per restart it
//! holds a few numbers and sets of ranges, so its memory is bounded by the number of restarts and of gaps,
//! not of readings.

mod cable;
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

pub use cable::Cable;
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
    /// Restarts of which an agent may have what it did not send yet: few, of however many there are.
    behind: Arc<Mutex<BTreeSet<RestartKey>>>,
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
        Self {
            pages: Arc::default(),
            behind: Arc::default(),
            fleets: Arc::default(),
            promises,
            allowed: Arc::default(),
            timing: None,
        }
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
        Cable::new(self.clone(), self.timing.clone().map(Stopwatch::new))
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
        self.wait_behind();
        for span in spans {
            self.note((span.device, span.restart), |facts| facts.published(span.start.0..span.end.0));
        }
    }

    /// If much is not sent yet, all of that is the agent's backlog.
    fn wait_behind(&self) {
        let (mut behind, mut pages) = (self.behind(), self.lock());
        let mut unsent = 0;
        behind.retain(|key| {
            let own = pages.get(key).map_or(0, Facts::unsent);
            unsent += own;
            own > 0
        });
        if unsent > MUCH {
            for key in behind.iter() {
                pages.entry(*key).and_modify(|facts| facts.waited = facts.reached);
            }
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

    /// A device sent what ends before `end` along its cable.
    fn sends(&self, key: RestartKey, end: u64) {
        self.note(key, |facts| facts.sends(end));
        self.behind().insert(key);
    }

    /// Taken before the pages, where both are.
    fn behind(&self) -> MutexGuard<'_, BTreeSet<RestartKey>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RestartKey, Facts>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
