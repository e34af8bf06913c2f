//! TLS of the Kafka port.
//!
//! What it guarantees: certificate and key are read and found to belong together before anything else is done with
//! them; a client that does not finish its handshake in time is closed; every way in which a handshake fails has a name.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

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
}

impl TlsError {
    /// Whether it is the key's fault rather than the certificate's.
    pub fn is_of_key(&self, key_file: &Path) -> bool {
        match self {
            Self::Read { path, .. } | Self::NotPem { path, .. } => path == key_file,
            Self::Mismatch { .. } => true,
            Self::Unusable { .. } => false,
        }
    }
}

/// Why a client was not let in.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("no TLS handshake within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// It does not speak TLS, does not trust the certificate, has no version or cipher in common, or went away.
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// Lets connections in, with TLS or without.
#[derive(Clone)]
pub struct Acceptor {
    tls: Option<TlsAcceptor>,
    patience: Duration,
}

impl Acceptor {
    /// Without TLS.
    pub fn plain() -> Self {
        Self { tls: None, patience: Duration::MAX }
    }

    /// With the certificate chain and the key in these PEM files; a handshake may take `patience`.
    ///
    /// # Errors
    /// [`TlsError`], which says what is wrong with which file.
    pub fn tls(certificate: &Path, key: &Path, patience: Duration) -> Result<Self, TlsError> {
        let tls = Some(TlsAcceptor::from(Arc::new(server(certificate, key)?)));
        Ok(Self { tls, patience })
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Does the handshake, if there is one.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is closed then.
    pub async fn accept(&self, socket: TcpStream) -> Result<Stream, HandshakeError> {
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let handshake = timeout(self.patience, tls.accept(socket));
        let stream = handshake.await.map_err(|_| HandshakeError::Slow(self.patience))??;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

fn server(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain = certificates(certificate)?;
    let private = private_key(key)?;
    let unusable = |source| match source {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        source => TlsError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), source },
    };
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = || TlsError::NotPem { path: path.to_owned(), expected: "certificate", begins: "CERTIFICATE" };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(not_pem)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let not_pem = |_| TlsError::NotPem { path: path.to_owned(), expected: "private key", begins: "PRIVATE KEY" };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(not_pem)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// A connection that was let in.
#[derive(Debug)]
pub enum Stream {
    /// As the bytes come.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
