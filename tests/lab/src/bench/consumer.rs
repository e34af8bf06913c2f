//! From the moment a publish is due to the moment a Kafka consumer has it, beside the PUBACK of the same publishes: the gateway,
//! and Kafka behind its bridge, at the same rate, with the same publishers and the same consumer.
//!
//! The consumer waits in a fetch on each partition and takes records at the end of the log. Those of one publisher come in their
//! order, so that the records of its key are counted: a publish has arrived with the last of the readings that are in it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Measure;
use super::found::{Card, Contender, Contest, Found};
use super::latency::p99;
use super::load::{self, PUBLISHERS};
use super::open_loop::OpenLoop;
use super::payload::packets;
use super::peers::kafka::{Flush, Kafka, MISSING, PARTITIONS};
use super::publish::{card, gateway, stop};
use super::table::{short, spread};
use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::kafka::log::{Log, Reach};

/// Bytes of a payload, and publishes a second of all publishers.
const PAYLOAD: usize = 200;
const RATE: usize = 2000;
const TURN: Duration = Duration::from_secs(5);
const TURNS: usize = 5;
/// How long a fetch may wait, and what comes of one at most.
const REACH: Reach = Reach { bytes: 1 << 20, wait_ms: 500 };
/// How long the last record may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured: where MQTT goes in, where records come out, and how many of them a publish becomes.
struct Way {
    card: Card,
    mqtt: SocketAddr,
    kafka: SocketAddr,
    topic: &'static str,
    /// Each reading is a record; else each publish is.
    by_reading: bool,
    pubacks: Vec<f64>,
    records: Vec<f64>,
}

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Found> {
    let (lasting, turns) = if quick { (TURN / 5, 2) } else { (TURN, TURNS) };
    let mut deployment = gateway(binaries).await?;
    let scratch = Scratch::new()?;
    let kafka = Kafka::start(&scratch, binaries).await?;
    let (mqtt, (pubacks, records)) = (deployment.mqtt, Default::default());
    let ours =
        Way { card: card(), mqtt, kafka: deployment.kafka, topic: "readings", by_reading: true, pubacks, records };
    let (mut ways, mut bridges) = (vec![ours], Vec::new());
    if let Some(kafka) = &kafka {
        for flush in Flush::ALL {
            let bridge = kafka.bridge(flush, &scratch, binaries).await?;
            let (card, mqtt, (pubacks, records)) = (bridge.card.clone(), bridge.address, Default::default());
            let (kafka, topic) = (kafka.address, flush.topic());
            ways.push(Way { card, mqtt, kafka, topic, by_reading: false, pubacks, records });
            bridges.push(bridge);
        }
    }
    // The first turn warms all of them: most of all the virtual machine.
    for turn in 0..=turns {
        for way in &mut ways {
            let (puback, record) = way.turn(lasting).await?;
            if turn > 0 {
                way.pubacks.push(puback);
                way.records.push(record);
            }
        }
    }
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    drop((bridges, kafka));
    scratch.remove()?;
    Ok(found(&ways))
}

