//! The certificates that are revoked, for whoever has a connection of one.
//!
//! What it guarantees: who waits for a serial number hears of it as soon as the list is replaced. Numbers of all
//! authorities are one set, as they are random with ours and at every public one.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::peer::Serial;

/// The serial numbers that are revoked; cheap to clone.
#[derive(Clone, Debug)]
pub struct Revocations {
    list: Arc<watch::Sender<HashSet<Serial>>>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { list: Arc::new(watch::Sender::new(HashSet::new())) }
    }
}

impl Revocations {
    /// Puts `serials` in place of those that were known.
    pub fn replace(&self, serials: HashSet<Serial>) {
        self.list.send_if_modified(|known| {
            let is_new = *known != serials;
            *known = serials;
            is_new
        });
    }

    /// Whether a certificate is revoked.
    pub fn contains(&self, serial: &[u8]) -> bool {
        self.list.borrow().contains(serial)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resolves when a certificate is revoked; at once if it is.
    pub async fn revoked(&self, serial: &[u8]) {
        let mut list = self.list.subscribe();
        if list.wait_for(|list| list.contains(serial)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
