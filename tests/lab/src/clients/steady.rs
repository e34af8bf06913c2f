//! Agents that each publish one batch at a fixed interval, wait for its PUBACK, and count.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::connect;
use crate::bench::payload::{Packets, packets};

/// Bytes of a batch.
const BATCH: usize = 200;
/// CONNACK and PUBACK of MQTT 3.1.1.
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const PUBACK: [u8; 2] = [0x40, 2];

/// Agents at work.
pub(crate) struct Steady {
    /// Readings in one batch.
    pub(crate) readings: u64,
    acknowledged: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    agents: JoinSet<Result<()>>,
}

impl Steady {
    /// Connects `count` agents, each with `batches` batches, one every `interval`. `restart` must be new to the gateway.
    pub(crate) async fn start(
        gateway: SocketAddr,
        count: usize,
        interval: Duration,
        batches: usize,
        restart: u64,
    ) -> Result<Self> {
        let mut ready = Vec::new();
        for number in 0..count {
            let packets = packets(number, batches, BATCH, restart)?;
            let mut socket = connect(number, gateway).await?;
            socket.set_nodelay(true)?;
            open(&mut socket, &packets).await?;
            ready.push((socket, packets));
        }
        let readings = ready.first().map_or(0, |(_, packets)| packets.readings);
        let (acknowledged, mut agents) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        let (stop, stopping) = watch::channel(false);
        let begin = Instant::now();
        for (number, (socket, packets)) in ready.into_iter().enumerate() {
            // Spread over the interval, as agents are.
            let first = begin + interval * number as u32 / count as u32;
            agents.spawn(publish(socket, packets, first, interval, Arc::clone(&acknowledged), stopping.clone()));
        }
        Ok(Self { readings, acknowledged, stop, agents })
    }

    /// Batches acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Acknowledged batches a second over a while.
    pub(crate) async fn rate(&self, lasting: Duration) -> f64 {
        let (before, begun) = (self.acknowledged(), Instant::now());
        sleep(lasting).await;
        (self.acknowledged() - before) as f64 / begun.elapsed().as_secs_f64()
    }

    /// Ends all of them, each behind an answer; the batches acknowledged.
    pub(crate) async fn stop(mut self) -> Result<u64> {
        // Agents whose batches are used up have ended already.
        let _ = self.stop.send(true);
        while let Some(ended) = self.agents.join_next().await {
            ended??;
        }
        Ok(self.acknowledged.load(Relaxed))
    }
}

async fn open(socket: &mut TcpStream, packets: &Packets) -> Result<()> {
    socket.write_all(&packets.opening).await?;
    let mut answer = [0; CONNACK.len() + 4];
    socket.read_exact(&mut answer).await.context("no answer to CONNECT and describe")?;
    if answer[..4] != CONNACK || answer[4..6] != PUBACK {
        bail!("got {answer:02x?} as CONNACK and PUBACK");
    }
    Ok(())
}

async fn publish(
    mut socket: TcpStream,
    packets: Packets,
    first: Instant,
    interval: Duration,
    acknowledged: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut from = 0;
    for (number, end) in packets.ends.into_iter().enumerate() {
        sleep_until(first + interval * number as u32).await;
        if *stop.borrow() {
            return Ok(());
        }
        socket.write_all(&packets.bytes[from..end]).await.context("the gateway hung up")?;
        from = end;
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).await.context("no PUBACK")?;
        if answer[..2] != PUBACK {
            bail!("got {answer:02x?}, expected a PUBACK");
        }
        acknowledged.fetch_add(1, Relaxed);
    }
    Ok(())
}
