//! QoS 1 publishes, each a valid batch of 200 B: the gateway answers after its commit, so does the minimal codec loop;
//! mosquitto answers at once.

use std::time::Duration;

use anyhow::Result;

use super::Measure;
use super::load::{self, PUBLISHERS, WINDOW};
use super::peers::{self, Minimal};
use super::side::Side;
use super::table::{ratios, spread};
use crate::binaries::Binaries;
use crate::deployment::{Deployment, Plan, Scratch};

/// Bytes of a payload; each is filled with as many readings as go in.
const PAYLOAD: usize = 200;
/// Publishes of one publisher in one turn.
const EACH: usize = 50_000;
/// Of mosquitto, which takes longer for each.
const EACH_MOSQUITTO: usize = 10_000;
/// Turns of each side.
const TURNS: usize = 5;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    eprintln!("publish ...");
    let scale = if quick { 10 } else { 1 };
    let mut deployment = gateway(binaries).await?;
    let scratch = Scratch::new()?;
    let minimal = Minimal::start(&scratch, binaries).await?;
    let mosquitto = peers::mosquitto(&scratch, binaries, None).await?;
    let (mut ours, mut least, mut theirs) = (Side::default(), Side::default(), Side::default());
    for _ in 0..TURNS {
        let restart = load::new_restart();
        ours.turn(deployment.gateway.pid(), || load::run(deployment.mqtt, EACH / scale, PAYLOAD, restart))?;
        least.turn(minimal.process.pid(), || load::run(minimal.address, EACH / scale, PAYLOAD, restart))?;
        if let Some(peer) = &mosquitto {
            theirs.turn(peer.process.pid(), || load::run(peer.address, EACH_MOSQUITTO / scale, PAYLOAD, restart))?;
        }
    }
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    scratch.remove()?;
    let of_least = spread(&ratios(&ours.rates, &least.rates));
    let mut measures = vec![Measure {
        what: "the same, against the least that can acknowledge after the disk".to_owned(),
        got: Some(of_least),
        reference: format!("rumqttc's codec, one file, PUBACK after the group's fdatasync: {least}"),
        goal: "0.5".to_owned(),
    }];
    measures.insert(0, against_mosquitto(&ours, mosquitto.is_some().then_some(&theirs)));
    Ok(measures)
}

/// A gateway alone, running.
pub(super) async fn gateway(binaries: &Binaries) -> Result<Deployment> {
    gateway_with(binaries, "").await
}

/// A gateway alone, running, with these settings of its topics.
pub(super) async fn gateway_with(binaries: &Binaries, topics: &str) -> Result<Deployment> {
    let mut plan = Plan::new(0);
    plan.boards = 0;
    plan.topics = topics.to_owned();
    let mut deployment = Deployment::prepare(plan, binaries).await?;
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    Ok(deployment)
}

/// Stops the gateway of [`gateway`].
pub(super) async fn stop(deployment: &mut Deployment) -> Result<()> {
    if let Some(mut gateway) = deployment.gateway.take() {
        gateway.stop(Duration::from_secs(30)).await?;
    }
    Ok(())
}

fn against_mosquitto(ours: &Side, theirs: Option<&Side>) -> Measure {
    let (payload, readings) = ours.last.map_or((PAYLOAD, 0), |o| (o.payload, o.readings / o.publishes.max(1)));
    let what = format!(
        "QoS 1 publishes, each a valid batch of {payload} B with {readings} readings, PUBACK after commit, \
         {PUBLISHERS} publishers, window {WINDOW}"
    );
    let (got, reference) = match theirs {
        Some(theirs) => {
            let ratio = spread(&ratios(&ours.rates, &theirs.rates));
            (format!("{ratio} times; {ours}"), format!("mosquitto, one QoS 0 subscriber: {theirs}"))
        }
        None => (ours.to_string(), "mosquitto is not installed: apt-get install mosquitto".to_owned()),
    };
    Measure { what, got: Some(got), reference, goal: "10x".to_owned() }
}
