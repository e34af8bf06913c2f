//! What a connection over TLS costs that only waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::Measure;
use super::super::connections::hello;
use super::super::load::CONNACK;
use super::super::memory::rss;
use super::{Servers, client};
use crate::binaries::Binaries;
use crate::clients;

/// Connections whose memory is divided among them.
pub(super) const COUNT: usize = 10_000;
/// Handshakes at a time.
const AT_A_TIME: usize = 100;
/// How long they are left alone before memory is looked at: after two seconds without a byte the gateway takes back
/// what traffic took.
const ALONE: Duration = Duration::from_secs(5);

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Measure> {
    let count = if quick { COUNT / 10 } else { COUNT };
    let servers = Servers::start(binaries).await?;
    let ours = each(servers.pid(), servers.tls, count).await?;
    let reference = match &servers.mosquitto {
        Some(peer) => {
            let theirs = each(peer.process.pid(), peer.tls, count).await?;
            format!("mosquitto: {theirs:.1} kB; both proc(5), before and after")
        }
        None => super::NOT_INSTALLED.to_owned(),
    };
    servers.stop().await?;
    Ok(Measure { what: what(count), got: Some(format!("{ours:.1} kB")), reference, goal: goal() })
}

/// Why it was not measured.
pub(super) fn skipped(error: &anyhow::Error) -> Measure {
    Measure { what: what(COUNT), got: None, reference: error.to_string(), goal: goal() }
}

fn what(count: usize) -> String {
    format!("memory (RSS) of an idle connection over TLS 1.3, {count} of them")
}

fn goal() -> String {
    "30 kB".to_owned()
}

/// Kilobytes of one connection to the server `pid`.
async fn each(pid: i32, server: SocketAddr, count: usize) -> Result<f64> {
    let config = client::config(false)?;
    // Everything that is made once has been made before the first look.
    drop(open(0, server, Arc::clone(&config)).await?);
    let before = rss(pid)?;
    let mut connections = Vec::with_capacity(count);
    for first in (0..count).step_by(AT_A_TIME) {
        let mut opening = JoinSet::new();
        for number in first..(first + AT_A_TIME).min(count) {
            opening.spawn(open(number, server, Arc::clone(&config)));
        }
        while let Some(opened) = opening.join_next().await {
            connections.push(opened.context("a client panicked")??);
        }
    }
    tokio::time::sleep(ALONE).await;
    let grown = rss(pid)? - before;
    for connection in &connections {
        let closed = connection.get_ref().0.try_read(&mut [0; 1]);
        ensure!(closed.is_err(), "the server closed a connection");
    }
    Ok(grown * f64::from(1 << 20) / count as f64 / 1e3)
}

/// A client that was let in.
async fn open(number: usize, server: SocketAddr, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let socket = clients::connect(number, server).await?;
    let mut stream =
        TlsConnector::from(config).connect(client::name()?, socket).await.context("the handshake failed")?;
    stream.write_all(&hello(number)).await?;
    stream.flush().await?;
    let mut answer = [0; CONNACK.len()];
    stream.read_exact(&mut answer).await.context("no answer to CONNECT")?;
    ensure!(answer == CONNACK, "got {answer:02x?} as CONNACK, expected {CONNACK:02x?}");
    Ok(stream)
}
