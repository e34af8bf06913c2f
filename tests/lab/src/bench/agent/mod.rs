//! The agent beside Telegraf: line protocol over HTTP in, the same mosquitto at QoS 1 out, the same payload.
//!
//! Every turn starts an agent anew, with an empty disk, and in turns. Ours answers 204 after its fdatasync. Telegraf
//! comes twice: with its buffer in memory, as it comes, and with its buffer on disk, which syncs every point by itself,
//! so its turns are shorter. Its output packs a thousand points into a message, which it does best.

mod arrivals;
mod card;
mod contender;
mod payload;
mod stage;
mod turn;
mod usage;
mod wire;
mod writer;

use std::time::Duration;

use anyhow::Result;

use super::Measure;
use super::table::{median, ratios, short, spread};
use crate::binaries::Binaries;
use contender::{Kind, Start};
use stage::Stage;
use turn::{Cost, Drain};

/// Turns of each.
const TURNS: usize = 3;
/// Readings of a turn at full speed.
const BURST: u64 = 2_000_000;
/// The same where each point is synced by itself.
const BURST_ON_DISK: u64 = 20_000;
/// Points of a request and readings a second of the turns in which a machine is watched, and how long they last.
const STEADY: (u64, u64) = (10, 1000);
const STEADY_LASTING: Duration = Duration::from_secs(20);
/// Readings that wait when the broker comes back.
const BACKLOG: u64 = 5_000_000;
/// What passes in real time while a backlog of this many readings a second comes together.
const REAL_TIME: f64 = 1000.0;
/// The processor of the drain that has one alone.
const CORE: u32 = 1;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    let Some(stage) = Stage::new(binaries).await? else {
        let reference = "mosquitto is not installed: apt-get install mosquitto".to_owned();
        return Ok(vec![Measure {
            what: "the agent beside others".to_owned(),
            got: None,
            reference,
            goal: String::new(),
        }]);
    };
    let has_telegraf = contender::telegraf(binaries).is_some();
    if !has_telegraf {
        eprintln!("SKIPPED the comparison with Telegraf; type: tests/sources/install telegraf");
    }
    let scale = if quick { 10 } else { 1 };
    let peers: &[Kind] = if has_telegraf { &[Kind::Telegraf, Kind::TelegrafOnDisk] } else { &[] };
    let mut measures = Vec::new();
    measures.extend(bursts(peers, scale, &stage).await?);
    measures.extend(steady(peers, scale, &stage).await?);
    measures.extend(drains(has_telegraf, scale, &stage).await?);
    measures.push(card::run(scale, &stage).await?);
    stage.end().await?;
    Ok(measures)
}

/// One row: each turn of ours against the turn of Telegraf in memory beside it, with the one on disk in words.
fn row(what: &str, unit: &str, costs: &[(Kind, Cost)], of: impl Fn(&Cost) -> &Vec<f64>) -> Measure {
    let ours = costs.iter().find(|(kind, _)| *kind == Kind::Weir).map(|(_, cost)| of(cost).clone()).unwrap_or_default();
    let theirs = costs.iter().filter(|(kind, _)| *kind != Kind::Weir);
    let reference: Vec<_> =
        theirs.clone().map(|(kind, cost)| format!("{} {unit} ({})", spread(of(cost)), kind.durability())).collect();
    let ratio = theirs.clone().find(|(kind, _)| *kind == Kind::Telegraf).map(|(_, cost)| ratios(&ours, of(cost)));
    let ratio = ratio.filter(|ratios| ratios.iter().all(|ratio| ratio.is_finite() && *ratio < 1e6));
    let times = ratio.map_or_else(String::new, |ratios| format!("{} times; ", spread(&ratios)));
    Measure {
        what: what.to_owned(),
        got: Some(format!("{times}{} {unit} ({})", spread(&ours), Kind::Weir.durability())),
        reference: if reference.is_empty() { "Telegraf is not there".to_owned() } else { reference.join("; ") },
        goal: "less than Telegraf".to_owned(),
    }
}

