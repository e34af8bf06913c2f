//! How many clients a second are let in: TCP, TLS handshake, CONNECT, CONNACK, DISCONNECT; handshakes in full, and
//! with a ticket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use rustls::{ClientConfig, HandshakeKind};

use super::super::Measure;
use super::super::connections::hello;
use super::super::side::cpu_seconds;
use super::super::table::{median, ratios, short, spread};
use super::{Servers, client};

/// Clients that come at the same time.
const CLIENTS: usize = 8;
/// Connects of one of them in one turn.
const EACH: usize = 500;
const TURNS: usize = 5;

pub(super) fn run(servers: &Servers, quick: bool) -> Result<[Measure; 2]> {
    let each = if quick { EACH / 10 } else { EACH };
    Ok([measure(servers, each, false)?, measure(servers, each, true)?])
}

fn measure(servers: &Servers, each: usize, is_resuming: bool) -> Result<Measure> {
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for _ in 0..TURNS {
        ours.turn(servers.pid(), servers.tls, each, is_resuming)?;
        if let Some(peer) = &servers.mosquitto {
            theirs.turn(peer.process.pid(), peer.tls, each, is_resuming)?;
        }
    }
    let (got, reference) = match servers.mosquitto {
        Some(_) => {
            let ratio = spread(&ratios(&ours.rates, &theirs.rates));
            (format!("{ratio} times; {ours}"), format!("mosquitto: {theirs}"))
        }
        None => (ours.to_string(), super::NOT_INSTALLED.to_owned()),
    };
    let kind = if is_resuming { "clients that hold a ticket" } else { "full handshakes" };
    Ok(Measure {
        what: format!("connects over TLS 1.3, {kind}, CONNECT to CONNACK, {CLIENTS} clients at a time"),
        got: Some(got),
        reference,
        goal: "1x".to_owned(),
    })
}

#[derive(Default)]
struct Side {
    /// Connects a second.
    rates: Vec<f64>,
    /// Processor time of the server for one, in microseconds.
    cpu_micros: Vec<f64>,
    /// Handshakes that went on with an earlier session, of all.
    resumed: usize,
    all: usize,
}

impl Side {
    fn turn(&mut self, pid: i32, server: SocketAddr, each: usize, is_resuming: bool) -> Result<()> {
        // Each has tickets of its own.
        let configs = (0..CLIENTS).map(|_| client::config(is_resuming)).collect::<Result<Vec<_>>>()?;
        let (before, resumed) = (cpu_seconds(pid), AtomicUsize::new(0));
        let begun = Instant::now();
        let resumed = &resumed;
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let come = |(number, config)| scope.spawn(move || visits(server, number, config, each, resumed));
                let clients: Vec<_> = configs.iter().enumerate().map(come).collect();
                clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
            })
        })?;
        let count = (CLIENTS * each) as f64;
        self.rates.push(count / begun.elapsed().as_secs_f64());
        self.cpu_micros.push((cpu_seconds(pid) - before) * 1e6 / count);
        self.resumed += resumed.load(Relaxed);
        self.all += CLIENTS * each;
        ensure!(is_resuming || self.resumed == 0, "{} handshakes were not full", self.resumed);
        Ok(())
    }
}

/// One client connects again and again.
fn visits(
    server: SocketAddr,
    number: usize,
    config: &Arc<ClientConfig>,
    each: usize,
    resumed: &AtomicUsize,
) -> Result<()> {
    let hello = hello(number);
    for _ in 0..each {
        let kind = client::visit(server, config, &hello)?;
        resumed.fetch_add(usize::from(kind == HandshakeKind::Resumed), Relaxed);
    }
    Ok(())
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rate, cpu) = (median(self.rates.clone()), median(self.cpu_micros.clone()));
        let resumed = self.resumed as f64 / self.all.max(1) as f64;
        write!(f, "{} connects/s, {cpu:.0} us CPU each, {:.0} % resumed", short(rate), resumed * 100.0)
    }
}
