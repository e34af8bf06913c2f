//! Agents that each publish one batch at a fixed interval, wait for its PUBACK, and count.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::mqtt::{Link, plain};
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
    agents: JoinSet<Result<(usize, u64)>>,
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
            // Each is opened before the next one comes: a gateway sends away those who stand in the door and say nothing.
            let packets = packets(number, batches, BATCH, restart)?;
            let mut link = plain(number, gateway).await?;
            open(&mut link, &packets).await?;
            ready.push((link, packets));
        }
        Ok(Self::begin(ready, interval))
    }

    /// The same over links that are there, with packets that were made before.
    pub(crate) async fn over(clients: Vec<(Link, Packets)>, interval: Duration) -> Result<Self> {
        let mut ready = Vec::new();
        for (mut link, packets) in clients {
            open(&mut link, &packets).await?;
            ready.push((link, packets));
        }
        Ok(Self::begin(ready, interval))
    }

    fn begin(ready: Vec<(Link, Packets)>, interval: Duration) -> Self {
        let count = ready.len();
        let readings = ready.first().map_or(0, |(_, packets)| packets.readings);
        let (acknowledged, mut agents) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        let (stop, stopping) = watch::channel(false);
        let begin = Instant::now();
        for (number, (link, packets)) in ready.into_iter().enumerate() {
            // Spread over the interval, as agents are.
            let first = begin + interval * number as u32 / count as u32;
            let (counted, stopping) = (Arc::clone(&acknowledged), stopping.clone());
            agents
                .spawn(async move { Ok((number, publish(link, packets, first, interval, counted, stopping).await?)) });
        }
        Self { readings, acknowledged, stop, agents }
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
    pub(crate) async fn stop(self) -> Result<u64> {
        Ok(self.stop_each().await?.iter().sum())
    }

    /// The same; the batches acknowledged to each, in the order in which they were given.
    pub(crate) async fn stop_each(mut self) -> Result<Vec<u64>> {
        // Agents whose batches are used up have ended already.
        let _ = self.stop.send(true);
        let mut each = vec![0; self.agents.len()];
        while let Some(ended) = self.agents.join_next().await {
            let (number, acknowledged) = ended??;
            each[number] = acknowledged;
        }
        Ok(each)
    }
}

async fn open(link: &mut Link, packets: &Packets) -> Result<()> {
    link.write_all(&packets.opening).await?;
    link.flush().await?;
    let mut answer = [0; CONNACK.len() + 4];
    link.read_exact(&mut answer).await.context("no answer to CONNECT and describe")?;
    if answer[..4] != CONNACK || answer[4..6] != PUBACK {
        bail!("got {answer:02x?} as CONNACK and PUBACK");
    }
    Ok(())
}

async fn publish(
    mut link: Link,
    packets: Packets,
    first: Instant,
    interval: Duration,
    acknowledged: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
) -> Result<u64> {
    let (mut from, mut answered) = (0, 0);
    for (number, end) in packets.ends.into_iter().enumerate() {
        sleep_until(first + interval * number as u32).await;
        if *stop.borrow() {
            break;
        }
        link.write_all(&packets.bytes[from..end]).await.context("the gateway hung up")?;
        link.flush().await?;
        from = end;
        let mut answer = [0; 4];
        link.read_exact(&mut answer).await.context("no PUBACK")?;
        if answer[..2] != PUBACK {
            bail!("got {answer:02x?}, expected a PUBACK");
        }
        acknowledged.fetch_add(1, Relaxed);
        answered += 1;
    }
    Ok(answered)
}
