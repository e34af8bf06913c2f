//! QoS 1 publishes, each a valid 200 B batch: the gateway answers after its commit, mosquitto at once.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::Measure;
use super::load::{self, Outcome, PUBLISHERS, WINDOW};
use super::mosquitto::{self, Mosquitto};
use super::payload::PAYLOAD;
use super::table::{median, short};
use crate::binaries::Binaries;
use crate::deployment::{Deployment, Plan, Scratch};

/// Publishes of one publisher in one turn.
const EACH: usize = 50_000;
/// Of mosquitto, which takes longer for each.
const EACH_MOSQUITTO: usize = 10_000;
/// Turns of each side.
const TURNS: u64 = 5;
/// A tick of the counters in /proc (proc(5), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// One side's turns.
#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    cpu_micros: Vec<f64>,
    last: Option<Outcome>,
}

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    eprintln!("publish ...");
    let scale = if quick { 10 } else { 1 };
    let mut plan = Plan::new(0);
    plan.boards = 0;
    let mut deployment = Deployment::prepare(plan, binaries).await?;
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    let scratch = Scratch::new()?;
    let peer = match mosquitto::find() {
        Some(path) => Some(Mosquitto::start(path, &scratch, binaries).await?),
        None => {
            eprintln!("SKIPPED the comparison with mosquitto: it is not installed; type: apt-get install mosquitto");
            None
        }
    };
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    for turn in 0..TURNS {
        // A restart that nobody used before, so that no reading is a repeat.
        let restart = began + turn;
        ours.turn(deployment.gateway.pid(), || load::run(deployment.mqtt, EACH / scale, restart))?;
        if let Some(peer) = &peer {
            theirs.turn(peer.process.pid(), || load::run(peer.address, EACH_MOSQUITTO / scale, restart))?;
        }
    }
    if let Some(mut gateway) = deployment.gateway.take() {
        gateway.stop(Duration::from_secs(30)).await?;
    }
    deployment.scratch.remove()?;
    scratch.remove()?;
    Ok(vec![measure(&ours, peer.is_some().then_some(&theirs))])
}

impl Side {
    fn turn(&mut self, pid: i32, load: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        let before = cpu_seconds(pid);
        let outcome = tokio::task::block_in_place(load)?;
        let cpu = cpu_seconds(pid) - before;
        self.rates.push(outcome.rate());
        self.cpu_micros.push(cpu * 1e6 / outcome.publishes as f64);
        self.last = Some(outcome);
        Ok(())
    }

    fn describe(&self) -> String {
        let (rate, cpu) = (median(self.rates.clone()), median(self.cpu_micros.clone()));
        format!("{} publishes/s, {cpu:.1} us CPU each", short(rate))
    }
}

fn measure(ours: &Side, theirs: Option<&Side>) -> Measure {
    let (payload, readings) = ours.last.map_or((PAYLOAD, 0), |o| (o.payload, o.readings / o.publishes.max(1)));
    let what = format!(
        "QoS 1 publishes, each a valid batch of {payload} B with {readings} readings, PUBACK after commit, \
         {PUBLISHERS} publishers, window {WINDOW}"
    );
    let goal = "5x".to_owned();
    match theirs {
        Some(theirs) => {
            let ratio = median(ours.rates.clone()) / median(theirs.rates.clone()).max(1.0);
            let reference = format!("mosquitto, one QoS 0 subscriber: {}", theirs.describe());
            Measure { what, got: Some(format!("{ratio:.1}x; {}", ours.describe())), reference, goal }
        }
        None => {
            let reference = "mosquitto is not installed: apt-get install mosquitto".to_owned();
            Measure { what, got: Some(ours.describe()), reference, goal }
        }
    }
}

/// Processor time of a process so far (proc(5), fields 14 and 15 of stat).
fn cpu_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the numbers follow the last one.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}
