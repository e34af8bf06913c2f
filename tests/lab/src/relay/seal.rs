//! Both ends of TLS at once, for a relay that has to see what passes.
//!
//! A deployment with TLS has the lab between an agent and a gateway that verify each other. So towards the agent the relay is the
//! gateway, with the gateway's own key, and towards the gateway it is the agent, with the agent's: it can be both because both
//! keys lie in the run's directory. Each side verifies what it would verify without it, and the relay verifies the agent as the
//! gateway does. The files are read for each connection, so what is renewed is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The name that the gateway's certificate is for.
pub const SERVER: &str = "localhost";

/// A connection with TLS or without.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Whose keys the relay uses: PEM files.
#[derive(Clone, Debug)]
pub struct Seal {
    /// The authority of both.
    pub authority: PathBuf,
    /// The gateway's certificate.
    pub server: PathBuf,
    /// The gateway's key.
    pub server_key: PathBuf,
    /// Certificate and key of the agent, once it has enrolled.
    pub device: PathBuf,
}

impl Seal {
    /// Is the gateway to whoever connects, who has to show a certificate of the authority.
    pub(super) async fn accept(&self, agent: TcpStream) -> Result<Box<dyn Wire>> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider()).build()?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain(&self.server)?, key(&self.server_key)?)?;
        Ok(Box::new(TlsAcceptor::from(Arc::new(config)).accept(agent).await?))
    }

    /// Is the agent to the gateway.
    pub(super) async fn connect(&self, gateway: TcpStream) -> Result<Box<dyn Wire>> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(chain(&self.device)?, key(&self.device)?)?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Box::new(connector.connect(ServerName::try_from(SERVER)?, gateway).await?))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in chain(&self.authority)? {
            roots.add(certificate)?;
        }
        Ok(roots)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.with_context(|| format!("no certificates in {}", path.display()))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).with_context(|| format!("no key in {}", path.display()))
}
