//! Uplink: ships the queue to the gateway, and removes from it only what the gateway acknowledged.
//!
//! Guarantees:
//! - The queue is the truth. When a connection ends, for whatever reason, what was in flight is forgotten and
//!   batches are formed again from the queue.
//! - After a refusal everything later on that connection counts as refused, so order holds.
//! - A connection on which nothing was acknowledged for `ack_timeout` although something is in flight is
//!   dropped: a dead TCP link looks alive for hours. A gateway that asked for a description may take longer.
//! - What the queue dropped, and where each restart stands, is told beside it (`accounts.rs`), through the same window.
//! - A new certificate is shown at once: the connection ends in order and the next one begins with it.
//! - Of several gateways the preferred one is used while it works (`gateways.rs`). Going on with another one is like any
//!   new connection; coming back happens between batches, over a connection that stands already.
//! - A connection that stands and acknowledges nothing counts as a failure (`progress.rs`).
//! - A metered link carries no more than its budget, and classes in their hours (`budget.rs`).
//! - Whose promise an acknowledgement is, is said whenever another gateway is connected to.
//! - What is fresh goes before what waited, which is paced (`pace.rs`).
//! - Never more publishes in flight than the gateway's Receive Maximum; two of them are kept for descriptions
//!   and status, which must never wait behind readings that wait for them.

mod accounts;
mod attempt;
mod breaker;
pub mod budget;
pub mod connection;
pub mod credentials;
mod flight;
pub mod gateways;
mod greet;
pub mod health;
mod open_classes;
pub mod orders;
mod pace;
mod progress;
mod session;
mod settings;
pub mod spool;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::time::WallClock;
use weir_protocol::{AgentId, Tenant, Timestamp};

use crate::counters::{Counters, Event};
use crate::identity::explain;
use crate::queue::Queue;
use accounts::Accounts;
use attempt::{Attempt, Failed, Standing};
pub use breaker::BreakerState;
use budget::Budget;
use connection::{Broker, Options};
use gateways::{Gateway, Gateways, Order};
pub(crate) use greet::{greet, other_scheme};
use health::{GatewayView, UplinkHealth, UplinkState};
pub use open_classes::OpenClasses;
use orders::Orders;
use pace::Pace;
pub use pace::PaceOptions;
use progress::{Progress, Stalled};
use session::{Outcome, Parts, Session};
use spool::Spool;
use status::Status;

/// How to ship.
#[derive(Clone, Debug)]
pub struct UplinkOptions {
    /// The agent.
    pub agent: AgentId,
    /// Where to: in order of preference, at least one.
    pub gateways: Vec<Gateway>,
    /// As whom; the will is filled in here.
    pub connection: Options,
    /// A batch is sent at this many bytes.
    pub batch_bytes: usize,
    /// A batch is sent this long after its first record, however small it is.
    pub batch_interval: Duration,
    /// Whether batches are compressed.
    pub compress: bool,
    /// Nothing acknowledged for this long: the connection is dead.
    pub ack_timeout: Duration,
    /// Nothing acknowledged for this long on connections that stand, although something waits.
    pub progress_timeout: Duration,
    /// Time between two status messages.
    pub status_interval: Duration,
    /// Time between two rounds of positions.
    pub position_interval: Duration,
    /// How fast what waited longer goes.
    pub pace: PaceOptions,
    /// When to try again, and when to go to another gateway.
    pub order: Order,
}

/// How the rest of the agent tells the uplink to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Go on.
    No,
    /// Nothing new will come: ship what is there, then stop.
    Empty,
    /// Say goodbye and stop; the queue keeps everything.
    Leave,
}

/// Everything the uplink works with.
pub struct Uplink {
    /// How to ship.
    pub options: UplinkOptions,
    /// What the link may carry.
    pub budget: Budget,
    /// How it is, for others to look at.
    pub health: Arc<UplinkHealth>,
    /// Changes when there is a new certificate.
    pub renewed: watch::Receiver<u64>,
    /// What to ship.
    pub queue: Arc<Queue>,
    /// The offset up to which the queue is committed.
    pub committed: watch::Receiver<u64>,
    /// Told when the gateway took something.
    pub shipped: Arc<Notify>,
    /// When to stop.
    pub drain: watch::Receiver<Drain>,
    /// For the status.
    pub clock: Arc<dyn WallClock>,
    /// For jitter.
    pub random: StdRng,
    /// What happened.
    pub counters: Arc<Counters>,
    /// What an operator publishes for this agent.
    pub orders: Orders,
}

