//! The tables `tls` and `ca`: the certificate of the gateway, whose clients it believes, and what it gives to clients.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use super::{Config, unset, within};
use crate::ca;
use crate::tls::{self, Files, Revocations, TlsError};

/// The table `tls`. What is not set is taken from the gateway's own authority, if there is one (`weir-gateway ca init`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate chain, a PEM file.
    pub certificate: Option<Spanned<PathBuf>>,
    /// Its key, a PEM file.
    pub key: Option<Spanned<PathBuf>>,
    /// Authorities of clients beside our own, a PEM file.
    pub client_ca: Option<Spanned<PathBuf>>,
    /// What they have revoked, a PEM file.
    pub crl: Option<Spanned<PathBuf>>,
    /// How long a handshake may take.
    pub handshake_timeout: Spanned<Period>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: None, key: None, client_ca: None, crl: None, handshake_timeout: unset(Period::secs(10)) }
    }
}

/// The table `ca`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ca {
    /// How long the certificate of a client is good.
    pub lifetime: Spanned<Period>,
}

impl Default for Ca {
    fn default() -> Self {
        Self { lifetime: unset(Period::secs(365 * 86_400)) }
    }
}

impl Ca {
    pub(super) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        within(source, "ca.lifetime", &self.lifetime, Period::secs(10)..=Period::secs(3653 * 86_400))
    }
}

impl Tls {
    /// The files that it names, and those of the authority in `data`.
    pub fn files(&self, data: &Path) -> Files {
        let own = ca::Paths::in_data(data);
        let path = |set: &Option<Spanned<PathBuf>>| set.as_ref().map(|set| set.get_ref().clone());
        let (client_ca, crl) = (path(&self.client_ca), path(&self.crl));
        Files {
            certificate: path(&self.certificate).unwrap_or_else(|| own.server_certificate.clone()),
            key: path(&self.key).unwrap_or_else(|| own.server_key.clone()),
            client_ca: client_ca.into_iter().chain([own.certificate.clone()]).collect(),
            crl: crl.into_iter().chain([own.crl.clone()]).collect(),
            optional: vec![own.certificate, own.crl],
        }
    }

    pub(super) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let (alone, other) = match (&self.certificate, &self.key) {
            (Some(alone), None) => (alone, "tls.key = \"/etc/weir/gateway.key\""),
            (None, Some(alone)) => (alone, "tls.certificate = \"/etc/weir/gateway.pem\""),
            _ => {
                let timeout = &self.handshake_timeout;
                return within(source, "tls.handshake_timeout", timeout, Period::millis(100)..=Period::secs(600));
            }
        };
        let message = "tls: a certificate and its key come together";
        Err(source.error(alone.span(), message).with_help(format!("set {other}, too")))
    }
}

impl Config {
    /// Whether any port speaks TLS, and where the settings say so.
    fn wants_tls(&self) -> Option<(&'static str, std::ops::Range<usize>)> {
        let mqtt = self.mqtt.tls_listen.as_ref().map(|listen| ("mqtt.tls_listen", listen.span()));
        let http = self.http.tls.get_ref().then(|| ("http.tls", self.http.tls.span()));
        let kafka = self.kafka.tls.get_ref().then(|| ("kafka.tls", self.kafka.tls.span()));
        mqtt.or(http).or(kafka)
    }

    /// The TLS of the ports that speak it; None: none does.
    ///
    /// # Errors
    /// [`TlsError`] if its files cannot be used.
    pub fn open_tls(&self, revocations: Revocations) -> Result<Option<tls::Tls>, TlsError> {
        let patience = self.tls.handshake_timeout.get_ref().0;
        let open = |_| tls::Tls::open(self.tls.files(&self.data), patience, revocations);
        self.wants_tls().map(open).transpose()
    }

    /// Checks that the files of TLS can be read and belong together, if a port wants it.
    pub(super) fn check_tls_files(&self, source: &Source) -> Result<(), SettingsError> {
        let Some((key, span)) = self.wants_tls() else { return Ok(()) };
        let Err(error) = self.open_tls(Revocations::default()) else { return Ok(()) };
        let files = self.tls.files(&self.data);
        if self.tls.certificate.is_none() && error.is_of(&files.certificate) && !files.certificate.exists() {
            let message = format!("{key}: there is no certificate for TLS");
            return Err(source.error(span, message).with_help(
                "make one with `weir-gateway ca init --server-name NAME`, NAME as clients call this machine; or set \
                 tls.certificate and tls.key"
                    .to_owned(),
            ));
        }
        let tls = &self.tls;
        let set = [
            ("tls.key", &tls.key),
            ("tls.certificate", &tls.certificate),
            ("tls.client_ca", &tls.client_ca),
            ("tls.crl", &tls.crl),
        ];
        let culprit =
            set.iter().find_map(|(name, set)| Some((name, set.as_ref().filter(|set| error.is_of(set.get_ref()))?)));
        let (name, span) = culprit.map_or((key, span), |(name, at)| (*name, at.span()));
        Err(source.error(span, format!("{name}: {error}")).with_help(
            "the certificate chain, the gateway's own first, and its key, each in a PEM file that the user of the \
             gateway can read"
                .to_owned(),
        ))
    }
}
