//! Processor time for a reading that comes in a batch of many: the whole gateway, from the socket through decode,
//! dedupe, encode and append to the PUBACK.

use anyhow::Result;

use super::Measure;
use super::load;
use super::peers::Minimal;
use super::publish::{gateway, stop};
use super::side::Side;
use super::table::{short, spread};
use crate::binaries::Binaries;
use crate::deployment::Scratch;

/// Bytes of a payload: a batch of an agent that has a backlog.
const PAYLOAD: usize = 16 * 1024;
/// Publishes of one publisher in one turn.
const EACH: usize = 400;
/// Turns of each side.
const TURNS: usize = 5;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    eprintln!("readings ...");
    let each = if quick { EACH / 10 } else { EACH };
    let mut deployment = gateway(binaries).await?;
    let scratch = Scratch::new()?;
    let minimal = Minimal::start(&scratch, binaries).await?;
    let (mut ours, mut least) = (Side::default(), Side::default());
    for _ in 0..TURNS {
        let restart = load::new_restart();
        ours.turn(deployment.gateway.pid(), || load::run(deployment.mqtt, each, PAYLOAD, restart))?;
        least.turn(minimal.process.pid(), || load::run(minimal.address, each, PAYLOAD, restart))?;
    }
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    scratch.remove()?;
    let last = ours.last;
    let rates: Vec<f64> = ours.rates.iter().map(|rate| rate * readings_each(&ours)).collect();
    Ok(vec![Measure {
        what: format!(
            "CPU-seconds of the gateway for a million readings in batches of {} readings ({} kB), socket to PUBACK",
            short(readings_each(&ours)),
            last.map_or(0, |o| o.payload) / 1000
        ),
        got: Some(format!("{}; {} readings/s", spread(&ours.cpu_for_a_million_readings()), spread(&rates))),
        reference: format!("the minimal codec loop: {}", spread(&least.cpu_for_a_million_readings())),
        goal: "1.0".to_owned(),
    }])
}

fn readings_each(side: &Side) -> f64 {
    side.last.map_or(0.0, |o| o.readings as f64 / o.publishes.max(1) as f64)
}
