//! The certificates that are revoked, for whoever has a connection of one.
//!
//! What it guarantees: who waits for a certificate hears of it as soon as the list is replaced, and nobody hears of a certificate
//! of another authority that has the same number.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::peer::CertificateId;

/// The certificates that are revoked; cheap to clone.
#[derive(Clone, Debug)]
pub struct Revocations {
    list: Arc<watch::Sender<HashSet<CertificateId>>>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { list: Arc::new(watch::Sender::new(HashSet::new())) }
    }
}

impl Revocations {
    /// Puts `revoked` in place of those that were known.
    pub fn replace(&self, revoked: HashSet<CertificateId>) {
        self.list.send_if_modified(|known| {
            let is_new = *known != revoked;
            *known = revoked;
            is_new
        });
    }

    /// Whether a certificate is revoked.
    pub fn contains(&self, certificate: CertificateId) -> bool {
        self.list.borrow().contains(&certificate)
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
    pub async fn revoked(&self, certificate: CertificateId) {
        let mut list = self.list.subscribe();
        if list.wait_for(|list| list.contains(&certificate)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
