//! Sessions: what the gateway knows of a client beyond its connection.
//!
//! What it guarantees:
//! - a client has one session, and a session one connection at a time: a new one waits, bounded, until the one before it
//!   has let go ([`Sessions::attach`]), and whatever ends a connection hands the session back ([`Session`]);
//! - a session whose expiry is above 0 is durable: when [`Sessions::attach`] returns, and when a [`Written`] resolves, it
//!   survives a kill and a power cut with subscriptions, positions and open packet ids; `present` is true for nothing else;
//! - a message at QoS 2 has one identity for as long as its packet id is open, whatever is resent and whatever is killed:
//!   the sequence is durable before the message goes anywhere, and is never given again ([`Session::begin`]);
//! - a will is published once its delay or its session ends, unless the client came back before; that of a durable session
//!   after a kill too, counted from the next start, at least once: whoever ends a session early waits until its will is out.
//!   The will of another session ends with the process;
//! - all of it is bounded ([`Options`]): over a bound a client is refused and counted, nobody is forgotten.
//!
//! Identities: a client's messages at QoS 2 have one restart and a counter ([`record::History`]), kept over sessions. When
//! there are more histories of clients without a session than sessions allowed, the oldest goes, and such a client begins
//! again with **another** restart: a restart whose counter is lost is never used again.
//!
//! ```text
//! front: Session (owned by the connection) --flush--> KeyedLog = topic weir.sessions, one commit for many clients
//!           ^ attach | detach, drop                      | read at the start
//!           |        v                                   v
//!        Sessions -> Table (who is attached, who is away, deadlines) <- run: expiry, wills, compaction
//! ```

mod agents;
mod attach;
mod leave;
mod opened;
mod options;
mod outlet;
pub mod record;
mod session;
mod state;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;
mod view;
mod wills;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use weir_protocol::Tenant;

use crate::access::{ClientId, Identity};
use crate::keyed_log::KeyedLog;
use crate::keyed_log::clock::Clock;
use crate::log_gate::LogGate;
use state::Moment;
use table::Table;

pub use crate::keyed_log::written::{NotWritten, Written};
pub use attach::{Attached, Refused, Taken};
pub use opened::{Opened, TOPIC};
pub use options::Options;
pub use outlet::Outlet;
pub use session::{Begun, End, Full, Session};
pub use state::{State, Subscriptions};
pub use stats::Stats;
pub use view::View;
pub use wills::{Published, Publisher};

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The tenant.
    pub tenant: Tenant,
    /// The client within it.
    pub client: ClientId,
}

impl From<&Identity> for Key {
    fn from(identity: &Identity) -> Self {
        Self { tenant: identity.tenant, client: identity.client.clone() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.client)
    }
}

/// All sessions; cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

/// What the clones share.
struct Shared {
    options: Options,
    clock: Clock,
    started: Instant,
    log: KeyedLog,
    /// Numbers of sessions and restarts: nobody else may draw the same.
    random: Mutex<Box<dyn FnMut() -> u64 + Send>>,
    table: Mutex<Table>,
    /// A deadline came nearer, or a will is to be published.
    hurry: Notify,
    /// Bytes that durable sessions take.
    bytes: AtomicUsize,
    /// Errors of the disk in the log.
    gate: LogGate,
    commits: AtomicU64,
    commits_failed: AtomicU64,
}

impl Shared {
    /// Every change under it is complete in itself: a panic elsewhere leaves nothing half done.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) -> u64 {
        (self.random.lock().unwrap_or_else(PoisonError::into_inner))()
    }

    /// Since the start.
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the clock of the sessions shows, in milliseconds.
    fn now_ms(&self) -> i64 {
        self.clock.at(self.elapsed())
    }

    fn moment(&self, attached: bool) -> Moment {
        let elapsed = self.elapsed();
        Moment { attached, clock_ms: self.clock.at(elapsed), wall_ms: self.clock.wall(elapsed) }
    }
}
