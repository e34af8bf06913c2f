//! How the uplink is, for `/metrics`, `/healthz` and `top`: progress, not a connection.

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use weir_protocol::{DeviceId, Restart, Sequence};

use super::breaker::BreakerState;
use super::budget::Usage;

/// What the uplink is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkState {
    /// It waits before the next connection.
    #[default]
    Waiting,
    /// It connects.
    Connecting,
    /// A connection stands.
    Connected,
}

impl UplinkState {
    /// As it is said.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
        }
    }
}

/// The last reading that a gateway acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastAcknowledged {
    /// Whose it is.
    pub device: DeviceId,
    /// Of which restart.
    #[serde(serialize_with = "as_text")]
    pub restart: Restart,
    /// Its sequence.
    pub sequence: Sequence,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// One gateway of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayView {
    /// Its address.
    pub address: String,
    /// Its circuit breaker.
    pub breaker: BreakerState,
    /// Failures in a row.
    pub failures: u32,
}

/// All of it, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UplinkView {
    /// What it is doing.
    pub state: UplinkState,
    /// The address of the gateway that is used or tried.
    pub gateway: Option<String>,
    /// Who took the connection, as far as it said.
    pub broker: Option<String>,
    /// Since when the connection stands, in milliseconds since 1970.
    pub connected_since_ms: Option<i64>,
    /// The last acknowledged reading.
    pub last_acked: Option<LastAcknowledged>,
    /// How long nothing was acknowledged although something was to be sent, in milliseconds.
    pub silent_ms: u64,
    /// Since when.
    #[serde(skip)]
    pub(super) silent_since: Option<Instant>,
    /// Why the last connection ended, until something is acknowledged again.
    pub last_error: Option<String>,
    /// The gateways, in order of preference.
    pub gateways: Vec<GatewayView>,
    /// What is used of the day's bytes.
    pub budget: Option<Usage>,
    /// Whether hours or budget hold a class back now.
    pub held_back: bool,
}

impl UplinkView {
    /// One sentence for a person.
    pub fn sentence(&self) -> String {
        let gateway = self.gateway.as_deref().unwrap_or("no gateway");
        let since = |text: String| match &self.last_error {
            Some(error) => format!("{text}: {error}"),
            None => text,
        };
        match self.state {
            UplinkState::Connected if self.silent_ms >= 10_000 => {
                format!("connected to {gateway}, but nothing acknowledged for {} s", self.silent_ms / 1000)
            }
            UplinkState::Connected => format!("connected to {gateway}"),
            UplinkState::Connecting => since(format!("connecting to {gateway}")),
            UplinkState::Waiting => since(format!("waiting before the next connection to {gateway}")),
        }
    }
}

/// The present view, shared.
#[derive(Debug, Default)]
pub struct UplinkHealth(watch::Sender<UplinkView>);

impl UplinkHealth {
    /// A copy of it.
    pub fn view(&self) -> UplinkView {
        let mut view = self.0.borrow().clone();
        view.silent_ms = view.silent_since.map_or(0, |since| since.elapsed().as_millis() as u64);
        view
    }

    /// Views as they change, without [`UplinkView::silent_ms`], which time alone changes.
    pub fn changes(&self) -> watch::Receiver<UplinkView> {
        self.0.subscribe()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut UplinkView)) {
        self.0.send_modify(change);
    }
}

/// A restart needs all its 64 bits, which a number of JSON may not have.
fn as_text<S: serde::Serializer>(restart: &Restart, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&restart.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_progress_is_said_to_be_one() {
        let mut view = UplinkView { gateway: Some("a:1883".to_owned()), ..UplinkView::default() };
        view.last_error = Some("refused".to_owned());
        assert_eq!(view.sentence(), "waiting before the next connection to a:1883: refused");
        view.state = UplinkState::Connected;
        assert_eq!(view.sentence(), "connected to a:1883");
        view.silent_ms = 61_000;
        assert_eq!(view.sentence(), "connected to a:1883, but nothing acknowledged for 61 s");
    }
}
