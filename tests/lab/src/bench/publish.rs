//! QoS 1 publishes of 200 B: the same publishers against the gateway and against others, in turns. What an answer is worth
//! differs, and stands beside each. To the others a message is bytes; the gateway gets it in two kinds: as any message, which
//! becomes one record, and as a valid batch, which becomes a record for each of its readings.

use std::time::Duration;

use anyhow::Result;

use super::found::{Card, Contender, Contest, Found};
use super::load::{self, PUBLISHERS, WINDOW};
use super::payload::MESSAGES;
use super::peers::kafka::{Flush, Kafka, MISSING};
use super::peers::{self, Minimal, Peer, Sync};
use super::side::Side;
use crate::binaries::Binaries;
use crate::deployment::{Deployment, Plan, Scratch};

/// Bytes of a payload; each is filled with as many readings as go in.
const PAYLOAD: usize = 200;
/// Turns of each side.
const TURNS: usize = 5;
/// Publishes of one publisher in one turn; fewer of who takes longer for each.
const EACH: usize = 50_000;
const EACH_MOSQUITTO: usize = 10_000;
const EACH_NATS: usize = 20_000;
const EACH_NATS_SYNCED: usize = 500;
const EACH_BRIDGE: usize = 20_000;
const EACH_BRIDGE_FLUSHED: usize = 2000;
/// Records that Kafka's own load generator sends in one turn.
const PRODUCED: usize = 400_000;
const PRODUCED_FLUSHED: usize = 40_000;

/// One that takes part: who, how many publishes of one publisher, and the goal; or its name and why not.
type Entry = Result<(Peer, usize, &'static str), (String, String)>;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Found> {
    let (scale, turns) = if quick { (10, 2) } else { (1, TURNS) };
    let mut deployment = gateway_with(binaries, &format!("[[mqtt.store]]\nfilter = {MESSAGES:?}\n")).await?;
    let scratch = Scratch::new()?;
    let kafka = Kafka::start(&scratch, binaries).await?;
    let entries = entries(kafka.as_ref(), &scratch, binaries).await?;
    let (mut messages, mut batches) = (Side::default(), Side::default());
    let mut theirs = vec![Side::default(); entries.len()];
    let mut produced = Flush::ALL.map(|flush| (flush, Vec::new()));
    for _ in 0..turns {
        let (gateway, mqtt) = (deployment.gateway.pid(), deployment.mqtt);
        messages.turn(gateway, || load::run_messages(mqtt, EACH / scale, PAYLOAD))?;
        batches.turn(gateway, || load::run(mqtt, EACH / scale, PAYLOAD, load::new_restart()))?;
        for (entry, side) in entries.iter().zip(&mut theirs) {
            if let Ok((peer, each, _)) = entry {
                side.turn_of(&peer.pids, || load::run_messages(peer.address, (each / scale).max(WINDOW), PAYLOAD))?;
            }
        }
        if let Some(kafka) = &kafka {
            for (flush, rates) in &mut produced {
                let records = if *flush == Flush::Each { PRODUCED_FLUSHED } else { PRODUCED } / scale;
                rates.push(kafka.produce(*flush, (records, PAYLOAD), &scratch, binaries).await?);
            }
        }
    }
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    let readings = batches.last.map_or(0, |last| last.readings / last.publishes.max(1));
    let batches = Contender::of(card(), batches, "");
    // What comes without an identity comes again if it is sent again.
    let of_messages = Card { means: "on disk: fdatasync of its group".to_owned(), ..card() };
    let messages = Contender::of(of_messages, messages, "");
    let others: Vec<_> = contenders(&entries, theirs).collect();
    let alone = produced.into_iter().map(|(flush, turns)| match &kafka {
        Some(kafka) => Contender { card: kafka.card(flush), turns, ..Contender::default() },
        None => Contender::skipped(&format!("Kafka alone, {}", flush.setting()), MISSING),
    });
    let contest = |name: &str, title: String, unit: &str, contenders: Vec<Contender>| Contest {
        name: name.to_owned(),
        title,
        unit: unit.to_owned(),
        compared: true,
        contenders,
    };
    let load = format!("{PUBLISHERS} publishers, at most {WINDOW} unanswered of each");
    // How others are set up is said once.
    let said = others
        .iter()
        .map(|one| Contender { card: Card { settings: String::new(), ..one.card.clone() }, ..one.clone() });
    let contests = vec![
        contest(
            "publish",
            format!("QoS 1 publishes of {PAYLOAD} B, each a message that becomes one record, {load}"),
            "publishes/s",
            std::iter::once(messages.clone()).chain(others.clone()).collect(),
        ),
        contest(
            "publish-batches",
            format!("Each publish to Weir a valid batch of {readings} readings; the others as above"),
            "publishes/s",
            std::iter::once(batches).chain(said).collect(),
        ),
        contest(
            "produce",
            format!(
                "Kafka without MQTT: records of {PAYLOAD} B by its own load generator, which packs what waits into requests"
            ),
            "records/s",
            std::iter::once(Contender { cpu_micros: Vec::new(), ..messages }).chain(alone).collect(),
        ),
    ];
    drop((entries, kafka));
    scratch.remove()?;
    Ok(Found { contests, ..Found::default() })
}

async fn entries(kafka: Option<&Kafka>, scratch: &Scratch, binaries: &Binaries) -> Result<Vec<Entry>> {
    let mut entries = vec![Ok((Minimal::peer(scratch, binaries).await?, EACH, "0.5"))];
    let mut add = |name: &str, found: peers::Found, each, goal| {
        entries.push(found.map(|peer| (peer, each, goal)).map_err(|why| (name.to_owned(), why)));
    };
    add("mosquitto", peers::mosquitto_peer(scratch, binaries).await?, EACH_MOSQUITTO, "10x");
    add("rumqttd", peers::rumqttd_peer(scratch, binaries).await?, EACH, "");
    for (sync, each, goal) in [(Sync::Default, EACH_NATS, "1x"), (Sync::Always, EACH_NATS_SYNCED, "10x")] {
        add(sync.name(), peers::nats_peer(sync, scratch, binaries).await?, each, goal);
    }
    for (flush, each) in Flush::ALL.into_iter().zip([EACH_BRIDGE, EACH_BRIDGE_FLUSHED]) {
        let found = match kafka {
            Some(kafka) => Ok(kafka.bridge(flush, scratch, binaries).await?),
            None => Err(MISSING.to_owned()),
        };
        add(&format!("Kafka behind a bridge, {}", flush.setting()), found, each, "");
    }
    Ok(entries)
}

fn contenders(entries: &[Entry], sides: Vec<Side>) -> impl Iterator<Item = Contender> {
    entries.iter().zip(sides).map(|(entry, side)| match entry {
        Ok((peer, _, goal)) => Contender::of(peer.card.clone(), side, goal),
        Err((name, why)) => Contender::skipped(name, why),
    })
}

/// Ours.
pub(super) fn card() -> Card {
    Card {
        name: format!("Weir {}", env!("CARGO_PKG_VERSION")),
        means: "on disk: fdatasync of its group, repeats dropped".to_owned(),
        settings: "as it comes".to_owned(),
    }
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
