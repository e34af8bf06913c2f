//! One connection to a broker: what the source needs of MQTT 3.1.1 and 5, in one vocabulary.
//!
//! Messages are acknowledged by hand, in the order in which they came. The event loop runs as a task of its own; it
//! pauses while nobody takes its events, so a broker that floods is held back by TCP. When it goes, the connection
//! goes, and a session that the broker keeps delivers again what was not acknowledged.

mod v4;
mod v5;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::{Address, Mqtt};
use crate::uplink::connection::{host, transport};
use crate::uplink::credentials::Shown;

/// Events that wait for the source; the event loop pauses when they are this many.
const EVENTS: usize = 64;
/// Acknowledgements and subscriptions that wait for the event loop.
const REQUESTS: usize = 1024;
/// The longest time for TCP connect, CONNECT and CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What a packet may have beside its payload: a topic and properties.
const BESIDE_PAYLOAD: u32 = 128 * 1024;

/// How to connect.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// Which MQTT.
    pub mqtt: Mqtt,
    /// Where the broker is.
    pub address: Address,
    /// What is shown, over which transport.
    pub shown: Shown,
    /// The client id.
    pub client_id: String,
    /// Time between pings.
    pub keep_alive: Duration,
    /// How long the broker keeps the session, in seconds; 0: not at all.
    pub session: u32,
    /// The most messages that are not acknowledged yet, as far as the broker can be told.
    pub window: u16,
    /// The largest payload in bytes.
    pub max_payload: u32,
    /// The filters.
    pub filters: Vec<String>,
    /// Whether messages are acknowledged.
    pub acknowledged: bool,
}

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The broker took the connection. It is asked for the subscriptions next.
    Connected,
    /// The broker took the subscriptions; the places of those that it did not.
    Subscribed(Vec<usize>),
    /// A message.
    Message(Message),
    /// It is over, and why.
    Closed(String),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// Whether it is the broker's memory of a message.
    pub retained: bool,
    /// How to acknowledge it; None: it needs none.
    pub packet: Option<u16>,
}

/// A connection, which ends when this goes.
pub(super) struct Connection {
    client: Client,
    /// What happens; ends after [`Event::Closed`].
    pub events: mpsc::Receiver<Event>,
    driver: JoinHandle<()>,
}

enum Client {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// The event loop is gone, or does not keep up.
#[derive(Debug, thiserror::Error)]
#[error("the connection takes no requests any more")]
pub(super) struct NotTaken;

impl Connection {
    /// Starts to connect.
    pub(super) fn open(options: &Options) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (client, driver) = match options.mqtt {
            Mqtt::V3 => v4::start(options, sender),
            Mqtt::V5 => v5::start(options, sender),
        };
        Self { client, events, driver }
    }

    /// Subscribes to all filters.
    pub(super) fn subscribe(&self, options: &Options) -> Result<(), NotTaken> {
        match &self.client {
            Client::V4(client) => v4::subscribe(client, options),
            Client::V5(client) => v5::subscribe(client, options),
        }
    }

    /// Acknowledges a message.
    pub(super) fn acknowledge(&self, packet: u16) -> Result<(), NotTaken> {
        match &self.client {
            Client::V4(client) => v4::acknowledge(client, packet),
            Client::V5(client) => v5::acknowledge(client, packet),
        }
    }

    /// Says goodbye, and waits a moment for it to go out.
    pub(super) async fn disconnect(mut self) {
        let asked = match &self.client {
            Client::V4(client) => client.try_disconnect().is_ok(),
            Client::V5(client) => client.try_disconnect().is_ok(),
        };
        if asked {
            let closed = async { while self.events.recv().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_secs(1), closed).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The largest packet.
fn most(options: &Options) -> u32 {
    options.max_payload.saturating_add(BESIDE_PAYLOAD)
}
