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
//! - What is fresh goes before what waited, which is paced (`pace.rs`).
//! - Never more publishes in flight than the gateway's Receive Maximum; two of them are kept for descriptions
//!   and status, which must never wait behind readings that wait for them.

mod accounts;
pub mod connection;
pub mod credentials;
mod flight;
pub mod orders;
mod pace;
mod session;
pub mod spool;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::{Notify, watch};
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::time::WallClock;
use weir_protocol::{AgentId, Tenant};

use crate::backoff::Backoff;
use crate::counters::{Counters, Event};
use crate::identity::explain;
use crate::queue::Queue;
use accounts::Accounts;
use connection::{Connection, Options};
use credentials::Credentials;
use orders::Orders;
use pace::Pace;
pub use pace::PaceOptions;
use session::{Outcome, Parts, Session};
use spool::Spool;
use status::Status;

/// How to ship.
#[derive(Clone, Debug)]
pub struct UplinkOptions {
    /// The agent.
    pub agent: AgentId,
    /// Where to, and as whom; the will is filled in here.
    pub connection: Options,
    /// A batch is sent at this many bytes.
    pub batch_bytes: usize,
    /// A batch is sent this long after its first record, however small it is.
    pub batch_interval: Duration,
    /// Whether batches are compressed.
    pub compress: bool,
    /// Nothing acknowledged for this long: the connection is dead.
    pub ack_timeout: Duration,
    /// Time between two status messages.
    pub status_interval: Duration,
    /// Time between two rounds of positions.
    pub position_interval: Duration,
    /// How fast what waited longer goes.
    pub pace: PaceOptions,
    /// The shortest and the longest wait between connections.
    pub backoff: (Duration, Duration),
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
    /// What it shows the gateway, and by what it recognises it.
    pub credentials: Credentials,
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
        let mut backoff = Backoff::new(self.options.backoff.0, self.options.backoff.1, self.random.clone());
        let mut accounts = Accounts::new(self.options.position_interval);
        let mut spool = Spool::new(&self.queue, self.options.batch_bytes, self.options.compress);
        let mut pace = Pace::new(self.options.pace);
        loop {
            spool.rewind();
            self.renewed.mark_unchanged();
            let outcome = match self.credentials.read() {
                Ok(shown) => {
                    self.options.connection.shown = shown;
                    let connection = Connection::open(&self.options.connection);
                    let (spool, backoff) = (&mut spool, &mut backoff);
                    let parts = Parts { spool, backoff, accounts: &mut accounts, pace: &mut pace };
                    Session::new(&mut self, &topics, parts, connection).run().await
                }
                Err(why) => Outcome::Lost(why),
            };
            self.queue.state().lock().classes.iter_mut().for_each(|class| class.sent_below = 0);
            let wait = match outcome {
                Outcome::Drained => return,
                // The next connection sends something smaller, so this ends by itself.
                Outcome::Again => Duration::ZERO,
                Outcome::Lost(reason) => {
                    self.orders.lost(&reason);
                    self.counters.warn(Event::ConnectionsLost, || {
                        let Options { host, port, .. } = &self.options.connection;
                        format!("{host}:{port}: {}", explain(&reason))
                    });
                    backoff.next()
                }
            };
            if *self.drain.borrow() == Drain::Empty && self.queue.is_empty() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(_) = self.drain.wait_for(|drain| *drain == Drain::Leave) => return,
            }
        }
    }
}
