//! The way to each gateway, step by step: its name, its port, its certificate. The first step that fails is told. Behind a
//! proxy the way ends at the proxy.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};
use tokio::time::timeout;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{Check, Ground, Verdict};
use crate::config::{Address, GatewayConfig};
use crate::identity::explain;
use crate::local::status::Status;
use crate::uplink::credentials::Credentials;
use crate::uplink::{UplinkOptions, greet, other_scheme};

/// Days before the end of a gateway's certificate when its owner should know.
const SOON: i64 = 14;

pub(super) async fn check(ground: &Ground<'_>, running: Option<&Status>) -> Vec<Check> {
    let mut checks = Vec::new();
    let options = UplinkOptions::of(ground.config);
    for (gateway, reached) in ground.config.uplink.gateways().iter().zip(&options.gateways) {
        let way = way_to(ground, gateway).await;
        let is_open = way.verdict < Verdict::Problem;
        checks.push(way);
        if !is_open {
            continue;
        }
        let subject = format!("MQTT {}", gateway.address.get_ref());
        checks.extend(match running {
            // A CONNECT of ours would end the session of the agent that runs.
            Some(status) => told(subject, &gateway.address.get_ref().to_string(), status),
            None => Some(match greet(&options, reached, ground.patience).await {
                Ok(broker) => Check::ok(subject, format!("it lets this agent in; {}", broker.promise())),
                Err(why) => match other_scheme(&reached.endpoint).await {
                    Some(hint) => Check::problem(subject, why, hint),
                    None => Check::problem(subject, why, "the log of the gateway says more; weir-agent enroll --help"),
                },
            }),
        });
    }
    checks
}

/// What the running agent says of the gateway that it uses.
fn told(subject: String, address: &str, status: &Status) -> Option<Check> {
    let uplink = &status.uplink;
    if uplink.gateway.as_deref() != Some(address) {
        return None;
    }
    let fix = "journalctl -u weir-agent -n 50; the log of the gateway says more";
    Some(match (uplink.state.as_str(), &uplink.last_error) {
        ("connected", _) => {
            let broker = uplink.broker.as_deref().unwrap_or("unknown");
            Check::ok(subject, format!("the running agent is connected; the other side is: {broker}"))
        }
        (state, Some(error)) => Check::problem(subject, format!("the running agent is {state}: {error}"), fix),
        (state, None) => Check::warning(subject, format!("the running agent is {state}"), fix),
    })
}

async fn way_to(ground: &Ground<'_>, gateway: &GatewayConfig) -> Check {
    let address = gateway.address.get_ref();
    let subject = format!("gateway {address}");
    if let Some(proxy) = &gateway.proxy {
        let proxy = proxy.get_ref();
        let at = Address { host: proxy.host.clone(), port: proxy.port, ..Address::default() };
        return way_to_proxy(ground, format!("{subject} through {proxy}"), &at).await;
    }
    let found = match resolve(address, ground.patience).await {
        Ok(found) => found,
        Err(error) => {
            let host = &address.host;
            let fix = format!("getent hosts {host}; resolvectl status; or write the address in place of the name");
            return Check::problem(subject, format!("the name {host} is not found: {error}"), fix);
        }
    };
    let (stream, at) = match connect(&found, ground.patience).await {
        Ok(connected) => connected,
        Err(error) => return Check::problem(subject, error.to_string(), unreachable(address, &error)),
    };
    let shown = match Credentials::of(gateway, &ground.config.data_dir, ground.config.name).read() {
        Ok(shown) => shown,
        Err(why) => return Check::problem(subject, why, "weir-agent enroll --help"),
    };
    let Some(tls) = shown.tls else {
        return Check::ok(subject, format!("{at} answers, without TLS"));
    };
    let host = address.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let patience = ground.patience;
    let handshake = tokio::task::spawn_blocking(move || handshake(stream, tls, &host, patience)).await;
    match handshake {
        Ok(Ok(certificate)) => encrypted(ground, subject, at, certificate),
        Ok(Err(error)) => {
            let fix = format!("openssl s_client -connect {}:{} -showcerts", address.host, address.port);
            let said = match error.kind() {
                ErrorKind::UnexpectedEof => "tls handshake eof".to_owned(),
                ErrorKind::ConnectionReset => format!("TLS: I/O: {error}"),
                _ => error.to_string(),
            };
            Check::problem(subject, format!("{at} answers, and TLS fails: {}", explain(&said)), fix)
        }
        Err(_) => Check::problem(subject, "the check broke off", "weir-agent doctor"),
    }
}

async fn way_to_proxy(ground: &Ground<'_>, subject: String, proxy: &Address) -> Check {
    let answers = async { connect(&resolve(proxy, ground.patience).await?, ground.patience).await };
    match answers.await {
        Ok((_, at)) => Check::ok(subject, format!("the proxy at {at} answers; what is behind it is not looked at")),
        Err(error) => Check::problem(subject, format!("the proxy: {error}"), unreachable(proxy, &error)),
    }
}

/// Where somebody at `host` answers.
pub(super) async fn reach(host: &str, port: u16, patience: Duration) -> io::Result<SocketAddr> {
    let address = Address { host: host.to_owned(), port, ..Address::default() };
    Ok(connect(&resolve(&address, patience).await?, patience).await?.1)
}

async fn resolve(address: &Address, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    let host = address.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let found = timeout(patience, tokio::net::lookup_host((host, address.port))).await;
    let found: Vec<SocketAddr> = found.map_err(|_| io::Error::from(ErrorKind::TimedOut))??.collect();
    if found.is_empty() { Err(ErrorKind::NotFound.into()) } else { Ok(found) }
}

/// The first address that answers, or why the last did not.
async fn connect(addresses: &[SocketAddr], patience: Duration) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = ErrorKind::NotFound.into();
    for address in addresses {
        match timeout(patience, tokio::net::TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let stream = stream.into_std()?;
                stream.set_nonblocking(false)?;
                return Ok((stream, *address));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// What to type when nobody answers.
pub(super) fn unreachable(address: &Address, error: &io::Error) -> String {
    let Address { host, port, .. } = address;
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("{host} is there and nobody listens on {port}: is the gateway running, is the port right?")
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            "ip route; ip addr: this machine has no way there".to_owned()
        }
        _ => format!("ping {host}; nc -vz {host} {port}: a firewall that lets the port through is needed"),
    }
}

/// The gateway's certificate, once it was verified.
fn handshake(
    mut stream: TcpStream,
    tls: Arc<ClientConfig>,
    host: &str,
    patience: Duration,
) -> io::Result<Option<CertificateDer<'static>>> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut client = ClientConnection::new(tls, name).map_err(io::Error::other)?;
    while client.is_handshaking() {
        client.complete_io(&mut stream)?;
    }
    Ok(client.peer_certificates().and_then(<[_]>::first).map(|certificate| certificate.clone().into_owned()))
}

fn encrypted(ground: &Ground<'_>, subject: String, at: SocketAddr, certificate: Option<CertificateDer<'_>>) -> Check {
    let end = certificate.as_ref().and_then(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    let days = end.map(|end| end.saturating_sub(ground.now).div_euclid(86_400));
    match days {
        Some(days) if days < SOON => {
            let found = format!("{at} answers with TLS; its certificate ends in {days} days");
            Check::warning(subject, found, "on the gateway: weir-gateway ca --help")
        }
        Some(days) => Check::ok(subject, format!("{at} answers with TLS; its certificate has {days} days left")),
        None => Check::ok(subject, format!("{at} answers with TLS")),
    }
}
