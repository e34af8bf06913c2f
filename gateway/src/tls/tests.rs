//! Clients that trust the certificate, and others.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// An authority and what it has signed for `localhost`, valid to the end of `year`.
struct Signed {
    dir: TempDir,
    roots: RootCertStore,
}

impl Signed {
    fn until(year: i32) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(authority.self_signed(&authority_key).unwrap().der().clone()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        certificate.not_before = date_time_ymd(2000, 1, 1);
        certificate.not_after = date_time_ymd(year, 12, 31);
        let certificate = certificate.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("gateway.pem"), certificate.pem()).unwrap();
        std::fs::write(dir.path().join("gateway.key"), key.serialize_pem()).unwrap();
        Self { dir, roots }
    }

    fn acceptor(&self) -> Acceptor {
        open(&self.certificate(), &self.key()).unwrap().into()
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("gateway.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("gateway.key")
    }
}

/// TLS with these two files.
fn open(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
    let (certificate, key) = (certificate.to_owned(), key.to_owned());
    let files = Files { certificate, key, client_ca: Vec::new(), crl: Vec::new(), optional: Vec::new() };
    Tls::open(files, PATIENCE, Revocations::default())
}

/// Accepts one connection; what it says comes back.
async fn serve_one(acceptor: Acceptor) -> (SocketAddr, tokio::task::JoinHandle<Result<(), HandshakeError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let (mut stream, _) = acceptor.accept(socket).await?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).await?;
        stream.write_all(&said).await?;
        stream.shutdown().await?;
        Ok(())
    });
    (address, served)
}

/// A client that trusts `roots`.
async fn speak(address: SocketAddr, roots: &RootCertStore) -> io::Result<String> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    stream.write_all(b"hello").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served() {
    let signed = Signed::until(2999);
    let (address, served) = serve_one(signed.acceptor()).await;
    assert_eq!(speak(address, &signed.roots).await.unwrap(), "hello");
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn without_tls_bytes_pass_as_they_are() {
    let (address, served) = serve_one(Acceptor::plain()).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello");
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_says_so() {
    let (signed, other) = (Signed::until(2999), Signed::until(2999));
    let (address, served) = serve_one(signed.acceptor()).await;
    let error = speak(address, &other.roots).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    let refused = served.await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("fatal alert"), "the gateway logs what the client said: {refused}");
}

#[tokio::test]
async fn a_client_refuses_a_certificate_that_has_expired() {
    let signed = Signed::until(2001);
    let (address, served) = serve_one(signed.acceptor()).await;
    let error = speak(address, &signed.roots).await.unwrap_err().to_string();
    assert!(error.contains("expired"), "{error}");
    let refused = served.await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("CertificateExpired"), "{refused}");
}

#[tokio::test]
async fn a_client_without_tls_is_refused_by_name() {
    let signed = Signed::until(2999);
    let (address, served) = serve_one(signed.acceptor()).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    // ApiVersions as a client begins that was not told to use TLS.
    socket.write_all(b"\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff").await.unwrap();
    let refused = served.await.unwrap().unwrap_err();
    assert!(
        matches!(refused, HandshakeError::Failed(ref error) if error.kind() == io::ErrorKind::InvalidData),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_ended() {
    let signed = Signed::until(2999);
    let (address, served) = serve_one(signed.acceptor()).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let refused = served.await.unwrap().unwrap_err();
    assert_eq!(refused.to_string(), "no TLS handshake within 60 s");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (one, other) = (Signed::until(2999), Signed::until(2999));
    let error = |certificate: &Path, key: &Path| {
        let error = open(certificate, key).err().unwrap();
        (error.to_string(), error.is_of(key))
    };
    let missing = one.dir.path().join("missing.pem");
    for (certificate, key, expected, of_key) in [
        (&missing, &one.key(), "missing.pem: No such file", false),
        (&one.certificate(), &missing, "missing.pem: No such file", true),
        (&one.key(), &one.key(), "gateway.key: no certificate in PEM form", false),
        (&one.certificate(), &one.certificate(), "gateway.pem: no private key in PEM form", true),
        (&one.certificate(), &other.key(), "gateway.key does not belong to the certificate in", true),
    ] {
        let (message, is_of_key) = error(certificate, key);
        assert!(message.contains(expected), "{message}");
        if certificate != key {
            assert_eq!(is_of_key, of_key, "{message}");
        }
    }
    std::fs::write(one.certificate(), "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n").unwrap();
    assert!(error(&one.certificate(), &one.key()).0.contains("no certificate in PEM form"));
    std::fs::write(one.certificate(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(error(&one.certificate(), &one.key()).0.contains("gateway.pem with "));
}
