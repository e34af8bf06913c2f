//! Trying a preferred gateway beside the one that is used, and going over to it.

use tokio::time::Instant;

use super::Session;
use super::send::What;
use crate::counters::Event;
use crate::uplink::attempt::{Attempt, Failed, Standing};
use crate::uplink::health::UplinkState;
use crate::uplink::status::Status;

impl Session<'_> {
    /// Begins to connect to a preferred gateway.
    pub(super) fn probe(&mut self) {
        let Some((_, at)) = self.gateways.probe() else { return };
        self.gateways.probing(at);
        match self.uplink.attempt(self.gateways.get(at)) {
            Ok(attempt) => self.probe = Some((at, attempt)),
            Err(reason) => self.probe_failed(at, &reason),
        }
        self.uplink.show(self.gateways, UplinkState::Connected);
    }

    /// A preferred gateway answered, or did not.
    pub(super) fn probed(&mut self, stands: Result<Standing, Failed>) {
        let Some((at, _)) = self.probe.take() else { return };
        match stands {
            Ok(standing) => self.returning = Some((at, standing)),
            Err(Failed::Retain) => {
                self.gateways.get(at).retain = false;
                self.probe();
            }
            Err(Failed::Closed(reason)) => self.probe_failed(at, &reason),
        }
        self.uplink.show(self.gateways, UplinkState::Connected);
    }

    fn probe_failed(&mut self, at: usize, reason: &str) {
        self.gateways.probe_failed(at, Instant::now());
        let gateway = self.gateways.get(at).endpoint.address.to_string();
        self.uplink.counters.warn(Event::ReturnsFailed, || format!("{gateway} is still away: {reason}"));
    }

    /// Says that the agent goes on elsewhere.
    pub(super) async fn leave_behind(&mut self) {
        let moved = Status::moved(self.uplink.options.agent);
        if self.publish(What::Status, moved.into_bytes()).is_ok() {
            self.connection.disconnect().await;
        }
    }
}

/// Waits for the attempt at a preferred gateway, if there is one.
pub(super) async fn stands(probe: &mut Option<(usize, Attempt)>) -> Result<Standing, Failed> {
    match probe {
        Some((_, attempt)) => attempt.stands().await,
        None => core::future::pending().await,
    }
}
