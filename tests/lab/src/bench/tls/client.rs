//! A client over TLS 1.3 that costs as little as it can: it does not verify the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned};

use crate::bench::load::{self, CONNACK};

/// A connection.
pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// DISCONNECT of MQTT 3.1.1.
const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Settings of a client; it comes back with tickets if `is_resuming`.
pub(super) fn config(is_resuming: bool) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    let verifier = Arc::new(Trusting(provider));
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = if is_resuming { Resumption::default() } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// The name that clients ask for.
pub(super) fn name() -> Result<ServerName<'static>> {
    ServerName::try_from("localhost").context("the name of the server")
}

/// A connection to `server`; the handshake is done with the first bytes.
pub(super) fn dial(server: SocketAddr, config: &Arc<ClientConfig>) -> Result<Stream> {
    let connection = ClientConnection::new(Arc::clone(config), name()?)?;
    Ok(StreamOwned::new(connection, load::dial(server)?))
}

/// Connects, is let in and leaves; what kind of handshake it was.
pub(super) fn visit(server: SocketAddr, config: &Arc<ClientConfig>, hello: &[u8]) -> Result<HandshakeKind> {
    let mut stream = dial(server, config)?;
    stream.write_all(hello).context("the handshake failed")?;
    let mut answer = [0; CONNACK.len()];
    stream.read_exact(&mut answer).context("no answer to CONNECT")?;
    ensure!(answer == CONNACK, "got {answer:02x?} as CONNACK, expected {CONNACK:02x?}");
    stream.write_all(&DISCONNECT)?;
    let Some(kind) = stream.conn.handshake_kind() else { bail!("the handshake did not end") };
    // The server closes, as the standard has it: the port is free here at once.
    let _ = stream.sock.read_to_end(&mut Vec::new());
    Ok(kind)
}

/// Believes everything.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
