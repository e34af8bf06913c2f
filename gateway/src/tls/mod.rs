//! TLS of every port: one certificate, one set of authorities whose clients are believed.
//!
//! What it guarantees:
//! - certificate, key, authorities and lists of revoked certificates are read and found to belong together before
//!   anything else is done with them. They are read again when they change, and when the operator asks for it: a set
//!   that cannot be used is refused as a whole, and the one before it stays ([`keep`]);
//! - TLS 1.2 and 1.3; sessions are resumed from tickets that the clients keep, so they cost no memory, and tickets of
//!   before a change are worth nothing after it;
//! - a client that does not finish its handshake in time is closed; every way in which a handshake fails has a name
//!   ([`failure`]) and is counted;
//! - a client may show a certificate, and then is whom it names ([`peer`]). It is asked for one only where there is an
//!   authority. Who comes without is let through here, and decided about by [`crate::access`];
//! - who is revoked hears of it at once ([`revocations`]).

pub mod counters;
pub mod failure;
pub mod files;
mod keep;
mod metrics;
pub mod peer;
pub mod revocations;
mod stream;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::{HandshakeKind, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use counters::Counters;
use files::Material;

pub use failure::{HandshakeError, Reason};
pub use files::{Files, TlsError};
pub use peer::{CertificateId, PeerCertificate, Serial};
pub use revocations::Revocations;
pub use stream::Stream;

/// The TLS of the gateway; cheap to clone.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    files: Files,
    patience: Duration,
    current: RwLock<Current>,
    revocations: Revocations,
    counters: Counters,
}

/// What new connections get.
struct Current {
    config: Arc<ServerConfig>,
    not_after: i64,
}

impl Tls {
    /// With these files; a handshake may take `patience`. Whatever they say is revoked is put into `revocations`.
    ///
    /// # Errors
    /// [`TlsError`], which says what is wrong with which file.
    pub fn open(files: Files, patience: Duration, revocations: Revocations) -> Result<Self, TlsError> {
        let Material { config, revoked, not_after } = Material::read(&files)?;
        revocations.replace(revoked);
        let current = RwLock::new(Current { config, not_after });
        Ok(Self { shared: Arc::new(Shared { files, patience, current, revocations, counters: Counters::default() }) })
    }

    /// Reads the files again. Connections that are open stay, but for those whose certificate is revoked now.
    ///
    /// # Errors
    /// [`TlsError`]; what was there before stays then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = Material::read(&self.shared.files);
        self.shared.counters.reloaded(read.is_ok());
        let Material { config, revoked, not_after } = read?;
        // Nobody gets in with the old set after those who are open were told.
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = Current { config, not_after };
        self.shared.revocations.replace(revoked);
        Ok(())
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner).not_after
    }

    fn acceptor(&self) -> TlsAcceptor {
        let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(current.config.clone())
    }
}

/// How long a connection whose certificate is revoked may take to end in order.
const GOODBYE: Duration = Duration::from_millis(500);

/// Lets the connections of one port in, with TLS or without.
#[derive(Clone, Default)]
pub struct Acceptor {
    tls: Option<Tls>,
}

impl From<Tls> for Acceptor {
    fn from(tls: Tls) -> Self {
        Self { tls: Some(tls) }
    }
}

impl Acceptor {
    /// Without TLS.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Resolves a moment after this certificate is revoked: whoever serves it may say goodbye until
    /// then. Never without a certificate.
    pub async fn ended(&self, shown: Option<CertificateId>) {
        match (&self.tls, shown) {
            (Some(tls), Some(shown)) => {
                tls.shared.revocations.revoked(shown).await;
                tokio::time::sleep(GOODBYE).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Does the handshake, if there is one; the certificate that the client showed, if it did.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is closed then.
    pub async fn accept(&self, socket: TcpStream) -> Result<(Stream, Option<PeerCertificate>), HandshakeError> {
        let Some(tls) = &self.tls else { return Ok((Stream::Plain(socket), None)) };
        let accepted = tls.accept(socket).await;
        if let Err(error) = &accepted {
            tls.shared.counters.failed(error.reason());
        }
        accepted
    }
}

impl Tls {
    async fn accept(&self, socket: TcpStream) -> Result<(Stream, Option<PeerCertificate>), HandshakeError> {
        let patience = self.shared.patience;
        let handshake = timeout(patience, self.acceptor().accept(socket));
        let stream = handshake.await.map_err(|_| HandshakeError::Slow(patience))??;
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(PeerCertificate::read).transpose()?;
        if let Some(certificate) = &certificate {
            self.check_again(certificate)?;
        }
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        self.shared.counters.accepted(is_resumed);
        Ok((Stream::Tls(Box::new(stream)), certificate))
    }

    /// A session that is resumed brings its certificate along, and nobody looks at it again.
    fn check_again(&self, certificate: &PeerCertificate) -> Result<(), HandshakeError> {
        if self.shared.revocations.contains(certificate.id) {
            return Err(HandshakeError::Revoked(Serial::new(&certificate.serial)));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if certificate.not_after < i64::try_from(now).unwrap_or(i64::MAX) {
            return Err(HandshakeError::Expired(Serial::new(&certificate.serial)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
