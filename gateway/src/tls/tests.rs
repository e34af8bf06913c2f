//! Clients that trust the certificate, and others.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use weir_protocol::Tenant;
use weir_protocol::time::SystemClock;

use super::*;
use crate::access::ClientId;
use crate::ca::request::Request;
use crate::ca::{Ca, Owner, Revoke};
use crate::config::Config;

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

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

/// A gateway with an authority of its own, clients that show what it issued, and a turn for each connection.
struct Gateway {
    data: TempDir,
    ca: Ca,
    tls: Tls,
    revocations: Revocations,
}

impl Gateway {
    fn new() -> Self {
        let data = TempDir::new().unwrap();
        let ca = Ca::new(data.path(), Arc::new(SystemClock));
        ca.init(Some("Weir test")).unwrap();
        ca.serve_as(&["localhost".to_owned()]).unwrap();
        let revocations = Revocations::default();
        let files = Config::default().tls.files(data.path());
        let tls = Tls::open(files, PATIENCE, revocations.clone()).unwrap();
        Self { data, ca, tls, revocations }
    }

    /// A client with a certificate for `name`.
    fn client(&self, name: &str) -> (ClientConfig, Serial) {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let owner = Owner { tenant: Tenant::DEFAULT, name: ClientId::new(name).unwrap() };
        let issued = self.ca.issue(&Request::parse(csr.as_bytes()).unwrap(), &owner, DAY).unwrap();
        let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca.paths().certificate).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        (config, issued.serial)
    }

    /// One connection: what the gateway saw, and whether the client got an answer.
    async fn meet(&self, client: &Arc<ClientConfig>) -> Result<Option<PeerCertificate>, HandshakeError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connector = TlsConnector::from(client.clone());
        let asking = tokio::spawn(async move {
            let socket = TcpStream::connect(address).await.unwrap();
            let Ok(mut stream) = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await else {
                return;
            };
            // Reads the ticket, too.
            let _ = stream.read_u8().await;
        });
        let (socket, _) = listener.accept().await.unwrap();
        let accepted = Acceptor::from(self.tls.clone()).accept(socket).await;
        let seen = match accepted {
            Ok((mut stream, certificate)) => {
                stream.write_all(b"!").await.unwrap();
                stream.flush().await.unwrap();
                Ok(certificate)
            }
            Err(error) => Err(error),
        };
        asking.await.unwrap();
        seen
    }
}

#[tokio::test]
async fn a_client_is_whom_its_certificate_names() {
    let gateway = Gateway::new();
    let (client, serial) = gateway.client("pump-1");
    let client = Arc::new(client);
    for resumed in 0..2 {
        let seen = gateway.meet(&client).await.unwrap().unwrap();
        assert_eq!((&*seen.name, seen.tenant, &*seen.serial), ("pump-1", Tenant::DEFAULT, serial.bytes()));
        assert_eq!(gateway.tls.counters().handshakes(), (1, resumed), "the second one is short");
    }
    let other = Gateway::new();
    let mut stranger = other.client("pump-1").0;
    stranger.dangerous().set_certificate_verifier(roots_of(&gateway));
    let refused = gateway.meet(&Arc::new(stranger)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Untrusted, "{refused}");
}

/// What verifies the certificate of `gateway`.
fn roots_of(gateway: &Gateway) -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&gateway.ca.paths().certificate).unwrap()).unwrap();
    rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn who_is_revoked_hears_of_it_and_does_not_come_back_with_a_session_of_before() {
    let gateway = Gateway::new();
    let (client, serial) = gateway.client("pump-1");
    let (client, healthy) = (Arc::new(client), Arc::new(gateway.client("pump-2").0));
    let shown = gateway.meet(&client).await.unwrap().unwrap().id;
    let revocations = gateway.revocations.clone();
    let connected = tokio::spawn(async move { revocations.revoked(shown).await });
    gateway.ca.revoke(&Revoke::Serial(serial)).unwrap();
    gateway.tls.reload().unwrap();
    connected.await.unwrap();
    let refused = gateway.meet(&client).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Revoked, "{refused}");
    gateway.meet(&healthy).await.unwrap();
    let again = Tls::open(Config::default().tls.files(gateway.data.path()), PATIENCE, Revocations::default()).unwrap();
    assert_eq!(again.shared.revocations.len(), 1, "a restart forgets nothing");
}

