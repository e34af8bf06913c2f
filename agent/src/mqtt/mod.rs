//! One connection to a gateway or another broker: what the uplink and a subscriber need of MQTT 3.1.1 and 5, in one
//! vocabulary.
//!
//! rumqttc forgets its queue when a session is not resumed, so a connection is used for one TCP connection
//! only: when it closes, everything in it is dropped and its owner starts again. That also makes the pairing
//! of packet ids with what was sent a matter of one generation. The event loop runs as a task of its own,
//! because a poll that is dropped half way can lose a packet that counts as sent; it pauses while nobody takes its
//! events, so whoever floods is held back by TCP.
//!
//! ```text
//! Options -> Connection (requests) -> v4 or v5 (rumqttc, driven by drive) -> Event
//! ```

mod broker;
mod drive;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
mod transport;
mod v4;
mod v5;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::{Address, Mqtt, Proxy};
use crate::uplink::credentials::Shown;
pub use broker::Broker;

/// Events that wait for the owner; the event loop pauses when they are this many.
const EVENTS: usize = 64;
/// The longest time for TCP connect, CONNECT and CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where a broker is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host, port and transport.
    pub address: Address,
    /// Which MQTT; 3.1.1 has no reasons: a refusal is a closed connection.
    pub version: Mqtt,
    /// The proxy on the way.
    pub proxy: Option<Proxy>,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub endpoint: Endpoint,
    /// What is shown, over which transport.
    pub shown: Shown,
    /// The client id.
    pub client_id: String,
    /// Time between pings.
    pub keep_alive: Duration,
    /// How long the broker keeps the session, in seconds; 0: it begins and ends with the connection.
    pub session: u32,
    /// What is said when this client vanishes.
    pub will: Option<Will>,
    /// The most publishes in flight.
    pub in_flight: u16,
    /// The most messages that are not acknowledged yet, as far as the broker can be told.
    pub receive_max: Option<u16>,
    /// Whether messages are acknowledged with [`Connection::acknowledge`], in the order in which they came; else at once.
    pub acknowledges: bool,
    /// The largest packet that is read, in bytes.
    pub max_incoming: u32,
    /// The largest packet that is sent, in bytes; MQTT 5 lets the broker say it.
    pub max_outgoing: u32,
    /// Requests that may wait for the event loop.
    pub requests: usize,
}

/// What is said of a client that vanished.
#[derive(Clone, Debug)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub message: String,
    /// Whether the broker remembers it.
    pub retain: bool,
}

/// What CONNACK says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Publishes that may be in flight.
    pub receive_max: u16,
    /// The largest packet that may be sent, in bytes.
    pub max_packet: Option<u32>,
    /// Whether messages may be retained.
    pub retain: bool,
    /// Whether publishes with QoS 1 are taken.
    pub at_least_once: bool,
    /// Who it is.
    pub broker: Broker,
}

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// CONNACK.
    Connected(Greeting),
    /// The broker takes no will that is retained, and so not this connection.
    RetainRefused,
    /// SUBACK: of each filter the reason code for which it is not taken.
    Subscribed(Vec<Option<u8>>),
    /// A ping went out.
    Pinged,
    /// The publish handed in longest ago went out under this packet id.
    Sent(u16),
    /// PUBACK.
    Acked {
        /// The packet id.
        packet: u16,
        /// The reason code of MQTT 5; 0 in 3.1.1.
        reason: u8,
    },
    /// A message.
    Message(Message),
    /// The broker sent what its session has it send again on every connection; [`Event::Closed`] follows.
    Stuck(Stuck),
    /// It is over, and why.
    Closed(String),
}

/// What cannot be got past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// A packet of so many bytes, more than [`Options::max_incoming`].
    TooLarge(u32),
    /// The release of a message with QoS 2 that another connection took.
    Release(u16),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// Whether it is the broker's memory of a message.
    pub retained: bool,
    /// How to acknowledge it; None: it needs none.
    pub receipt: Option<Receipt>,
}

/// What a message is acknowledged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    packet: u16,
    /// QoS 2, which is taken as 1: whoever has the message on disk does not take it again on this connection.
    exactly_once: bool,
}

/// A connection, which ends when this goes.
pub struct Connection {
    client: Client,
    /// What happens; ends after [`Event::Closed`].
    pub events: mpsc::Receiver<Event>,
    driver: JoinHandle<()>,
}

enum Client {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
    #[cfg(feature = "sim")]
    Simulated(sim::Owner),
}

/// The event loop is gone, or has as many requests as may wait for it.
#[derive(Debug, thiserror::Error)]
#[error("the connection takes no requests any more")]
pub struct NotTaken;

impl Connection {
    /// Starts to connect.
    pub fn open(options: &Options) -> Self {
        #[cfg(feature = "sim")]
        if let Some(simulated) = sim::open(options) {
            return simulated;
        }
        let (sender, events) = mpsc::channel(EVENTS);
        let (client, driver) = match options.endpoint.version {
            Mqtt::V3 => v4::start(options, sender),
            Mqtt::V5 => v5::start(options, sender),
        };
        Self { client, events, driver }
    }

    /// Hands in a publish with QoS 1; [`Event::Sent`] follows.
    pub fn publish(&self, topic: &str, retain: bool, payload: Vec<u8>) -> Result<(), NotTaken> {
        match &self.client {
            Client::V4(client) => v4::publish(client, topic, retain, payload),
            Client::V5(client) => v5::publish(client, topic, retain, payload),
            #[cfg(feature = "sim")]
            Client::Simulated(line) => line.request(v5::to_publish(topic, retain, payload)),
        }
    }

    /// Subscribes with QoS 1, or with QoS 0; [`Event::Subscribed`] follows.
    pub fn subscribe<'a>(
        &self,
        filters: impl IntoIterator<Item = &'a str>,
        at_least_once: bool,
    ) -> Result<(), NotTaken> {
        match &self.client {
            Client::V4(client) => v4::subscribe(client, filters, at_least_once),
            Client::V5(client) => v5::subscribe(client, filters, at_least_once),
            #[cfg(feature = "sim")]
            Client::Simulated(line) => line.request(v5::to_subscribe(filters, at_least_once)),
        }
    }

    /// Acknowledges a message.
    pub fn acknowledge(&self, receipt: Receipt) -> Result<(), NotTaken> {
        match &self.client {
            Client::V4(client) => v4::acknowledge(client, receipt),
            Client::V5(client) => v5::acknowledge(client, receipt),
            // The state machine acknowledges by itself, as the uplink has it.
            #[cfg(feature = "sim")]
            Client::Simulated(_) => Ok(()),
        }
    }

    /// Says goodbye, so that no will is published, and waits a moment for it to go out.
    pub async fn disconnect(&mut self) {
        let asked = match &self.client {
            Client::V4(client) => client.try_disconnect().is_ok(),
            Client::V5(client) => client.try_disconnect().is_ok(),
            #[cfg(feature = "sim")]
            Client::Simulated(line) => line.request(rumqttc::v5::Request::Disconnect).is_ok(),
        };
        if asked {
            let closed = async { while self.events.recv().await.is_some() {} };
            let _ = tokio::time::timeout(FAREWELL, closed).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
