//! One CONNECT as the uplink makes it, for whoever wants to know whether it would succeed.
//!
//! A gateway gives the session of an agent to whoever comes last, so this is for a machine whose agent does not run.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{self, Broker, Endpoint, Event, Options};
use super::gateways::Gateway;
use super::{Status, Topics, UplinkOptions};
use crate::config::Address;
use crate::identity::{explain, spoken};

/// Whether a connection broke off where an answer to CONNECT was expected, which is all that TLS says to it.
pub(super) fn is_hung_up(reason: &str) -> bool {
    ["deserialization", "by peer"].iter().any(|words| reason.contains(words))
}

/// What to write in place of an address without TLS, should TLS be spoken there; asks there. What is behind a proxy is not
/// looked at.
pub(crate) async fn other_scheme(endpoint: &Endpoint) -> Option<String> {
    #[cfg(feature = "sim")]
    if crate::mqtt::sim::is_enabled() {
        return None;
    }
    let address = &endpoint.address;
    if address.tls || endpoint.proxy.is_some() || !spoken::is_tls(&address.host, address.port).await {
        return None;
    }
    let with_tls = Address { tls: true, ..address.clone() };
    Some(format!("TLS is spoken at this port: write {with_tls}"))
}

/// Connects to `gateway`, hears who is there, and says goodbye.
///
/// # Errors
/// Why it does not come to that, and what to type where that is known.
pub(crate) async fn greet(options: &UplinkOptions, gateway: &Gateway, patience: Duration) -> Result<Broker, String> {
    let shown = gateway.credentials.clone().read()?;
    let will = (Topics::of(options.agent).status, Status::gone(options.agent));
    let connecting = Options { will, ..options.connection.clone() };
    let mut connection = connection::open(&gateway.endpoint, &shown, false, &connecting);
    let answer = match timeout(patience, connection.events.recv()).await {
        Ok(Some(Event::Connected(greeting))) if !greeting.at_least_once => {
            Err("this broker takes nothing above QoS 0, which nobody acknowledges: allow QoS 1 there".to_owned())
        }
        Ok(Some(Event::Connected(greeting))) => Ok(greeting.broker),
        Ok(Some(Event::Closed(reason))) => Err(explain(&reason)),
        Ok(other) => Err(format!("got {other:?}, expected CONNACK")),
        Err(_) => Err(format!("no CONNACK within {} s", patience.as_secs_f64())),
    };
    connection.disconnect().await;
    answer
}
