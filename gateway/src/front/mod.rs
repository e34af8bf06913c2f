//! The MQTT front: MQTT 3.1.1 and 5 as far as an agent needs them, and a clear no to everything else.
//!
//! What it guarantees:
//! - PUBACK only after the verdict of [`crate::ingest`], in the order of the PUBLISHes ([`session`]);
//! - whatever a client sends is answered with its reason code, counted by reason ([`refusal`]), and costs
//!   bounded memory: connections, packet size, messages and bytes in flight, and waiting answers all have
//!   limits; a client beyond them is refused, or not read until there is room;
//! - sessions never outlive their connection: `session_present` is always 0, and what an agent has not seen
//!   acknowledged it sends again.
//!
//! | packet | MQTT 5 | MQTT 3.1.1 |
//! |---|---|---|
//! | CONNECT, client id = agent name | CONNACK with the limits | CONNACK |
//! | CONNECT, anything wrong with it | CONNACK 0x84, 0x85, 0x87, 0x8c | CONNACK 1, 2, 5 |
//! | a second session of an agent | the first gets DISCONNECT 0x8e | the first is closed |
//! | PUBLISH on `batch`, `describe`, `status` of its own | PUBACK after the verdict | the same |
//! | PUBLISH on the topic of another agent, on none of Weir's | PUBACK 0x87, 0x90; at QoS 0 DISCONNECT | closed |
//! | PUBLISH at QoS 2, with a topic alias, beyond Receive Maximum | DISCONNECT 0x9b, 0x94, 0x93 | QoS 2: closed |
//! | SUBSCRIBE to its own `command` | SUBACK 0 or 1 | SUBACK 0 or 1 |
//! | SUBSCRIBE to anything else | SUBACK 0x87 | SUBACK 0x80 |
//! | larger than the limit, malformed, out of place | DISCONNECT 0x95, 0x81, 0x82 | closed |
//!
//! After a refused batch (0x83, 0x97) the messages behind it get 0x80 and the connection ends with a
//! DISCONNECT: only so can no later reading overtake an earlier one.
//!
//! Bytes flow through [`connection`], [`exchange`], [`wire`], [`session`], and back through [`answer`].

pub mod agents;
pub mod answer;
mod buffer;
mod commands;
mod connection;
pub mod counters;
mod exchange;
pub mod refusal;
pub mod session;
pub mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_protocol::time::WallClock;

use crate::ingest::{Events, Message, Sender};
use crate::log_gate::LogGate;
use agents::Agents;
use counters::Counters;
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
    /// The most connections at a time.
    pub connections: usize,
    /// How long a new connection may take to say CONNECT.
    pub connect_timeout: Duration,
    /// What one session may have in flight.
    pub limits: Limits,
}

/// The MQTT front.
pub struct Front<I> {
    intake: I,
    options: FrontOptions,
    clock: Arc<dyn WallClock>,
    agents: Agents,
    counters: Arc<Counters>,
    log: LogGate,
}

impl<I: Intake> Front<I> {
    /// A front that hands messages to `intake`.
    pub fn new(intake: I, options: FrontOptions, clock: Arc<dyn WallClock>) -> Self {
        let log = LogGate::new(Instant::now());
        Self { intake, options, clock, agents: Agents::new(), counters: Arc::new(Counters::new()), log }
    }

    /// The agents and their statuses.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Serves one client over any transport until it is gone, refused, or `stop` turns true and its messages
    /// are answered.
    pub async fn serve_one<S>(&self, stream: S, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        connection::serve(stream, self, stop).await;
    }

    /// Accepts clients until `stop` turns true, then answers what is in flight. Dropping the future ends all
    /// connections at once.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
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
                Ok((stream, _)) if connections.len() >= self.options.connections => {
                    self.counters.refused(Refusal::Busy);
                    drop(stream);
                }
                Ok((stream, _)) => {
                    // Answers are small and leave together: waiting for more of them would only delay an agent.
                    let _ = stream.set_nodelay(true);
                    let (front, stop) = (self.clone(), stop.clone());
                    connections.spawn(async move { front.serve_one(stream, stop).await });
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
}

/// How long to wait when the system refuses to accept; also what bounds its log lines.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
