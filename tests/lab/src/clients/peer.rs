//! Whom clients connect to: an address, and with TLS the name and the authorities that it has to prove.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::connect;
use super::mqtt::Link;
use super::tls::{self, Card};

/// One port of a gateway.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    tls: Option<Tls>,
}

#[derive(Clone, Debug)]
struct Tls {
    name: String,
    roots: Arc<RootCertStore>,
    /// Of a client that shows no certificate.
    anonymous: Arc<ClientConfig>,
}

impl From<SocketAddr> for Peer {
    /// Without TLS.
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

impl Peer {
    /// With TLS: it has to prove `name` by a certificate of an authority in the PEM file `authorities`.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn sealed(address: SocketAddr, name: &str, authorities: &Path) -> Result<Self> {
        let shown = authorities.display();
        let pem = std::fs::read(authorities).with_context(|| format!("cannot read {shown}"))?;
        let roots = tls::roots(&pem).with_context(|| format!("{shown} is no file of certificates"))?;
        if roots.is_empty() {
            bail!("{shown} holds no certificate");
        }
        let anonymous = tls::client(&roots, None)?;
        Ok(Self { address, tls: Some(Tls { name: name.to_owned(), roots, anonymous }) })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same one, reached through somebody at `address` who passes on what is said.
    #[must_use]
    pub fn through(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The name that it proves, with TLS.
    pub(crate) fn name(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| &*tls.name)
    }

    /// What a client of it that shows no certificate goes by, with TLS.
    pub(crate) fn anonymous(&self) -> Option<ClientConfig> {
        self.tls.as_ref().map(|tls| ClientConfig::clone(&tls.anonymous))
    }

    /// Connects, from an address of this machine that `number` chooses.
    pub(crate) async fn connect(&self, number: usize) -> Result<Link> {
        self.connect_as(number, None).await
    }

    /// The same, and shows `card`, which is nothing to somebody without TLS.
    pub(crate) async fn connect_as(&self, number: usize, card: Option<&Card>) -> Result<Link> {
        let socket = connect(number, self.address).await?;
        socket.set_nodelay(true)?;
        let Some(Tls { name, roots, anonymous }) = &self.tls else { return Ok(Box::new(socket)) };
        let client = match card {
            Some(card) => tls::client(roots, Some(card))?,
            None => Arc::clone(anonymous),
        };
        let name = ServerName::try_from(name.clone()).with_context(|| format!("{name:?} is no name of a server"))?;
        tls::handshake(socket, name, &client).await
    }
}
