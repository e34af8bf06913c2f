//! Whether a reading costs the same however much there is: processor time of the gateway for a reading, at a fixed rate, over
//! few devices and many, over one partition and many, and with an empty log and a full one.
//!
//! Each level has a gateway of its own; all of them run, and are loaded in turns, there and back, so that what else the machine
//! does hits all alike. What a batch holds is the same at each level: readings of one device, and devices take turns.

use std::time::Duration;

use anyhow::Result;

use super::Measure;
use super::fill::{fill, room_for, size_of};
use super::found::{Figure, Found};
use super::load;
use super::open_loop::OpenLoop;
use super::payload::{Packets, packets_in_turn};
use super::publish::{gateway_with, stop};
use super::side::cpu_seconds;
use super::table::{median, ratios, spread};
use crate::binaries::Binaries;
use crate::deployment::Deployment;
use crate::plot::{Line, Plot, short};

/// Connections of each level, and batches a second of all of them.
const CONNECTIONS: usize = 10;
const RATE: usize = 5000;
/// Bytes of a batch.
const BATCH: usize = 200;
/// Devices where their number is not what is looked at: enough for every partition.
const DEVICES: usize = 1000;
const TURN: Duration = Duration::from_secs(4);
const TURNS: usize = 6;
/// A slice has so much less in its logs.
const SLICE: u64 = 40;
/// What the most expensive level may cost of the cheapest.
const WITHIN: f64 = 1.2;

/// What is varied.
pub(super) struct Scale {
    /// Of the measure and its plot.
    pub(super) name: &'static str,
    /// Over what, in the plot and in the table.
    over: &'static str,
    /// The axis is logarithmic; it cannot be where it begins at 0.
    logarithmic: bool,
    levels: [Level; 4],
}

#[derive(Clone, Copy)]
struct Level {
    /// Where it is on the axis.
    at: f64,
    devices: usize,
    partitions: usize,
    /// Bytes of the log before the first turn.
    filled: u64,
}

const PLAIN: Level = Level { at: 0.0, devices: DEVICES, partitions: 4, filled: 0 };
const GB: u64 = 1_000_000_000;

pub(super) const DEVICES_SCALE: Scale = Scale {
    name: "scaling-devices",
    over: "devices",
    logarithmic: true,
    levels: [
        Level { at: 10.0, devices: 10, ..PLAIN },
        Level { at: 100.0, devices: 100, ..PLAIN },
        Level { at: 1000.0, devices: 1000, ..PLAIN },
        Level { at: 10_000.0, devices: 10_000, ..PLAIN },
    ],
};
pub(super) const PARTITIONS_SCALE: Scale = Scale {
    name: "scaling-partitions",
    over: "partitions",
    logarithmic: true,
    levels: [
        Level { at: 1.0, partitions: 1, ..PLAIN },
        Level { at: 4.0, partitions: 4, ..PLAIN },
        Level { at: 16.0, partitions: 16, ..PLAIN },
        Level { at: 64.0, partitions: 64, ..PLAIN },
    ],
};
pub(super) const LOG_SCALE: Scale = Scale {
    name: "scaling-log",
    over: "GB of log",
    logarithmic: false,
    levels: [
        Level { at: 0.0, ..PLAIN },
        Level { at: 1.0, filled: GB, ..PLAIN },
        Level { at: 4.0, filled: 4 * GB, ..PLAIN },
        Level { at: 10.0, filled: 10 * GB, ..PLAIN },
    ],
};

/// A gateway at a level, and what came of its turns.
struct Standing {
    level: Level,
    deployment: Deployment,
    restart: u64,
    /// Batches that each connection has sent.
    sent: u64,
    cpu_micros: Vec<f64>,
}

pub(super) async fn run(scale: &Scale, binaries: &Binaries, quick: bool) -> Result<Found> {
    let (lasting, turns, shrink) = if quick { (TURN / 4, 2, SLICE) } else { (TURN, TURNS, 1) };
    let levels = scale.levels.map(|level| Level { filled: level.filled / shrink, ..level });
    let filled = levels.iter().map(|level| level.filled).sum();
    if let Err(error) = room_for(filled, &std::env::temp_dir()) {
        let (what, goal) = (format!("CPU of a reading over {}", scale.over), "within 20 %".to_owned());
        return Ok(vec![Measure { what, got: None, reference: error.to_string(), goal }].into());
    }
    let mut standing = Vec::new();
    for level in levels {
        standing.push(Standing::start(level, binaries).await?);
    }
    // The first turn warms all of them: devices are described, files made.
    for turn in 0..=turns {
        let order: Vec<usize> = match turn % 2 {
            0 => (0..standing.len()).collect(),
            _ => (0..standing.len()).rev().collect(),
        };
        for index in order {
            let micros = standing[index].turn(lasting)?;
            if turn > 0 {
                standing[index].cpu_micros.push(micros);
            }
        }
    }
    let mut costs = Vec::new();
    for mut one in standing {
        stop(&mut one.deployment).await?;
        one.deployment.scratch.remove()?;
        costs.push((one.level.at, one.cpu_micros));
    }
    Ok(found(scale, &costs, shrink))
}

