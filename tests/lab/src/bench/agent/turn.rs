//! One turn of one agent: what it takes to carry readings from line protocol to the broker.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::arrivals::Arrivals;
use super::contender::{Contender, Kind, Start};
use super::payload::READINGS;
use super::stage::Stage;
use super::usage::Usage;
use super::wire::Wire;
use super::writer::Writer;

/// How long nothing may arrive before a turn is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// More bytes than what an agent says before its first batch.
const GREETING: u64 = 4096;
/// The seed of every turn: all carry the same.
const SEED: u64 = 7;

/// One agent between a writer and the broker.
pub(super) struct Chain {
    pub(super) writer: Writer,
    pub(super) contender: Contender,
    pub(super) wire: Wire,
    pub(super) arrivals: Arrivals,
}

impl Chain {
    /// Starts it, and waits until a first request has passed through all of it.
    pub(super) async fn start(start: Start<'_>, stage: &Stage<'_>) -> Result<Self> {
        let wire = Wire::new(stage.broker.address).await?;
        let arrivals = Arrivals::new(stage.broker.address)?;
        let contender = Contender::start(start, wire.address, stage.binaries).await?;
        let writer = Writer::new(contender.input, SEED)?;
        let mut chain = Self { writer, contender, wire, arrivals };
        chain.write(READINGS)?;
        chain.arrived()?;
        Ok(chain)
    }

    /// Writes so many readings as fast as they are accepted.
    pub(super) fn write(&mut self, readings: u64) -> Result<()> {
        tokio::task::block_in_place(|| self.writer.write(readings))
    }

    /// Waits until all that was written is at the broker.
    pub(super) fn arrived(&self) -> Result<()> {
        tokio::task::block_in_place(|| self.arrivals.wait(self.writer.written, PATIENCE))
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.contender.pid())
    }
}

/// What the turns of one agent have cost, turn by turn.
#[derive(Default)]
pub(super) struct Cost {
    /// Processor seconds for a million readings.
    pub(super) cpu: Vec<f64>,
    /// The most memory, in MiB.
    pub(super) peak: Vec<f64>,
    /// Bytes that it sent, for a reading.
    pub(super) wire: Vec<f64>,
    /// Bytes that it wrote to the disk, for a reading.
    pub(super) disk: Vec<f64>,
}

impl Cost {
    fn note(&mut self, before: Usage, after: Usage, sent: u64, readings: u64) {
        let readings = readings as f64;
        self.cpu.push((after.cpu - before.cpu) * 1e6 / readings);
        self.peak.push(after.peak);
        self.wire.push(sent as f64 / readings);
        self.disk.push((after.disk - before.disk) / readings);
    }

    /// A turn at full speed.
    pub(super) async fn burst(&mut self, kind: Kind, readings: u64, stage: &Stage<'_>) -> Result<()> {
        let mut chain = Chain::start(Start::of(kind), stage).await?;
        let (before, sent, written) = (chain.usage()?, chain.wire.up(), chain.writer.written);
        chain.write(readings)?;
        chain.arrived()?;
        self.note(before, chain.usage()?, chain.wire.up() - sent, chain.writer.written - written);
        chain.contender.end().await
    }

    /// A turn at `rate` readings a second, `points` at a time.
    pub(super) async fn steady(
        &mut self,
        start: Start<'_>,
        (points, rate): (u64, u64),
        lasting: Duration,
        stage: &Stage<'_>,
    ) -> Result<()> {
        let mut chain = Chain::start(start, stage).await?;
        let (before, sent, written) = (chain.usage()?, chain.wire.up(), chain.writer.written);
        tokio::task::block_in_place(|| chain.writer.drip(points, rate, lasting))?;
        chain.arrived()?;
        self.note(before, chain.usage()?, chain.wire.up() - sent, chain.writer.written - written);
        chain.contender.end().await
    }
}

/// A backlog that was written while the broker was away.
pub(super) struct Drain {
    /// Readings.
    pub(super) readings: u64,
    /// Bytes of line protocol that they came in.
    pub(super) bytes: u64,
    /// From the first of it on the wire until all had arrived.
    pub(super) took: Duration,
    /// The most memory, in MiB.
    pub(super) peak: f64,
}

impl Drain {
    /// Readings a second.
    pub(super) fn rate(&self) -> f64 {
        self.readings as f64 / self.took.as_secs_f64()
    }

    /// Seconds for a gigabyte of line protocol.
    pub(super) fn seconds_per_gigabyte(&self) -> f64 {
        self.took.as_secs_f64() * 1e9 / self.bytes as f64
    }

    /// Closes the way to the broker, writes, and opens it again.
    pub(super) async fn of(start: Start<'_>, readings: u64, stage: &Stage<'_>) -> Result<Self> {
        let mut chain = Chain::start(start, stage).await?;
        let (written, bytes) = (chain.writer.written, chain.writer.bytes);
        chain.wire.set_open(false);
        chain.write(readings)?;
        let sent = chain.wire.up();
        chain.wire.set_open(true);
        // Who has waited long for the broker waits long between two attempts, and ours waits before a backlog, so that a
        // fleet does not come at once: that is no time of draining.
        let begun = tokio::task::block_in_place(|| {
            let waiting = Instant::now();
            while chain.wire.up() < sent + GREETING && waiting.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            Instant::now()
        });
        chain.arrived()?;
        let (took, peak) = (begun.elapsed(), chain.usage()?.peak);
        let drained = Self { readings: chain.writer.written - written, bytes: chain.writer.bytes - bytes, took, peak };
        chain.contender.end().await?;
        Ok(drained)
    }
}
