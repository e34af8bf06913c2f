//! The MQTT front: MQTT 3.1.1 and 5 for every device.
//!
//! What it guarantees:
//! - PUBACK and PUBREC only after the verdict of [`crate::ingest`], in the order of the PUBLISHes ([`session`]);
//! - whatever a client sends is answered with its reason code, counted by reason ([`refusal`]), and costs
//!   bounded memory, summed up in one place ([`memory`]): with the defaults 8.9 MiB for one connection at the most; a
//!   client beyond a bound is refused, or not read until there is room;
//! - sockets that say nothing, or never finish what they say, are few ([`crate::lobby`]) and are closed in time
//!   ([`watchdog`]), and nobody waits for them;
//! - a session outlives its connection only on disk ([`crate::sessions`]), and `session_present` says no more than that;
//! - who a client is and what it may do is what [`crate::access`] says ([`admission`]).
//!
//! | packet | MQTT 5 | MQTT 3.1.1 |
//! |---|---|---|
//! | CONNECT | CONNACK with the limits | CONNACK |
//! | CONNECT, anything wrong with it | CONNACK 0x84, 0x85, 0x87, 0x8c, 0x95 | CONNACK 1, 2, 5 |
//! | CONNECT, as many sessions as there may be; too often | CONNACK 0x97; 0x9f | CONNACK 3 |
//! | no CONNECT in time, or no CONNECT first | closed | closed |
//! | a second connection of a client | the first gets DISCONNECT 0x8e | the first is closed |
//! | PUBLISH on what is stored, or as an agent on `batch`, `describe`, `status` of its own | PUBACK, PUBREC after the verdict | the same |
//! | PUBLISH where it may not, on what nothing stores | PUBACK, PUBREC 0x87, 0x90; at QoS 0 DISCONNECT | closed |
//! | PUBLISH of more to an agent than it takes | PUBACK, PUBREC 0x97; at QoS 0 DISCONNECT | closed |
//! | PUBLISH with the packet id of one in flight | PUBACK 0x91, in its turn | closed |
//! | PUBLISH with an alias that is not known, beyond Receive Maximum | DISCONNECT 0x94, 0x93 | |
//! | PUBREL | PUBCOMP once the packet id is free on disk | the same |
//! | SUBSCRIBE | SUBACK 0 or 1 | SUBACK 0 or 1 |
//! | SUBSCRIBE to no filter, where it may not, to too much, to a shared one | SUBACK 0x8f, 0x87, 0x97, 0x9e | SUBACK 0x80 |
//! | UNSUBSCRIBE from what it has not | UNSUBACK 0x11 | UNSUBACK |
//! | larger than the limit, malformed, out of place | DISCONNECT 0x95, 0x81, 0x82 | closed |
//! | silence, a packet that does not end, answers not read | DISCONNECT 0x8d, 0x83, 0x80 | closed |
//! | a stop, a failed commit, revoked | DISCONNECT 0x8b, 0x83, 0x98 | closed |
//!
//! After a refused batch (0x83, 0x97) the messages behind it get 0x80 and the connection ends with a
//! DISCONNECT: only so can no later reading overtake an earlier one.
//!
//! Bytes flow through [`connection`], [`admission`], [`exchange`] and [`session`] into ingest, and through [`outbound`] back.

mod admission;
mod buffer;
mod connection;
pub mod counters;
pub mod destination;
mod exchange;
pub mod fuzz;
mod greeting;
pub mod memory;
pub mod outbound;
pub mod refusal;
pub mod session;
#[cfg(feature = "sim")]
pub(crate) mod sim;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
mod watchdog;
mod wire;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use weir_protocol::time::WallClock;

use crate::access::{Access, Identity};
use crate::delivery::Delivery;
use crate::ingest::{Events, Message, Sender};
use crate::limits::{Limits as Rates, LimitsOptions};
use crate::lobby::{Lobby, LobbyOptions, Ticket};
use crate::log_gate::LogGate;
use crate::mqtt::packet::Publish;
use crate::retained::{self, Retained};
use crate::sessions::{Sessions, Written};
use crate::tls::Acceptor;
use crate::topics::stores::Stores;
pub use admission::Peer;
use buffer::Room;
use counters::Counters;
use destination::Destinations;
pub use destination::TopicLimits;
use outbound::Supply;
use outbound::subscriptions::SubscriptionLimits;
use refusal::Refusal;
use session::Limits;

/// Where messages go: [`crate::ingest::Ingest`], or a test that decides the verdicts.
pub trait Intake: Send + Sync + 'static {
    /// The way of one connection.
    type Link: Link;
    /// Opens a way for `sender`; what happens to its messages is told to `events`.
    fn connect(&self, sender: Sender, events: Events) -> Self::Link;
}

/// The way of one connection into ingest. Dropping it says that the connection is gone.
pub trait Link: Send {
    /// Hands over messages, in order; resolves when there was room for all of them.
    fn submit(&mut self, messages: Vec<Message>) -> impl Future<Output = ()> + Send;
}

/// The limits of the front.
#[derive(Clone, Copy, Debug)]
pub struct FrontOptions {
    /// The most sessions at a time.
    pub connections: usize,
    /// How many sockets may wait without having said CONNECT.
    pub lobby: LobbyOptions,
    /// How long a new connection may take to say CONNECT.
    pub connect_timeout: Duration,
    /// What the read buffers of all connections may take together, in bytes.
    pub buffers: usize,
    /// What one session may have in flight.
    pub limits: Limits,
    /// What one client may subscribe to.
    pub subscriptions: SubscriptionLimits,
    /// How long topics, and what messages carry, may be.
    pub topics: TopicLimits,
}

