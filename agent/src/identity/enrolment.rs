//! Asking the gateway for a certificate, over HTTP: with a token at first, with the present certificate later.

use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use rustls::ClientConfig;
use serde::Deserialize;

use super::{IdentityError, Store, spoken, trust};
use crate::config::Proxy;

/// How long the gateway may take to answer, all in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer: a chain of a few certificates, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The URL is none.
    #[error("{0:?}: expected the HTTP port of the gateway, such as https://gateway.example:8080")]
    Url(String),
    /// Nothing to verify the gateway by.
    #[error(
        "nothing says that the gateway is the right one: give --ca FILE, its authority, or --ca-fingerprint SHA256, which \
         `weir-gateway ca show` prints"
    )]
    Unverified,
    /// The key or the request cannot be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
    /// The gateway cannot be reached, or is not the right one.
    #[error("{url}: {why}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// The gateway said no.
    #[error("the gateway refused ({status}): {why}")]
    Refused {
        /// Its status.
        status: u16,
        /// What it said.
        why: String,
    },
    /// The answer is no certificate for this key.
    #[error("{0}: the answer is no certificate chain")]
    NoCertificate(String),
    /// The files of the identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// By what the gateway is recognised.
#[derive(Clone, Debug)]
pub enum Recognised {
    /// By an authority in a file.
    Ca(std::path::PathBuf),
    /// By the SHA-256 of its authority.
    Fingerprint([u8; 32]),
    /// Not at all: over plain HTTP on this machine.
    Plain,
}

/// Gets a certificate for `name` with a token, and keeps it.
///
/// # Errors
/// [`EnrolError`]; what was in `store` stays then.
pub async fn enroll(
    store: &Store,
    gateway: &str,
    token: &str,
    name: &str,
    recognised: &Recognised,
    proxy: Option<&Proxy>,
) -> Result<(), EnrolError> {
    let base = base(gateway)?;
    let (client, found) = match recognised {
        Recognised::Plain if base.scheme() == "https" => return Err(EnrolError::Unverified),
        Recognised::Plain => (http(None, proxy)?, None),
        Recognised::Ca(ca) => (http(Some(trust::client(ca, None)?), proxy)?, None),
        Recognised::Fingerprint(fingerprint) => {
            let (config, found) = trust::pinned(*fingerprint).map_err(|error| unreachable(&base, error))?;
            (http(Some(config), proxy)?, Some(found))
        }
    };
    let mut url = join(&base, "enroll");
    url.query_pairs_mut().append_pair("name", name);
    let (key, request) = key_and_request(name)?;
    let chain = ask(client.post(url.clone()).bearer_auth(token), &url, request).await?;
    let authority = match (recognised, found.and_then(|found| found.get())) {
        (Recognised::Ca(ca), _) => String::from_utf8_lossy(&super::bytes(ca)?).into_owned(),
        (_, Some(der)) => pem(&der),
        // The last of the chain is the authority.
        (_, None) => last(&chain).ok_or_else(|| EnrolError::NoCertificate(url.to_string()))?.to_owned(),
    };
    Ok(store.enrolled(base.as_str(), &authority, &key, &chain)?)
}

/// Gets a certificate with the present one, for a new key, and keeps it.
///
/// # Errors
/// [`EnrolError`]; the present one stays then.
pub async fn renew(store: &Store, proxy: Option<&Proxy>) -> Result<(), EnrolError> {
    let base = base(&store.gateway()?)?;
    let identity = store.load()?;
    let name = identity.life().map(|life| life.name).unwrap_or_default();
    let client = http(Some(trust::client(&store.ca(), Some(&identity))?), proxy)?;
    let url = join(&base, "renew");
    let (key, request) = key_and_request(&name)?;
    let chain = ask(client.post(url.clone()), &url, request).await?;
    Ok(store.renewed(&key, &chain)?)
}

fn base(gateway: &str) -> Result<Url, EnrolError> {
    let wrong = || EnrolError::Url(gateway.to_owned());
    let url = Url::parse(gateway).map_err(|_| wrong())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(wrong()) }
}

fn join(base: &Url, last: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{last}", base.path().trim_end_matches('/')));
    url
}

fn http(tls: Option<ClientConfig>, proxy: Option<&Proxy>) -> Result<Client, EnrolError> {
    let unusable = |error| EnrolError::Unreachable { url: "HTTP".to_owned(), why: reasons(&error) };
    let mut builder = Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.url()).map_err(unusable)?);
    }
    let plain = || trust::pinned([0; 32]).map(|(config, _)| config);
    let built = match tls {
        Some(config) => builder.tls_backend_preconfigured(config).build(),
        // Without TLS; the library asks for a configuration all the same.
        None => match plain() {
            Ok(config) => builder.tls_backend_preconfigured(config).build(),
            Err(_) => builder.build(),
        },
    };
    built.map_err(unusable)
}

/// A new key, and the request to certify it.
fn key_and_request(name: &str) -> Result<(String, String), EnrolError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok((key.serialize_pem(), params.serialize_request(&key)?.pem()?))
}

/// What the gateway says of a refusal.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

async fn ask(builder: RequestBuilder, url: &Url, request: String) -> Result<String, EnrolError> {
    let sent = builder.header("content-type", "application/pkcs10").body(request).send().await;
    let mut response = match sent {
        Ok(response) => response,
        Err(error) => return Err(unreachable(url, reasons(&error) + &other_scheme(url).await)),
    };
    let status = response.status();
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| unreachable(url, reasons(&error)))? {
        answer.extend_from_slice(&piece);
        if answer.len() > MAX_ANSWER {
            return Err(EnrolError::NoCertificate(url.to_string()));
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if status != StatusCode::CREATED {
        let why = serde_json::from_str(&answer).map_or(answer, |refusal: Refusal| refusal.error);
        return Err(EnrolError::Refused { status: status.as_u16(), why: why.trim().to_owned() });
    }
    if last(&answer).is_none() {
        return Err(EnrolError::NoCertificate(url.to_string()));
    }
    Ok(answer)
}

fn unreachable(url: &Url, why: impl ToString) -> EnrolError {
    EnrolError::Unreachable { url: url.to_string(), why: super::explain(&why.to_string()) }
}

/// What to write in place of `http`, should the other side want TLS.
async fn other_scheme(url: &Url) -> String {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return String::new() };
    if url.scheme() == "http" && spoken::is_tls(host, port).await {
        return format!("; TLS is spoken at this port: write https://{host}:{port}");
    }
    String::new()
}

/// An error with its causes: the last one says what it is.
fn reasons(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// The last certificate of a chain.
fn last(chain: &str) -> Option<&str> {
    chain.rfind(BEGIN).map(|at| &chain[at..])
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("{BEGIN}\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