/// The topics of one agent.
struct Topics {
    batch: String,
    describe: String,
    status: String,
    command: String,
}

impl Topics {
    fn of(agent: AgentId) -> Self {
        let topic = |purpose| Topic { tenant: Tenant::DEFAULT, agent, purpose }.to_string();
        Self {
            batch: topic(Purpose::Batch),
            describe: topic(Purpose::Describe),
            status: topic(Purpose::Status),
            command: topic(Purpose::Command),
        }
    }
}

impl Uplink {
    /// Ships until told to stop, and then until the queue is empty. Dropping it in between loses nothing.
    pub async fn run(mut self) {
        let topics = Topics::of(self.options.agent);
        self.options.connection.will = (topics.status.clone(), Status::gone(self.options.agent));
        let list = core::mem::take(&mut self.options.gateways);
        let mut gateways = Gateways::new(list, self.options.order, self.random.clone(), Instant::now());
        let mut progress = Progress::new(self.options.progress_timeout);
        let mut accounts = Accounts::new(self.options.position_interval);
        let mut spool = Spool::new(&self.queue, self.options.batch_bytes, self.options.compress);
        let mut pace = Pace::new(self.options.pace);
        // One that was made while another was in use.
        let mut standing = None;
        let mut greeted = None;
        // The gateway that hung up before it let this agent in, and what to write in place of its address.
        let mut hung_up: Option<(usize, Option<String>)> = None;
        loop {
            spool.rewind();
            self.renewed.mark_unchanged();
            let connected = match standing.take() {
                Some(standing) => Ok(standing),
                None => self.connect(&mut gateways).await,
            };
            let outcome = match connected {
                Ok(standing) => {
                    hung_up = None;
                    self.greet(&mut gateways, &standing, &mut greeted);
                    let mut parts = Parts {
                        spool: &mut spool,
                        gateways: &mut gateways,
                        accounts: &mut accounts,
                        progress: &mut progress,
                        pace: &mut pace,
                    };
                    Session::new(&mut self, &topics, &mut parts, standing).run().await
                }
                Err(Failed::Retain) => {
                    gateways.current().retain = false;
                    Outcome::Again
                }
                Err(Failed::Closed(reason)) => {
                    let at = gateways.at();
                    // Asked once: it costs a connection.
                    if greet::is_hung_up(&reason) && hung_up.as_ref().is_none_or(|(asked, _)| *asked != at) {
                        hung_up = Some((at, other_scheme(&gateways.current().endpoint).await));
                    }
                    let hint = hung_up.as_ref().filter(|(asked, _)| *asked == at).and_then(|(_, hint)| hint.as_ref());
                    Outcome::Lost(match hint {
                        Some(hint) => format!("{reason}; {hint}"),
                        None => reason,
                    })
                }
            };
            self.queue.state().lock().classes.iter_mut().for_each(|class| class.sent_below = 0);
            let now = Instant::now();
            progress.paused(now);
            match outcome {
                Outcome::Drained => return,
                // The next connection sends something smaller, so this ends by itself.
                Outcome::Again => gateways.ended(now),
                Outcome::Lost(reason) => self.lost(&mut gateways, &reason, false, now),
                Outcome::Stalled => {
                    let silent = progress.silent(now).as_secs();
                    let next = progress.stalled() == Stalled::NextGateway;
                    let reason = format!("connected, but nothing acknowledged for {silent} s");
                    self.counters.add(Event::UplinkStalled, 1);
                    self.lost(&mut gateways, &reason, next, now);
                }
                Outcome::Returned(at, preferred) => {
                    gateways.returned(at, now);
                    progress.made();
                    let gateway = gateways.current().endpoint.address.to_string();
                    self.counters.add(Event::GatewayChanges, 1);
                    tracing::info!(gateway, "back at a gateway that is preferred");
                    standing = Some(preferred);
                    continue;
                }
            }
            if *self.drain.borrow() == Drain::Empty && self.queue.is_empty() {
                return;
            }
            let before = gateways.at();
            let not_before = gateways.choose(now);
            if gateways.at() != before {
                progress.made();
                let gateway = gateways.current().endpoint.address.to_string();
                self.counters.warn(Event::GatewayChanges, || format!("going on with the gateway {gateway}"));
            }
            self.show(&mut gateways, UplinkState::Waiting);
            tokio::select! {
                biased;
                Ok(_) = self.drain.wait_for(|drain| *drain == Drain::Leave) => return,
                () = tokio::time::sleep_until(not_before) => {}
            }
        }
    }