/// At full speed.
async fn bursts(peers: &[Kind], scale: u64, stage: &Stage<'_>) -> Result<Vec<Measure>> {
    let mut costs: Vec<_> = std::iter::once(&Kind::Weir).chain(peers).map(|kind| (*kind, Cost::default())).collect();
    for _ in 0..TURNS {
        for (kind, cost) in &mut costs {
            let readings = if *kind == Kind::TelegrafOnDisk { BURST_ON_DISK } else { BURST };
            cost.burst(*kind, readings / scale, stage).await?;
        }
    }
    let of =
        format!("agent at full speed, {} readings in points of {}", short((BURST / scale) as f64), payload::FIELDS);
    Ok(vec![
        row(&format!("{of}: CPU-seconds for a million readings"), "s", &costs, |cost| &cost.cpu),
        row(&format!("{of}: most memory (RSS)"), "MiB", &costs, |cost| &cost.peak),
        row(&format!("{of}: bytes on the wire for a reading"), "B", &costs, |cost| &cost.wire),
        row(&format!("{of}: bytes to disk for a reading"), "B", &costs, |cost| &cost.disk),
    ])
}

/// As a machine is watched.
async fn steady(peers: &[Kind], scale: u64, stage: &Stage<'_>) -> Result<Vec<Measure>> {
    let mut costs: Vec<_> = std::iter::once(&Kind::Weir).chain(peers).map(|kind| (*kind, Cost::default())).collect();
    let lasting = STEADY_LASTING / u32::try_from(scale)?;
    for _ in 0..TURNS {
        for (kind, cost) in &mut costs {
            cost.steady(Start::of(*kind), STEADY, lasting, stage).await?;
        }
    }
    let of = format!("agent at {} readings/s, {} a request", STEADY.1, STEADY.0 * payload::FIELDS);
    Ok(vec![
        row(&format!("{of}: CPU-seconds for a million readings"), "s", &costs, |cost| &cost.cpu),
        row(&format!("{of}: most memory (RSS)"), "MiB", &costs, |cost| &cost.peak),
        row(&format!("{of}: bytes on the wire for a reading"), "B", &costs, |cost| &cost.wire),
        row(&format!("{of}: bytes to disk for a reading"), "B", &costs, |cost| &cost.disk),
    ])
}

/// After an outage.
async fn drains(has_telegraf: bool, scale: u64, stage: &Stage<'_>) -> Result<Vec<Measure>> {
    let backlog = BACKLOG / scale;
    let (mut ours, mut theirs, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(Drain::of(Start::of(Kind::Weir), backlog, stage).await?);
        if has_telegraf {
            theirs.push(Drain::of(Start::of(Kind::Telegraf), backlog, stage).await?);
        }
        alone.push(Drain::of(Start { core: Some(CORE), ..Start::of(Kind::Weir) }, backlog, stage).await?);
    }
    let seconds = |drains: &[Drain]| drains.iter().map(Drain::seconds_per_gigabyte).collect::<Vec<_>>();
    let peak = |drains: &[Drain]| spread(&drains.iter().map(|drain| drain.peak).collect::<Vec<_>>());
    let rates: Vec<_> = alone.iter().map(Drain::rate).collect();
    let megabytes = ours.first().map_or(0, |drain| drain.bytes / 1_000_000);
    let reference = match theirs.is_empty() {
        true => "Telegraf is not there".to_owned(),
        false => {
            format!("{} s, {} MiB RSS ({})", spread(&seconds(&theirs)), peak(&theirs), Kind::Telegraf.durability())
        }
    };
    let times = match theirs.is_empty() {
        true => String::new(),
        false => format!("{} times; ", spread(&ratios(&seconds(&ours), &seconds(&theirs)))),
    };
    Ok(vec![
        Measure {
            what: format!("time to drain 1 GB of line protocol after an outage, from {megabytes} MB of it"),
            got: Some(format!("{times}{} s, {} MiB RSS", spread(&seconds(&ours)), peak(&ours))),
            reference,
            goal: "less than Telegraf".to_owned(),
        },
        Measure {
            what: format!("drain on one core, against a backlog that came in at {REAL_TIME} readings/s"),
            got: Some(format!(
                "{} times real time; {} readings/s, {} MiB RSS",
                short(median(rates.clone()) / REAL_TIME),
                spread(&rates),
                peak(&alone)
            )),
            reference: "real time".to_owned(),
            goal: "50x".to_owned(),
        },
    ])
}
