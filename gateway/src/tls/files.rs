//! The files of TLS, and what is made of them.
//!
//! What it guarantees: a set of files is taken as a whole or not at all; what is wrong with which file is said.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::peer::CertificateId;

/// Why there can be no TLS with these files.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: no {expected} in PEM form, which begins with `-----BEGIN {begins}-----`", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
        /// How it begins.
        begins: &'static str,
    },
    /// The key is not that of the certificate.
    #[error("{} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Anything else that the library does not take.
    #[error("{} with {}: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
    /// The authority of clients, or a list of what it revoked, is not one.
    #[error("{}: {why}", path.display())]
    Clients {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl TlsError {
    /// Whether it is the fault of this file.
    pub fn is_of(&self, file: &Path) -> bool {
        match self {
            Self::Read { path, .. } | Self::NotPem { path, .. } | Self::Clients { path, .. } => path == file,
            Self::Mismatch { key, .. } => key == file,
            Self::Unusable { certificate, .. } => certificate == file,
        }
    }
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate chain, the gateway's own first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities whose certificates clients may show. A file of `optional` that is not there is none.
    pub client_ca: Vec<PathBuf>,
    /// Lists of what they have revoked.
    pub crl: Vec<PathBuf>,
    /// The files among them that need not be there: those of our own authority, which may be made any time.
    pub optional: Vec<PathBuf>,
}

impl Files {
    /// What tells whether a file has changed; None: there is none.
    pub(super) fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let all = [&self.certificate, &self.key].into_iter().chain(&self.client_ca).chain(&self.crl);
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        all.map(stamp).collect()
    }

    fn is_left_out(&self, path: &PathBuf) -> bool {
        self.optional.contains(path) && !path.exists()
    }
}

/// What is in the files.
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    pub(super) revoked: HashSet<CertificateId>,
    /// When the certificate ends, in seconds since 1970.
    pub(super) not_after: i64,
}

impl Material {
    /// Reads everything.
    pub(super) fn read(files: &Files) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let not_after = chain.first().and_then(|first| X509Certificate::from_der(first).ok());
        let not_after = not_after.map_or(0, |(_, first)| first.validity().not_after.timestamp());
        let (config, revoked) = server(files, chain)?;
        Ok(Self { config: Arc::new(config), revoked, not_after })
    }
}

fn server(
    files: &Files,
    chain: Vec<CertificateDer<'static>>,
) -> Result<(ServerConfig, HashSet<CertificateId>), TlsError> {
    let (certificate, key) = (&files.certificate, &files.key);
    let private = private_key(key)?;
    let unusable = |source| match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() },
        source => TlsError::Unusable { certificate: certificate.clone(), key: key.clone(), source },
    };
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let (builder, revoked) = match clients(files, provider)? {
        Some((verifier, revoked)) => (builder.with_client_cert_verifier(verifier), revoked),
        None => (builder.with_no_client_auth(), HashSet::new()),
    };
    let mut config = builder.with_single_cert(chain, private).map_err(unusable)?;
    // Sessions are kept by the clients, encrypted: they cost no memory here, and one ticket is enough to come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new().map_err(unusable)?;
    config.send_tls13_tickets = 1;
    Ok((config, revoked))
}

type Clients = (Arc<dyn rustls::server::danger::ClientCertVerifier>, HashSet<CertificateId>);

/// What verifies the certificates of clients; None: they are not asked for one.
fn clients(files: &Files, provider: Arc<CryptoProvider>) -> Result<Option<Clients>, TlsError> {
    let wrong = |path: &PathBuf, why: String| TlsError::Clients { path: path.clone(), why };
    let mut roots = RootCertStore::empty();
    let mut first = None;
    for path in files.client_ca.iter().filter(|path| !files.is_left_out(path)) {
        for authority in certificates(path)? {
            roots.add(authority).map_err(|error| wrong(path, format!("no authority of clients: {error}")))?;
        }
        first.get_or_insert(path);
    }
    let Some(first) = first else { return Ok(None) };
    let (mut lists, mut revoked) = (Vec::new(), HashSet::new());
    for path in files.crl.iter().filter(|path| !files.is_left_out(path)) {
        for list in crls(path)? {
            let (_, parsed) = CertificateRevocationList::from_der(&list)
                .map_err(|error| wrong(path, format!("no list of revoked certificates: {error}")))?;
            let issuer = parsed.issuer().as_raw();
            let ids = parsed.iter_revoked_certificates().map(|entry| CertificateId::new(issuer, entry.raw_serial()));
            revoked.extend(ids);
            lists.push(list);
        }
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(lists)
        .only_check_end_entity_revocation()
        // An authority without a list has revoked nothing.
        .allow_unknown_revocation_status()
        // Who may come without one is decided where it is known who somebody is.
        .allow_unauthenticated()
        .build()
        .map_err(|error| wrong(files.crl.first().unwrap_or(first), error.to_string()))?;
    Ok(Some((verifier, revoked)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = || TlsError::NotPem { path: path.to_owned(), expected: "certificate", begins: "CERTIFICATE" };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(not_pem)
}

fn crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let not_pem =
        || TlsError::NotPem { path: path.to_owned(), expected: "list of revoked certificates", begins: "X509 CRL" };
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&read(path)?).collect();
    lists.ok().filter(|lists| !lists.is_empty()).ok_or_else(not_pem)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let not_pem = |_| TlsError::NotPem { path: path.to_owned(), expected: "private key", begins: "PRIVATE KEY" };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(not_pem)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
