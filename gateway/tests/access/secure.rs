//! A gateway with an authority of its own, and devices that speak HTTP over TLS to it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_gateway::access::ClientId;
use weir_gateway::ca::request::Request;
use weir_gateway::ca::{Ca, Owner, Revoke};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{Tenant, Timestamp};

use crate::world::Gateway;

/// Far beyond what anything here takes: a wait so long is a failure and not a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long certificates live that are issued here.
pub(crate) const YEAR: Duration = Duration::from_secs(365 * DAY);
/// Seconds.
pub(crate) const DAY: u64 = 86_400;

/// A gateway whose HTTP port has TLS and takes certificates.
pub(crate) struct Secure {
    pub(crate) gateway: Gateway,
}

/// What a device has to show.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Its certificate first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Shown {
    /// A chain as it was handed out, and the key that its first certificate is for.
    pub(crate) fn of(chain: &str, key: &KeyPair) -> Self {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        Self { chain, key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap() }
    }
}

/// A clock that is late by so much: what was issued by it was issued then.
struct Ago(Duration);

impl WallClock for Ago {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 - i64::try_from(self.0.as_micros()).unwrap())
    }
}

impl Secure {
    /// With `more` settings, as variables.
    pub(crate) async fn start(more: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        type_in(data.path(), &["ca", "init", "--server-name", "localhost"]);
        let tls = [("HTTP__TLS", "true"), ("MQTT__TLS_LISTEN", "127.0.0.1:0")];
        Self { gateway: Gateway::start_with(data, &[&tls, more].concat()).await }
    }

    /// Types a command of the gateway beside it; what it prints.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        command(&self.gateway, arguments).await
    }

    /// A token that lets a device in whose name matches.
    pub(crate) async fn enrolment_token(&self, names: &str) -> String {
        self.command(&["token", "create", "--enroll", names]).await
    }

    /// The authority, as of `ago`.
    fn ca(&self, ago: Duration) -> Ca {
        Ca::new(self.gateway.data.path(), Arc::new(Ago(ago)))
    }

    /// A certificate of the authority that was issued `days` ago, for a year.
    pub(crate) fn issued(&self, name: &str, days: u64) -> (Shown, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let owner = Owner { tenant: Tenant::DEFAULT, name: ClientId::new(name).unwrap() };
        let request = Request::parse(request(&key, name).as_bytes()).unwrap();
        let issued = self.ca(Duration::from_secs(days * DAY)).issue(&request, &owner, YEAR).unwrap();
        (Shown::of(&issued.chain, &key), key)
    }

    /// Takes all certificates of a device back, as `ca revoke` does.
    pub(crate) fn revoke(&self, name: &str) {
        let owner = Owner { tenant: Tenant::DEFAULT, name: ClientId::new(name).unwrap() };
        self.ca(Duration::ZERO).revoke(&Revoke::Owner(owner)).unwrap();
    }

    /// How many certificates the authority has given to devices.
    pub(crate) fn certificates(&self) -> usize {
        self.ca(Duration::ZERO).issued().unwrap().len()
    }

    /// `POST` of a certificate request, as `curl --data-binary @device.csr` sends it.
    pub(crate) async fn post(&self, path: &str, token: Option<&str>, shown: Option<&Shown>, body: &str) -> Answer {
        let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/x-www-form-urlencoded\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(self.gateway.at.http, &self.roots(), shown, &request).await;
        let (head, body) =
            answer?.split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.to_owned())).ok_or(
                // Closed without an answer.
                io::ErrorKind::UnexpectedEof,
            )?;
        let why = serde_json::from_str(&body).ok().and_then(|body: Value| Some(body["error"].as_str()?.to_owned()));
        Ok((head[9..12].parse().unwrap(), why.unwrap_or(body)))
    }

    /// What a device believes: the authority, which was copied to it.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let ca = self.gateway.data.path().join("ca/ca.pem");
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        roots
    }
}

/// Status and body, which is a chain or why there is none; or how the connection ended.
pub(crate) type Answer = io::Result<(u16, String)>;

/// Sends `said` over TLS and reads until the end.
async fn exchange(at: SocketAddr, roots: &RootCertStore, shown: Option<&Shown>, said: &str) -> io::Result<String> {
    let talk = async {
        let mut stream = connect(at, roots, shown).await?;
        stream.write_all(said.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    timeout(PATIENCE, talk).await.unwrap()
}

/// A connection over TLS whose server is `localhost`.
pub(crate) async fn connect(
    at: SocketAddr,
    roots: &RootCertStore,
    shown: Option<&Shown>,
) -> io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone());
    let config = match shown {
        Some(Shown { chain, key }) => config.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
        None => config.with_no_client_auth(),
    };
    let socket = TcpStream::connect(at).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// A certificate request that asks for nothing but a name.
pub(crate) fn request(key: &KeyPair, name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// Types a command of the gateway beside `gateway`; what it prints.
pub(crate) async fn command(gateway: &Gateway, arguments: &[&str]) -> String {
    let data = gateway.data.path().to_owned();
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let typed = move || type_in(&data, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(typed).await.unwrap()
}

/// Types a command of the gateway on this data directory; what it prints.
pub(crate) fn type_in(data: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
    let output = command.args(arguments).env("WEIR_GATEWAY_DATA", data).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