    /// Connects to the present gateway.
    async fn connect(&mut self, gateways: &mut Gateways) -> Result<Standing, Failed> {
        gateways.tried();
        self.show(gateways, UplinkState::Connecting);
        self.attempt(gateways.current()).map_err(Failed::Closed)?.stands().await
    }

    /// Begins to connect to a gateway.
    ///
    /// # Errors
    /// What is wrong with what it is shown.
    fn attempt(&mut self, gateway: &mut Gateway) -> Result<Attempt, String> {
        let shown = gateway.credentials.read()?;
        self.spend(Budget::connection);
        let retain = gateway.retain;
        Ok(Attempt::new(connection::open(&gateway.endpoint, &shown, retain, &self.options.connection), retain))
    }

    /// A connection stands: says where, and whose promise an acknowledgement is unless it was said of this one before.
    fn greet(&mut self, gateways: &mut Gateways, standing: &Standing, greeted: &mut Option<(usize, Broker)>) {
        let greeting = &standing.greeting;
        gateways.current().retain &= greeting.retain;
        let gateway = gateways.current().endpoint.address.to_string();
        self.counters.add(Event::Connections, 1);
        tracing::info!(gateway, receive_max = greeting.receive_max, broker = %greeting.broker, "connected");
        let now = Some((gateways.at(), greeting.broker.clone()));
        if *greeted != now {
            *greeted = now;
            match &greeting.broker {
                Broker::Weir(_) => tracing::info!(gateway, "{}", greeting.broker.promise()),
                _ => tracing::warn!(gateway, "{}", greeting.broker.promise()),
            }
        }
        self.show(gateways, UplinkState::Connected);
        self.health.change(|view| {
            view.broker = Some(greeting.broker.to_string());
            view.connected_since_ms = Some(self.clock.now().as_millis());
        });
    }

    /// The present gateway failed; `for_good`: the next one is used.
    fn lost(&mut self, gateways: &mut Gateways, reason: &str, for_good: bool, now: Instant) {
        self.orders.lost(reason);
        gateways.failed(for_good, now);
        let reason = explain(reason);
        let gateway = &gateways.current().endpoint.address;
        self.counters.warn(Event::ConnectionsLost, || format!("{gateway}: {reason}"));
        self.health.change(|view| view.last_error = Some(reason));
    }

    /// Shows others what it is doing.
    fn show(&self, gateways: &mut Gateways, state: UplinkState) {
        let gateway = gateways.current().endpoint.address.to_string();
        let view = |(gateway, breaker, failures): (&Gateway, BreakerState, u32)| GatewayView {
            address: gateway.endpoint.address.to_string(),
            breaker,
            failures,
        };
        let views = gateways.states().map(view).collect();
        self.health.change(|view| {
            (view.state, view.gateway, view.gateways) = (state, Some(gateway), views);
            view.budget = self.budget.usage();
            if state != UplinkState::Connected {
                (view.connected_since_ms, view.silent_since) = (None, None);
            }
        });
    }

    /// Counts what goes over the link, and has it written down where a slow disk holds nothing up.
    fn spend(&mut self, what: impl FnOnce(&mut Budget, Timestamp)) {
        what(&mut self.budget, self.clock.now());
        let Some(portion) = self.budget.portion() else { return };
        let counters = Arc::clone(&self.counters);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = portion.save() {
                counters.warn(Event::BudgetNotSaved, || error.to_string());
            }
        });
    }
}
