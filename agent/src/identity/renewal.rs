//! Renewing the certificate in time.
//!
//! What it guarantees: it is tried from two thirds of the certificate's life on, again and again, in waits that grow to a
//! bound and never overshoot what is left; whoever ships is told of a new one. A renewal that fails costs nothing: the
//! present certificate is good for another third of its life.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use weir_protocol::time::WallClock;

use super::{Life, Store, enrolment};
use crate::config::Proxy;
use crate::counters::{Counters, Event};

/// The clock may be set meanwhile: it is looked at again after so long at the latest.
const LOOK: Duration = Duration::from_secs(3600);
/// The shortest and the longest wait after a failure.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// What renewing works with.
pub struct Renewal {
    /// The identity.
    pub store: Store,
    /// The HTTP proxy on the way to the gateway.
    pub proxy: Option<Proxy>,
    /// Tells when it is due.
    pub clock: Arc<dyn WallClock>,
    /// For jitter, so that a fleet does not come in step.
    pub random: StdRng,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Told of every new certificate.
    pub renewed: watch::Sender<u64>,
}

impl Renewal {
    /// Renews until it is dropped.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let wait = match self.life() {
                Some(life) => self.wait(&life, failures),
                // Nobody has enrolled yet, or the files are damaged, which whoever connects says.
                None => LOOK.min(WAITS.1),
            };
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let Some(life) = self.life().filter(|life| life.due() <= self.now()) else { continue };
            match enrolment::renew(&self.store, self.proxy.as_ref()).await {
                Ok(()) => {
                    failures = 0;
                    self.counters.add(Event::CertificatesRenewed, 1);
                    let days_left = self.life().map(|life| life.days_left(self.now()));
                    tracing::info!(days_left, "certificate renewed");
                    self.renewed.send_modify(|number| *number += 1);
                }
                Err(error) => {
                    failures += 1;
                    let days_left = life.days_left(self.now());
                    self.counters
                        .warn(Event::RenewalsFailed, || format!("{error}; the certificate has {days_left} days left"));
                }
            }
        }
    }

    fn life(&self) -> Option<Life> {
        self.store.load().ok()?.life()
    }

    fn now(&self) -> i64 {
        self.clock.now().0.div_euclid(1_000_000)
    }

    /// Until it is due, or until the next try.
    fn wait(&mut self, life: &Life, failures: u32) -> Duration {
        let until = Duration::from_secs(u64::try_from(life.due().saturating_sub(self.now())).unwrap_or(0));
        if failures == 0 {
            // A little late rather than early, and each agent in its own moment: within a twentieth of what is left then.
            let left = u64::try_from(life.not_after.saturating_sub(life.due())).unwrap_or(0);
            let jitter = Duration::from_secs(left / 20).mul_f64(self.random.random_range(0.0..=1.0)).min(LOOK);
            return if until > LOOK { LOOK } else { until + jitter };
        }
        let full = WAITS.0.saturating_mul(1 << failures.min(12)).min(WAITS.1);
        full.mul_f64(self.random.random_range(0.5..=1.0))
    }
}
