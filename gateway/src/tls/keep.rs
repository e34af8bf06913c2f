//! Reading the files again: when they change, and when the operator asks for it.
//!
//! What it guarantees: certificate and key that are replaced one after the other are taken once both are there; what
//! cannot be used is said once, and looked at again when something changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::Tls;

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_millis(500);

impl Tls {
    /// Keeps what new connections get as the files are, until `stop` turns true; `asked` reads them at once.
    pub async fn keep(self, asked: Arc<Notify>, mut stop: watch::Receiver<bool>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What changed between the first reading and now is read again.
        let mut seen = Vec::new();
        loop {
            let was_asked = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = asked.notified() => true,
                _ = ticks.tick() => false,
            };
            let tls = self.clone();
            // A few stats and reads of small files, which a slow disk may hold up.
            let looked = tokio::task::spawn_blocking(move || {
                let stamps = tls.shared.files.stamps();
                if stamps != seen || was_asked {
                    tls.read_again();
                }
                stamps
            });
            let Ok(stamps) = looked.await else { return };
            seen = stamps;
        }
    }

    fn read_again(&self) {
        match self.reload() {
            Ok(()) => {
                let (not_after, revoked) = (self.not_after(), self.shared.revocations.len());
                tracing::info!(not_after, revoked, "certificate, authorities and revoked certificates read again");
            }
            Err(error) => tracing::error!(%error, "TLS files cannot be used; what was read before them stays"),
        }
    }
}
