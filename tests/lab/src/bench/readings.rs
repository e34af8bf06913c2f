//! Processor time for a reading that comes in a batch of many: the whole gateway, from the socket through decode,
//! dedupe, encode and append to the PUBACK.

use anyhow::Result;

use super::Measure;
use super::found::{Contender, Contest, Found};
use super::load::{self, PUBLISHERS, WINDOW};
use super::peers::Minimal;
use super::publish::{card, gateway, stop};
use super::side::Side;
use super::table::spread;
use crate::binaries::Binaries;
use crate::deployment::Scratch;

/// Bytes of a payload: a batch of an agent that has a backlog.
const PAYLOAD: usize = 16 * 1024;
/// Publishes of one publisher in one turn.
const EACH: usize = 400;
/// Turns of each side.
const TURNS: usize = 5;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Found> {
    let each = if quick { EACH / 10 } else { EACH };
    let mut deployment = gateway(binaries).await?;
    let scratch = Scratch::new()?;
    let minimal = Minimal::peer(&scratch, binaries).await?;
    let (mut ours, mut least) = (Side::default(), Side::default());
    for _ in 0..TURNS {
        let restart = load::new_restart();
        ours.turn(deployment.gateway.pid(), || load::run(deployment.mqtt, each, PAYLOAD, restart))?;
        least.turn_of(&minimal.pids, || load::run(minimal.address, each, PAYLOAD, restart))?;
    }
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    let (payload, in_each) = ours.last.map_or((0, 0), |o| (o.payload, o.readings / o.publishes.max(1)));
    let contenders = [(card(), &ours, ""), (minimal.card.clone(), &least, "")].map(|(card, side, goal)| Contender {
        card,
        turns: side.rates.iter().map(|rate| rate * in_each as f64).collect(),
        cpu_micros: side.cpu_for_a_million_readings(),
        goal: goal.to_owned(),
        skipped: None,
    });
    let durable = contenders[0].turns.clone();
    drop(minimal);
    scratch.remove()?;
    let measures = vec![
        Measure {
            what: "durable readings/s".to_owned(),
            got: Some(spread(&durable)),
            reference: "the table above".to_owned(),
            goal: "1 M".to_owned(),
        },
        Measure {
            what: "CPU-seconds of the gateway for a million readings, socket to PUBACK".to_owned(),
            got: Some(format!("{} s", spread(&ours.cpu_for_a_million_readings()))),
            reference: format!("the minimal codec loop: {} s", spread(&least.cpu_for_a_million_readings())),
            goal: "1.0 s".to_owned(),
        },
    ];
    let contest = Contest {
        name: "readings".to_owned(),
        title: format!(
            "Readings in batches of {in_each} ({} kB), {PUBLISHERS} publishers, at most {WINDOW} unanswered of each",
            payload / 1000
        ),
        unit: "readings/s".to_owned(),
        compared: true,
        contenders: contenders.to_vec(),
    };
    Ok(Found { contests: vec![contest], measures, ..Found::default() })
}
