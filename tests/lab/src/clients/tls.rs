//! Clients over TLS, with certificates or without.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connect;
use super::mqtt::Link;

/// The name in the gateway's certificate.
pub(crate) const NAME: &str = "localhost";

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Card {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Card {
    /// From a chain and a key in PEM.
    pub(crate) fn of_pem(chain: &str, key: &str) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>();
        let chain = chain.context("the certificate is not PEM")?;
        Ok(Self { chain, key: PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the key is not PEM")? })
    }
}

/// A new key, and the request that has it certified: both PEM. Which name it gets is the authority's to say.
pub(crate) fn request() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::new(vec!["not-its-name".to_owned()])?.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.pem()?))
}

/// Authorities of servers.
pub(crate) fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(pem) {
        roots.add(authority.context("the authority is not PEM")?)?;
    }
    Ok(Arc::new(roots))
}

/// A client; it shows `card`, and does a whole handshake each time.
pub(crate) fn client(roots: &Arc<RootCertStore>, card: Option<&Card>) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(Arc::clone(roots));
    let mut config = match card {
        Some(card) => builder.with_client_auth_cert(card.chain.clone(), card.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection over TLS from an address that `number` chooses.
pub(crate) async fn secure(number: usize, to: SocketAddr, client: &Arc<ClientConfig>) -> Result<Link> {
    let socket = connect(number, to).await?;
    socket.set_nodelay(true)?;
    handshake(socket, ServerName::try_from(NAME)?, client).await
}

/// TLS on a socket, with whoever proves `name`.
pub(super) async fn handshake(
    socket: TcpStream,
    name: ServerName<'static>,
    client: &Arc<ClientConfig>,
) -> Result<Link> {
    let stream = TlsConnector::from(Arc::clone(client)).connect(name, socket).await;
    Ok(Box::new(stream.context("no TLS with the gateway")?))
}