/// A ticket outlives a certificate that it brings along: the one look that a resumed session gets is ours.
#[tokio::test]
async fn a_session_of_a_revoked_certificate_is_not_resumed() {
    let gateway = Gateway::new();
    let client = Arc::new(gateway.client("pump-1").0);
    let shown = gateway.meet(&client).await.unwrap().unwrap().id;
    // The list is known here, and the tickets are still good.
    gateway.revocations.replace([shown].into());
    let refused = gateway.meet(&client).await.unwrap_err();
    assert!(matches!(refused, HandshakeError::Revoked(_)), "{refused}");
}

/// Numbers of all authorities were one set: who revoked number 1 of one authority sent number 1 of another away.
#[tokio::test]
async fn a_certificate_of_another_authority_with_the_same_number_stays() {
    let (dir, number) = (TempDir::new().unwrap(), SerialNumber::from(1));
    let (mut authorities, mut shown) = (String::new(), Vec::new());
    let mut list = None;
    for name in ["first", "second"] {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authorities += &authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let mut client = CertificateParams::new(Vec::new()).unwrap();
        client.distinguished_name.push(DnType::CommonName, "pump-1");
        client.serial_number = Some(number.clone());
        let client = client.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        shown.push(PeerCertificate::read(client.der()).unwrap());
        let revoked = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: number.clone(),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: number.clone(),
                revocation_time: date_time_ymd(2026, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.get_or_insert(revoked.signed_by(&issuer).unwrap().pem().unwrap());
    }
    let [ca, crl] = ["clients.pem", "crl.pem"].map(|name| dir.path().join(name));
    std::fs::write(&ca, authorities).unwrap();
    std::fs::write(&crl, list.unwrap()).unwrap();
    let gateway = Signed::until(4000);
    let (certificate, key) = (gateway.certificate(), gateway.key());
    let revocations = Revocations::default();
    let files = Files { certificate, key, client_ca: vec![ca], crl: vec![crl], optional: Vec::new() };
    Tls::open(files, PATIENCE, revocations.clone()).unwrap();
    assert_eq!(shown[0].serial, shown[1].serial);
    assert_eq!([&shown[0], &shown[1]].map(|shown| revocations.contains(shown.id)), [true, false]);
}

#[tokio::test]
async fn a_set_of_files_that_cannot_be_used_changes_nothing() {
    let gateway = Gateway::new();
    let client = Arc::new(gateway.client("pump-1").0);
    let paths = gateway.ca.paths();
    for file in [&paths.server_certificate, &paths.server_key, &paths.certificate, &paths.crl] {
        let good = std::fs::read(file).unwrap();
        std::fs::write(file, "-----BEGIN NOTHING-----").unwrap();
        let error = gateway.tls.reload().unwrap_err();
        assert!(error.is_of(file) && error.to_string().contains("PEM form"), "{error}");
        gateway.meet(&client).await.unwrap();
        std::fs::write(file, good).unwrap();
    }
    let before = gateway.tls.not_after();
    std::fs::write(&paths.server_key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(gateway.tls.reload(), Err(TlsError::Mismatch { .. })));
    gateway.ca.serve_as(&["localhost".to_owned()]).unwrap();
    gateway.tls.reload().unwrap();
    gateway.meet(&client).await.unwrap();
    assert!(gateway.tls.not_after() >= before);
    assert_eq!(gateway.tls.counters().reloads(), (1, 5));
}

#[tokio::test]
async fn files_that_change_are_read_again_without_being_asked() {
    let gateway = Gateway::new();
    let (client, serial) = gateway.client("pump-1");
    let shown = gateway.meet(&Arc::new(client)).await.unwrap().unwrap().id;
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let keeping = tokio::spawn(gateway.tls.clone().keep(Arc::default(), stopping));
    gateway.ca.revoke(&Revoke::Serial(serial)).unwrap();
    gateway.revocations.revoked(shown).await;
    keeping.abort();
}
