//! Identity and loss.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_lab::census::Census;
use weir_lab::deployment::Deployment;
use weir_protocol::batch::{Claim, LossKind, Section};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{Clock, RangeSet, Sequence};
use weir_tests::rough::{ROUGH_DEVICE, Rough};
use weir_tests::sender::{RESTART, Sender};
use weir_tests::{PATIENCE, binaries, deployment, plan};

#[test]
fn an_identity_travels_unchanged_from_the_device_to_the_consumer() {
    // The sensor hands out a value of its own for each identity: a reading under another one would differ.
    let run = Rough::run();
    let boards = run.census.restarts.iter().filter(|((device, _), _)| device.as_str().starts_with("board-"));
    let mut compared = 0;
    for (key, stored) in boards {
        assert!(stored.wrong.is_empty(), "{key:?}: {:?}", stored.wrong);
        compared += stored.readings.len();
    }
    assert!(compared > 500, "{compared} readings of boards");
}

#[test]
fn a_sequence_is_never_used_twice() {
    let run = Rough::run();
    let restarts: BTreeSet<_> = run.ledger.pages().into_keys().filter(|(d, _)| d.as_str() == ROUGH_DEVICE).collect();
    assert_eq!(restarts.len(), 2, "a board that lost its power goes on under another restart");
    let mut seen = BTreeMap::new();
    for reading in run.readings() {
        let identity = [&reading["device"], &reading["restart"], &reading["sequence"]].map(ToString::to_string);
        if let Some(other) = seen.insert(identity, reading) {
            panic!("one identity, two readings: {other} and {reading}");
        }
    }
}

#[test]
fn a_reading_delivered_twice_is_in_the_log_once() {
    let run = Rough::run();
    let again: u64 = run.ledger.pages().values().map(|facts| facts.published_again).sum();
    assert!(again > 0, "the swallowed answers made the agent send again");
    for (key, stored) in &run.census.restarts {
        assert!(stored.doubled.is_empty(), "{key:?}: {:?}", stored.doubled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_ring_evicts_is_in_the_log_as_loss_on_exactly_those_sequences() {
    let mut lab = deployment(|plan| {
        plan.rate = 4000;
        plan.flash_kib = 64;
    })
    .await;
    lab.wait_for("readings", PATIENCE, |census| census.readings() > 100).await.unwrap();
    lab.boards[0].cable.unplug().unwrap();
    // Longer than the ring can hold at this rate, by far.
    tokio::time::sleep(Duration::from_secs(8)).await;
    lab.boards[0].cable.replug().unwrap();
    let lost = |census: &Census| census.restarts.values().any(|stored| !stored.lost.is_empty());
    lab.wait_for("the loss is in the log", PATIENCE, lost).await.unwrap();
    let (report, census) = lab.drain().await.unwrap();
    assert!(report.holds(), "\n{report}");
    let (_, facts) = lab.ledger.pages().pop_first().unwrap();
    let (_, stored) = census.restarts.into_iter().next().unwrap();
    assert!(stored.kinds.keys().eq(["ring"]), "{:?}", stored.kinds);
    // The agent may have had a few of them before the device heard of it, so not all that was evicted is lost.
    assert!(facts.evicted.len() >= stored.lost.len() && stored.lost.len() > 1000);
    assert_eq!(stored.readings.gaps(0..facts.next).collect::<RangeSet>(), stored.lost);
    lab.scratch.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_reading_heals_the_loss_that_was_counted() {
    let mut lab = Deployment::prepare(plan(|plan| plan.boards = 0), binaries()).await.unwrap();
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    let mut sender = Sender::connect(lab.mqtt, "late", "pump").await;
    let (device, kind) = (sender.device, LossKind::Ring);
    let claim = Claim { device, restart: RESTART, kind, start: Sequence(0), end: Sequence(6) };
    sender.send(&Section::Claim(claim)).await;
    let now = (SystemClock.now(), Clock::Synchronised);
    // Sequences 2 and 3 were not lost after all; 6 was never counted lost.
    sender.readings(2, &[now, now]).await;
    sender.readings(6, &[now]).await;
    let census = Census::take(&lab.log, &lab.truths).await.unwrap();
    let stored = &census.restarts[&(device, RESTART)];
    assert!(stored.healing_readings.contains_all(2..4) && !stored.healing_readings.contains(6));
    let sums = stored.readings.len() + stored.lost.len() - stored.heals();
    assert_eq!(sums, 7, "3 readings + 6 lost - 2 heals are the sequences 0 to 6");
    lab.scratch.remove().unwrap();
}

#[test]
fn a_lost_volatile_ring_is_reported_as_an_unknown_tail() {
    let run = Rough::run();
    // The agent's own source keeps its ring in memory, and the agent was killed twice.
    let own = run.census.restarts.iter().filter(|((device, _), _)| !device.as_str().starts_with("board-"));
    let ended = own.filter(|(_, stored)| stored.tail_unknown_from.is_some()).count();
    assert_eq!(ended, 2);
    let boards = run.census.restarts.iter().filter(|((device, _), _)| device.as_str().starts_with("board-"));
    for (key, stored) in boards {
        assert_eq!(stored.tail_unknown_from, None, "{key:?} has its ring in flash and ends with its exact next");
    }
}

#[test]
fn at_rest_every_sample_is_stored_or_dead_lettered_or_counted_lost() {
    let run = Rough::run();
    assert!(run.report.holds(), "\n{}", run.report);
    let (next, stored, dead, lost, in_flight) = run.report.total();
    assert_eq!((next, in_flight), (stored + dead + lost, 0), "\n{}", run.report);
}