impl Way {
    /// In milliseconds: what 99 of 100 PUBACKs stay below, and 99 of 100 publishes until the consumer has them.
    async fn turn(&self, lasting: Duration) -> Result<(f64, f64)> {
        let each = (RATE as f64 * lasting.as_secs_f64()) as usize / PUBLISHERS;
        let restart = load::new_restart();
        let prepared =
            (0..PUBLISHERS).map(|number| packets(number, each, PAYLOAD, restart)).collect::<Result<Vec<_>>>()?;
        let in_each = if self.by_reading { prepared[0].readings as usize } else { 1 };
        let publishers = tokio::task::block_in_place(|| OpenLoop::connect(self.mqtt, prepared, lasting))?;
        let mut consumers = JoinSet::new();
        for partition in 0..PARTITIONS {
            // Behind the end are this turn's readings alone: what describes the devices was acknowledged before.
            let place = (self.topic.to_owned(), partition);
            let mut log = Log::connect(self.kafka).await?;
            let end = log.bounds(&place).await?.end;
            consumers.spawn(async move { consume(log, place, end, each * in_each).await });
        }
        let answered =
            tokio::task::spawn_blocking(move || publishers.run()).await.context("the publishers panicked")??;
        let schedules: Vec<_> = answered.schedules().collect();
        let (mut took, mut arrived) = (Vec::new(), 0);
        let last = Instant::now();
        while arrived < PUBLISHERS {
            let left = PATIENCE.saturating_sub(last.elapsed());
            let consumed = timeout(left, consumers.join_next()).await.context("records do not arrive")?;
            let consumed = consumed.context("too few keys in the log")?.context("a consumer panicked")??;
            for (key, records) in consumed {
                // bench-3 is the device and the client of publisher 3.
                let number = std::str::from_utf8(&key).ok().and_then(|key| key.strip_prefix("bench-")?.parse().ok());
                let number: usize = number.with_context(|| format!("a record with the key {key:?}"))?;
                let moments: Vec<Instant> =
                    records.chunks(in_each).filter_map(|of_one| of_one.last().copied()).collect();
                ensure!(moments.len() == each, "{} of {each} publishes of {key:?} arrived", moments.len());
                took.extend(schedules.get(number).context("a key of nobody")?.milliseconds(&moments));
                arrived += 1;
            }
        }
        consumers.shutdown().await;
        Ok((p99(answered.milliseconds().collect()), p99(took)))
    }
}

/// Reads a partition until each key that came has this many records; when each of them came.
async fn consume(
    mut log: Log,
    place: (String, i32),
    mut at: u64,
    of_each: usize,
) -> Result<HashMap<Bytes, Vec<Instant>>> {
    let mut seen: HashMap<Bytes, Vec<Instant>> = HashMap::new();
    while seen.is_empty() || seen.values().any(|records| records.len() < of_each) {
        let fetched = log.fetch(&place, at, REACH).await?.context("the end of the log is out of range")?;
        let now = Instant::now();
        for record in fetched.records {
            seen.entry(record.key.context("a record without a key")?).or_default().push(now);
        }
        at = fetched.next;
    }
    Ok(seen)
}

fn found(ways: &[Way]) -> Found {
    let mut contenders = Vec::new();
    for way in ways {
        for (name, means, turns) in [
            ("PUBACK", way.card.means.as_str(), &way.pubacks),
            ("consumer", "a consumer has every reading of it", &way.records),
        ] {
            // How it was set up is said once.
            let settings = if name == "PUBACK" { way.card.settings.clone() } else { String::new() };
            let card = Card { name: format!("{}: {name}", way.card.name), means: means.to_owned(), settings };
            contenders.push(Contender { card, turns: turns.clone(), ..Contender::default() });
        }
    }
    if ways.len() == 1 {
        contenders.push(Contender::skipped("Kafka behind a bridge", MISSING));
    }
    let of =
        |way: &Way| way.records.iter().zip(&way.pubacks).map(|(record, puback)| record - puback).collect::<Vec<_>>();
    let others = ways.iter().skip(1).map(|way| format!("{}: {} ms", way.card.name, spread(&of(way))));
    let measure = Measure {
        what: format!("a Kafka consumer has it, p99 beyond the p99 of PUBACK, {} publishes/s", short(RATE as f64)),
        got: Some(format!("{} ms", spread(&of(&ways[0])))),
        reference: others.collect::<Vec<_>>().join("; "),
        goal: "10 ms".to_owned(),
    };
    let contest = Contest {
        name: "consumer".to_owned(),
        title: format!(
            "p99 from due to PUBACK, and to a Kafka consumer, {} publishes/s of {PAYLOAD} B",
            short(RATE as f64)
        ),
        unit: "ms".to_owned(),
        compared: false,
        contenders,
    };
    Found { contests: vec![contest], measures: vec![measure], ..Found::default() }
}
