//! One connection to the gateway: what the uplink needs of MQTT 3.1.1 and 5, in one vocabulary.
//!
//! rumqttc forgets its queue when a session is not resumed, so a connection is used for one TCP connection
//! only: when it closes, everything in it is dropped and the spool starts again. That also makes the pairing
//! of packet ids with what was sent a matter of one generation. The event loop runs as a task of its own,
//! because a poll that is dropped half way can lose a packet that counts as sent.

mod broker;
mod v4;
mod v5;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{ProxyAuth, ProxyType, TlsConfiguration, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::credentials::Shown;
use crate::config::{Address, Proxy};
pub use broker::Broker;

/// Events that wait for the uplink; the event loop pauses when they are this many.
const EVENTS: usize = 64;
/// The longest time for TCP connect, CONNECT and CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest packet that the gateway may send: commands are small.
const MAX_INCOMING: u32 = 64 * 1024;
/// What 3.1.1 has no way to announce.
const DEFAULT_RECEIVE_MAX: u16 = 100;

/// Which MQTT to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1, which has no reasons: a refusal is a closed connection.
    V4,
    /// 5.
    V5,
}

/// Where a gateway is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host, port and transport.
    pub address: Address,
    /// Which MQTT.
    pub version: Version,
    /// The proxy on the way.
    pub proxy: Option<Proxy>,
}

/// How to connect, wherever to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent.
    pub client_id: String,
    /// Time between pings.
    pub keep_alive: Duration,
    /// The most publishes in flight, describes and status included.
    pub window: u16,
    /// Where the status goes, and what is said when the agent vanishes.
    pub will: (String, String),
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
    /// The gateway takes no will that is retained, and so not this connection.
    RetainRefused,
    /// The gateway takes no subscription to commands: the reason code.
    NotSubscribed(u8),
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
    /// A message of the gateway.
    Message {
        /// Where it was published.
        topic: String,
        /// What.
        payload: Bytes,
        /// Whether it was there before the subscription.
        retained: bool,
    },
    /// It is over, and why.
    Closed(String),
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
}

/// The event loop is full, which the window excludes, or gone.
#[derive(Debug)]
pub struct NotTaken;

impl Connection {
    /// Starts to connect.
    pub fn open(endpoint: &Endpoint, shown: &Shown, retain: bool, options: &Options) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (client, driver) = match endpoint.version {
            Version::V4 => v4::start(endpoint, shown, retain, options, sender),
            Version::V5 => v5::start(endpoint, shown, retain, options, sender),
        };
        Self { client, events, driver }
    }

    /// Hands in a publish with QoS 1; [`Event::Sent`] follows.
    pub fn publish(&self, topic: &str, retain: bool, payload: Vec<u8>) -> Result<(), NotTaken> {
        match &self.client {
            Client::V4(client) => {
                client.try_publish(topic, rumqttc::QoS::AtLeastOnce, retain, payload).map_err(|_| NotTaken)
            }
            Client::V5(client) => client
                .try_publish(topic, rumqttc::v5::mqttbytes::QoS::AtLeastOnce, retain, payload)
                .map_err(|_| NotTaken),
        }
    }

    /// Subscribes with QoS 1.
    pub fn subscribe(&self, topic: &str) -> Result<(), NotTaken> {
        match &self.client {
            Client::V4(client) => client.try_subscribe(topic, rumqttc::QoS::AtLeastOnce).map_err(|_| NotTaken),
            Client::V5(client) => {
                client.try_subscribe(topic, rumqttc::v5::mqttbytes::QoS::AtLeastOnce).map_err(|_| NotTaken)
            }
        }
    }

    /// Says goodbye, so that the will is not published, and waits a moment for it to go out.
    pub async fn disconnect(&mut self) {
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

/// What rumqttc takes for the host: all of a WebSocket's address, and one of IPv6 in brackets only where it goes on as
/// text.
pub(crate) fn host(address: &Address) -> String {
    match (&address.websocket, address.tls) {
        (Some(_), _) => address.to_string(),
        (None, true) => address.host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        (None, false) => address.host.clone(),
    }
}

/// The transport of a connection.
pub(crate) fn transport(address: &Address, shown: &Shown) -> Transport {
    let tls = shown.tls.as_ref().map(|tls| TlsConfiguration::Rustls(Arc::clone(tls)));
    match (tls, &address.websocket) {
        (None, None) => Transport::tcp(),
        (Some(tls), None) => Transport::tls_with_config(tls),
        (None, Some(_)) => Transport::ws(),
        (Some(tls), Some(_)) => Transport::wss_with_config(tls),
    }
}

/// The proxy of a connection.
fn proxy(endpoint: &Endpoint) -> Option<rumqttc::Proxy> {
    let proxy = endpoint.proxy.as_ref()?;
    let auth = match proxy.login.clone() {
        Some((username, password)) => ProxyAuth::Basic { username, password },
        None => ProxyAuth::None,
    };
    Some(rumqttc::Proxy { ty: ProxyType::Http, auth, addr: proxy.host.clone(), port: proxy.port })
}

/// Requests that may wait for the event loop: everything in flight and a few more.
fn requests(options: &Options) -> usize {
    usize::from(options.window) + 8
}
