//! One CONNECT as the uplink makes it, for whoever wants to know whether it would succeed.
//!
//! A gateway gives the session of an agent to whoever comes last, so this is for a machine whose agent does not run.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{self, Broker, Event, Options};
use super::gateways::Gateway;
use super::{Status, Topics, UplinkOptions};
use crate::identity::explain;

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
