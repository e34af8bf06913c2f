//! How the uplink connects: a session that begins and ends with the connection, a will, and a window.

use std::time::Duration;

use weir_protocol::batch::MAX_PAYLOAD;

use super::credentials::Shown;
use crate::mqtt::{self, Will};
pub use crate::mqtt::{Broker, Connection, Endpoint, Event, Greeting, NotTaken};

/// The largest packet that the gateway may send: commands are small.
const MAX_INCOMING: u32 = 64 * 1024;
/// Beside its payload a packet has a topic.
const MAX_OUTGOING: u32 = MAX_PAYLOAD as u32 + 1024;

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

/// Starts to connect; `retain`: the broker is to remember the will.
pub(super) fn open(endpoint: &Endpoint, shown: &Shown, retain: bool, options: &Options) -> Connection {
    let (topic, message) = options.will.clone();
    Connection::open(&mqtt::Options {
        endpoint: endpoint.clone(),
        shown: shown.clone(),
        client_id: options.client_id.clone(),
        keep_alive: options.keep_alive,
        session: 0,
        will: Some(Will { topic, message, retain }),
        in_flight: options.window,
        receive_max: None,
        acknowledges: false,
        max_incoming: MAX_INCOMING,
        max_outgoing: MAX_OUTGOING,
        // Everything in flight and a few more.
        requests: usize::from(options.window) + 8,
    })
}