/// The MQTT front.
pub struct Front<I> {
    intake: I,
    options: FrontOptions,
    clock: Arc<dyn WallClock>,
    counters: Arc<Counters>,
    log: LogGate,
    lobby: Lobby,
    seats: Semaphore,
    room: Arc<Room>,
    supply: Arc<Supply>,
    access: Access,
    limits: Rates,
    stores: Stores,
    sessions: Sessions,
    retained: Retained,
}

impl<I: Intake> Front<I> {
    /// A front that hands messages to `intake`, and keeps what it knows of clients in `sessions` and `retained`.
    pub fn new(
        intake: I,
        (sessions, retained): (Sessions, Retained),
        options: FrontOptions,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        let counters = Arc::new(Counters::new());
        Self {
            intake,
            options,
            supply: Arc::new(Supply::none(Arc::clone(&clock), Arc::clone(&counters))),
            clock,
            counters,
            log: LogGate::new(Instant::now()),
            lobby: Lobby::new(options.lobby),
            seats: Semaphore::new(options.connections),
            room: Room::new(options.buffers),
            access: Access::open(),
            limits: Rates::new(LimitsOptions::NONE),
            stores: Stores::default(),
            sessions,
            retained,
        }
    }

    /// Serves subscriptions too.
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        let (clock, counters) = (Arc::clone(&self.clock), Arc::clone(&self.counters));
        let (limits, retained) = (self.options.subscriptions, Some(self.retained.clone()));
        Self { supply: Arc::new(Supply { delivery, retained, clock, limits, counters }), ..self }
    }

    /// Lets in, and lets do, what `access` says.
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Keeps to rates of connects and of what is published.
    pub fn with_rates(self, limits: Rates) -> Self {
        Self { limits, ..self }
    }

    /// Stores the messages of MQTT clients that `stores` has a topic for.
    pub fn with_stores(self, stores: Stores) -> Self {
        Self { stores, ..self }
    }

    /// Retains a message of a client.
    fn retain(&self, identity: &Identity, publish: &Publish) -> Result<Written, Refusal> {
        let Publish { topic, payload, qos, properties, .. } = publish.clone();
        let publisher = identity.client.clone();
        let message = retained::Message { topic, payload, qos, properties, publisher, clock_ms: 0 };
        self.retained.set(identity.tenant, &publish.topic, Some(message)).map_err(|_| Refusal::Retained)
    }

    /// Where the messages of a client go.
    fn destinations(&self, identity: &Identity) -> Destinations {
        Destinations::new(identity.clone(), self.options.topics, self.access.clone(), self.stores.clone())
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The limits.
    pub fn options(&self) -> &FrontOptions {
        &self.options
    }

    /// Sockets that wait without having said CONNECT, and bytes that are free for read buffers.
    pub fn waiting_and_room(&self) -> (usize, usize) {
        (self.lobby.len(), self.room.free())
    }

    /// Serves one client, `peer`, over any transport until it is gone, refused, or `stop` turns true and its
    /// messages are answered.
    pub fn serve_one<S>(
        &self,
        stream: S,
        peer: impl Into<Peer>,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        let peer = peer.into();
        let ticket = self.lobby.enter(peer.address);
        connection::serve(stream, peer, ticket, self, stop)
    }

    /// Accepts clients until `stop` turns true, then answers what is in flight. Dropping the future ends all
    /// connections at once.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, acceptor: Acceptor, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            // A connection that has ended gives its place to this one.
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer)) => {
                    socket::prepare(&stream);
                    let (front, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
                    // In the lobby from here on, so that accepting cannot outrun it.
                    let ticket = self.lobby.enter(peer.ip());
                    connections.spawn(async move { front.welcome(stream, peer.ip(), acceptor, ticket, stop).await });
                }
                // Out of descriptors: the clients wait in the backlog until some connection ends.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept MQTT connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }

    /// Does the TLS handshake, if there is one, and serves the client.
    async fn welcome(
        &self,
        stream: TcpStream,
        address: IpAddr,
        acceptor: Acceptor,
        mut ticket: Ticket,
        mut stop: watch::Receiver<bool>,
    ) {
        let accepted = tokio::select! {
            accepted = acceptor.accept(stream) => accepted,
            () = ticket.sent_away() => return self.refused(Refusal::Crowded),
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, certificate)) => {
                let shown = certificate.as_ref().map(|certificate| certificate.id);
                tokio::select! {
                    () = connection::serve(stream, Peer { address, certificate }, ticket, self, stop) => (),
                    () = acceptor.ended(shown) => (),
                }
            }
            // Counted with its reason by TLS.
            Err(error) => {
                if let Some(left_out) = self.log.pass(Instant::now()) {
                    tracing::info!(reason = error.reason().as_str(), %address, left_out, "no TLS with an MQTT client: {error}");
                }
            }
        }
    }

    /// Counts and logs a connection that ends before it had a session.
    fn refused(&self, refusal: Refusal) {
        self.counters.refused(refusal);
        if let Some(left_out) = self.log.pass(Instant::now()) {
            tracing::info!(reason = refusal.as_str(), left_out, "connection refused: {}", refusal.text());
        }
    }
}

/// How long to wait when the system refuses to accept; also what bounds its log lines.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