impl Standing {
    async fn start(level: Level, binaries: &Binaries) -> Result<Self> {
        let deployment = gateway_with(binaries, &format!("partitions = {}\n", level.partitions)).await?;
        let data = deployment.scratch.join("gateway");
        let mut pieces = 0;
        while level.filled > 0 && size_of(&data)? < level.filled {
            fill(deployment.mqtt, &format!("fill-{pieces}"), level.filled / 16)?;
            pieces += 1;
        }
        Ok(Self { level, deployment, restart: load::new_restart(), sent: 0, cpu_micros: Vec::new() })
    }

    /// Microseconds of the gateway's processors for a reading.
    fn turn(&mut self, lasting: Duration) -> Result<f64> {
        let each = (RATE as f64 * lasting.as_secs_f64()) as u64 / CONNECTIONS as u64;
        let devices = self.level.devices / CONNECTIONS;
        let prepared = (0..CONNECTIONS).map(|connection| {
            let agent = format!("scale-{connection}");
            // Names of one length, so that as many readings go into a batch.
            let devices: Vec<_> = (0..devices).map(|device| format!("{agent}-{device:03}")).collect();
            packets_in_turn(&agent, &devices, self.sent..self.sent + each, BATCH, self.restart)
        });
        let prepared = prepared.collect::<Result<Vec<Packets>>>()?;
        self.sent += each;
        let readings = prepared[0].readings * each * CONNECTIONS as u64;
        let (mqtt, pid) = (self.deployment.mqtt, self.deployment.gateway.pid());
        tokio::task::block_in_place(|| {
            let publishers = OpenLoop::connect(mqtt, prepared, lasting)?;
            let before = cpu_seconds(pid);
            publishers.run()?;
            Ok((cpu_seconds(pid) - before) * 1e6 / readings as f64)
        })
    }
}

fn found(scale: &Scale, costs: &[(f64, Vec<f64>)], shrink: u64) -> Found {
    let medians: Vec<(f64, f64)> = costs.iter().map(|(at, micros)| (*at, median(micros.clone()))).collect();
    let line = |name: &str, of: fn(&[f64]) -> f64| Line {
        name: name.to_owned(),
        points: costs.iter().map(|(at, micros)| (*at, of(micros))).collect(),
    };
    let least = |micros: &[f64]| micros.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |micros: &[f64]| micros.iter().copied().fold(0.0, f64::max);
    let cheapest = medians.iter().map(|(_, micros)| *micros).fold(f64::INFINITY, f64::min);
    let allowed = medians.iter().map(|(at, _)| (*at, cheapest * WITHIN)).collect();
    let over =
        if shrink > 1 && !scale.logarithmic { format!("{} / {shrink}", scale.over) } else { scale.over.to_owned() };
    let plot = Plot {
        title: format!("CPU of the gateway for a reading over {over}, {RATE} batches/s"),
        axes: (over.clone(), "microseconds".to_owned()),
        logarithmic: (scale.logarithmic, false),
        lines: vec![
            line("median of the turns", |micros| median(micros.to_vec())),
            line("least", least),
            line("most", most),
            Line { name: "20 % above the cheapest".to_owned(), points: allowed },
        ],
        bands: Vec::new(),
    };
    let of_first = |micros: &[f64]| ratios(micros, &costs[0].1);
    let measures = costs.iter().map(|(at, micros)| Measure {
        what: format!("CPU of a reading over {} {over}", short(*at)),
        got: Some(format!("{} us", spread(micros))),
        reference: format!("{} of that over {}", spread(&of_first(micros)), short(costs[0].0)),
        goal: "within 20 %".to_owned(),
    });
    let measures = measures.collect();
    let turns = costs.iter().map(|(at, micros)| (format!("microseconds over {} {over}", short(*at)), micros.clone()));
    let figures = vec![Figure { name: scale.name.to_owned(), plot }];
    Found { measures, figures, turns: turns.collect(), ..Found::default() }
}
