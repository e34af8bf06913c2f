//! The Kafka port: the log served to the clients that people already have.
//!
//! What it guarantees:
//! - consumers see committed records only, each partition in the order of its commits, from any offset or time that is
//!   still there; record batches leave the log as they lie in it, with their checksums verified ([`fetch`]);
//! - Produce is advertised, for librdkafka does not read without it, and refused: readings come in over MQTT, where they
//!   have an identity;
//! - whatever a client sends is answered with its error or ends its connection with a reason that is counted
//!   ([`refusal`]), and costs bounded memory ([`memory`]) and bounded time ([`frames`]);
//! - one broker, number 0, leads every partition and coordinates every group ([`cluster`]).
//!
//! The rest of the gateway knows none of the request types in here.
//!
//! ```text
//! listener -> connection -> frames -> wire, messages -> dispatch -> handlers, fetch -> topics, groups
//! ```

mod acts;
pub mod auth;
mod cluster;
mod connection;
pub mod counters;
mod dispatch;
mod fetch;
mod frames;
#[doc(hidden)]
pub mod fuzz;
pub mod handlers;
mod listener;
mod memory;
pub mod messages;
pub mod metrics;
mod options;
mod permits;
mod refusal;
pub mod wire;

use std::sync::Arc;
use std::time::Instant;

use crate::access::{Access, Door};
use crate::groups::Groups;
use crate::lobby::Lobby;
use crate::log_gate::LogGate;
use crate::places::Places;
use crate::tls::Acceptor;
use crate::topics::Topics;
use tokio::sync::watch;

use auth::Users;
use counters::Counters;
use fetch::Reads;
use memory::Room;

pub use cluster::{Broker, id as cluster_id};
pub use options::KafkaOptions;
pub use refusal::Refusal;

/// The Kafka port.
pub struct Kafka {
    topics: Topics,
    groups: Groups,
    /// None inside: nobody has to authenticate.
    users: watch::Sender<Option<Users>>,
    access: Option<Access>,
    acceptor: Acceptor,
    broker: Broker,
    options: KafkaOptions,
    counters: Arc<Counters>,
    log: LogGate,
    lobby: Lobby,
    places: Places,
    requests: Room,
    reads: Reads,
}

impl Kafka {
    /// A port that serves `topics` and coordinates `groups` as `broker`.
    pub fn new(topics: Topics, groups: Groups, broker: Broker, options: KafkaOptions) -> Self {
        Self {
            topics,
            groups,
            users: watch::Sender::new(None),
            access: None,
            acceptor: Acceptor::plain(),
            broker,
            options,
            counters: Arc::default(),
            log: LogGate::new(Instant::now()),
            lobby: Lobby::new(options.lobby),
            places: Places::new(options.connections, options.connections_per_address),
            requests: Room::new(memory::REQUESTS),
            reads: Reads::new(options.buffers),
        }
    }

    /// Serves whom the door of `access` lets in: one of these users, or somebody with a token; or everybody.
    pub fn with_access(self, access: Access, users: Option<Users>) -> Self {
        let kafka = Self { access: Some(access), ..self };
        kafka.set_users(users);
        kafka
    }

    /// These are the users from now on; connections of those who are none any more end.
    pub fn set_users(&self, users: Option<Users>) {
        let is_open = self.access.as_ref().is_none_or(|access| access.settings().kafka == Door::Open);
        self.users.send_replace((!is_open).then(|| users.unwrap_or_else(Users::nobody)));
    }

    /// Lets clients in through `acceptor`.
    pub fn with_acceptor(self, acceptor: Acceptor) -> Self {
        Self { acceptor, ..self }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sockets that wait without having sent a request, connections, and bytes that are free for records.
    pub fn waiting_connected_and_room(&self) -> (usize, usize, usize) {
        (self.lobby.len(), self.places.taken(), self.reads.free())
    }

    /// The bounds.
    pub fn options(&self) -> &KafkaOptions {
        &self.options
    }
}
