//! Remote configuration and commands: an operator signs a document, any MQTT client publishes it, this agent obeys.
//!
//! ```text
//! topic config|do -> uplink (orders) -> office: signature, agent, time, version or id -> ledger (disk)
//!                                        |-> settings on trial -> confirmed | rolled back
//!                                        '-> command of the allow list, once
//! ledger -> courier -> feed of the agent's own device -> queue -> gateway: what became of it
//! ```
//!
//! Guarantees:
//! - Without a key in `remote.trust` of the local file nobody is listened to. What a document says is looked into only
//!   after its signature is known to be good, and it cannot change who is trusted, who this agent is, and what runs
//!   on this machine ([`settings::LOCAL_ONLY`]).
//! - New settings are checked by the same code as the file, and are on trial until a commit of the queue and an
//!   acknowledgement of the gateway came after them. If these do not come in time, or the agent ends twice without
//!   them, the settings before take over, and the version is never tried again.
//! - A command is begun at most once, in the order in which commands were signed, one after the other; one that a crash or a
//!   stop interrupted is said to be, and not begun again. Given again, it is answered with what became of it.
//! - What became of each document is a reading, in the queue once, before it is forgotten here ([`ledger`]).

mod command;
mod courier;
pub mod desk;
pub mod document;
mod in_force;
pub mod keys;
pub mod ledger;
mod office;
pub mod outcome;
pub mod settings;
mod trial;
mod waiting;

use std::sync::Arc;

use tokio::sync::watch;
use weir_protocol::Restart;

use crate::config::Config;
use crate::source::Source;
use crate::uplink::orders::Orders;
pub use desk::Desk;
pub use in_force::InForce;
pub use office::Office;

/// What the agent that runs has to do with it.
pub struct Hooks {
    /// Where the uplink puts what comes.
    pub orders: Orders,
    /// The results that are owed.
    pub desk: Arc<Desk>,
    /// Shown the settings that the agent runs with.
    pub current: watch::Sender<Arc<Config>>,
}

impl Hooks {
    /// What brings results into the queue.
    pub fn source(&self, config: &Config) -> Option<Source> {
        config.remote.is_on().then(|| courier::source(&self.desk, config.name))
    }

    /// What results are told under, which no other source of the agent's own device says of itself.
    pub fn restarts(&self) -> Vec<Restart> {
        self.desk.look(|ledger| ledger.restarts().collect())
    }

    /// What the uplink listens for: nothing while nobody is trusted.
    pub fn orders(&self, config: &Config) -> Orders {
        if config.remote.is_on() { self.orders.clone() } else { self.orders.off() }
    }
}
