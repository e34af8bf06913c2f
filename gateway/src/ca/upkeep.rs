//! What the authority does by itself: it renews the gateway's own certificate, and says again what is revoked before the
//! list of it gets old.
//!
//! What it guarantees: both happen at two thirds of a life, so that there is a third of it to see to a failure; a failure
//! is said once an hour. A certificate that somebody else gave the gateway is left alone.

use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::files::{self, Locked};
use super::{Ca, CaError};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(3600);

/// Keeps the files of the authority fresh until `stop` turns true.
pub async fn keep(ca: Ca, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => (),
        }
        let ca = ca.clone();
        let refreshed = tokio::task::spawn_blocking(move || ca.refresh()).await;
        match refreshed {
            Ok(Ok(Refreshed { server: false, crl: false })) | Err(_) => (),
            Ok(Ok(Refreshed { server, crl })) => tracing::info!(server, crl, "certificate or revocations made anew"),
            Ok(Err(error)) => tracing::error!(%error, "the authority cannot renew what is getting old"),
        }
    }
}

/// What was made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The gateway's own certificate.
    pub server: bool,
    /// The list of what is revoked.
    pub crl: bool,
}

impl Ca {
    /// Makes anew what is past two thirds of its life.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn refresh(&self) -> Result<Refreshed, CaError> {
        let mut done = Refreshed { server: false, crl: false };
        if !self.paths.certificate.exists() {
            return Ok(done);
        }
        if let Some(names) = self.server_names_if_due() {
            self.serve_as(&names)?;
            done.server = true;
        }
        if self.is_crl_due() {
            let lock = Locked::open(&self.paths)?;
            self.write_crl(&lock, &mut self.register())?;
            done.crl = true;
        }
        Ok(done)
    }

    /// The names in the gateway's certificate, if it is ours and past two thirds.
    fn server_names_if_due(&self) -> Option<Vec<String>> {
        let pem = files::text(&self.paths.server_certificate).ok()?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let certificate = X509Certificate::from_der(&der).ok()?.1;
        let validity = certificate.validity();
        if !self.is_due(validity.not_before.timestamp(), validity.not_after.timestamp()) {
            return None;
        }
        let names = certificate.subject_alternative_name().ok()??;
        Some(names.value.general_names.iter().filter_map(name).collect())
    }

    /// A list that cannot be read is due too.
    fn is_crl_due(&self) -> bool {
        let times = || {
            let pem = files::text(&self.paths.crl).ok()?;
            let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).ok()?;
            let list = CertificateRevocationList::from_der(&der).ok()?.1;
            Some((list.last_update().timestamp(), list.next_update()?.timestamp()))
        };
        times().is_none_or(|(from, to)| self.is_due(from, to))
    }

    fn is_due(&self, from: i64, to: i64) -> bool {
        self.now() >= from.saturating_add(to.saturating_sub(from) / 3 * 2)
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(std::net::IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            _ => Some(std::net::IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    }
}
