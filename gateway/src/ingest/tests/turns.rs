//! A sensor with a channel that is always wrong, beside channels that are good: its dead letters take turns with what is
//! stored, for as long as it runs. That must never be refused.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::batch::{EnvelopeBuilder, Refusal, Section, SetAside};
use weir_protocol::{Restart, Tenant};
use weir_storage::LogOptions;

use super::super::checkpoint;
use super::super::devices::Devices;
use super::super::log_state::LogState;
use super::super::rows::Rows;
use super::super::snapshots::{Snapshot, Snapshots};
use super::super::{IngestOptions, Limits, Reason, Retention, Verdict};
use super::keeping::{checkpoint_path, checkpoints};
use super::log_content::LogContent;
use super::payloads::*;
use super::{Gateway, Peer};
use crate::record::dead_letter::Format;
use crate::schemas::evolution::Compatibility;
use crate::topics::TopicId;
use crate::topics::routes::Routes;

const DEAD: Verdict = Verdict::DeadLettered(Reason::NotFinite);

fn options() -> IngestOptions {
    IngestOptions { partitions: 1, ..IngestOptions::default() }
}

/// Every other reading is not a number.
fn turns(sequences: Range<u64>) -> Vec<u8> {
    let fails_at_odd = |sequence: u64| (sequence % 2 == 1).then(|| not_a_number(sequence));
    batch_of(&[run_with(device("probe"), 1, sequences, fails_at_odd).section()])
}

/// Every other reading is out of the range that the agent's rules allow.
fn refused_turns(sequences: Range<u64>) -> Vec<u8> {
    let probe = device("probe");
    let mut envelope = EnvelopeBuilder::new();
    for at in sequences {
        let run = run_with(probe, 1, at..at + 1, |_| None);
        envelope.push(&match at % 2 {
            0 => run.section(),
            _ => Section::SetAside(SetAside { refusal: Refusal::OutOfRange, expected: "0 to 1", run: run.run() }),
        });
    }
    envelope.finish(true)
}

fn begun(options: IngestOptions) -> (Gateway, Peer) {
    let mut gateway = Gateway::with(options);
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    agent.verdicts();
    (gateway, agent)
}

fn send(gateway: &mut Gateway, agent: &mut Peer, payload: Vec<u8>) -> Vec<Verdict> {
    gateway.send(agent, payload);
    gateway.settle();
    gateway.keep().expect("writes");
    agent.verdicts()
}

/// Next, stored, dead letters and lost.
fn counts(gateway: &Gateway) -> (u64, u64, u64, u64) {
    let rows = Rows::default().take(&gateway.engine.devices);
    let row = rows.into_iter().find(|row| row.restart == Restart(1)).expect("it is known");
    (row.next, row.stored, row.dead_lettered, row.lost)
}

/// Where the logs end.
fn ends(gateway: &Gateway) -> Vec<u64> {
    let partitions = gateway.topics.all().iter().flat_map(|topic| topic.partitions());
    partitions.map(|partition| partition.reader().end_offset()).collect()
}

/// What the sets of restart 1 cost.
fn cost(gateway: &Gateway) -> usize {
    gateway.engine.devices.all()[0].restarts[&Restart(1)].cost()
}

/// With a range for each of them a device that goes on in order was refused behind 262,144, and for ever.
#[test]
fn dead_letters_that_take_turns_with_readings_are_never_too_many_pieces() {
    const STEP: u64 = 4_000;
    const STEPS: u64 = 80;
    let (mut gateway, mut agent) = begun(options());
    for step in 0..STEPS {
        assert_eq!(send(&mut gateway, &mut agent, turns(step * STEP..(step + 1) * STEP)), [DEAD], "step {step}");
        if step % 30 == 20 {
            // From the checkpoint of a clean stop, and from the records alone.
            if step > 40 {
                gateway.checkpoint();
            }
            let before = counts(&gateway);
            gateway = gateway.power_cut(options());
            let from_checkpoint = gateway.report.partitions.iter().any(|found| found.checkpoint.is_some());
            assert_eq!((counts(&gateway), from_checkpoint), (before, step > 40), "step {step}");
            agent = gateway.connect("agent");
        }
    }
    let all = STEPS * STEP;
    assert!(all as usize > 4 * Limits::default().ranges_per_restart);
    assert_eq!(counts(&gateway), (all, all / 2, all / 2, 0));
    assert!(cost(&gateway) < 1_000, "{} ranges", cost(&gateway));
    // All of it is a repeat, before and after another start.
    for _ in 0..2 {
        let (repeats, end) = (gateway.counters.snapshot().repeats, ends(&gateway));
        for first in [0, all / 2, all - STEP] {
            assert_eq!(send(&mut gateway, &mut agent, turns(first..first + STEP)), [DEAD]);
        }
        assert_eq!(gateway.counters.snapshot().repeats, repeats + 3 * STEP);
        assert_eq!(ends(&gateway), end, "nothing is appended");
        gateway = gateway.power_cut(options());
        assert_eq!(counts(&gateway), (all, all / 2, all / 2, 0));
        agent = gateway.connect("agent");
    }
}

/// Bounds so narrow that ranges alone would be refused behind 256 of them.
fn narrow() -> IngestOptions {
    let limits = Limits { ranges_per_restart: 64, ..Limits::default() };
    IngestOptions { limits, log: LogOptions { segment_bytes: 64 << 10, ..options().log }, ..options() }
}

#[test]
fn a_redrive_heals_each_dead_letter_among_stored_readings_once() {
    const ALL: u64 = 10_000;
    let (mut gateway, mut agent) = begun(narrow());
    for first in (0..ALL).step_by(250) {
        assert_eq!(send(&mut gateway, &mut agent, refused_turns(first..first + 250)), [Verdict::Stored], "{first}");
    }
    assert_eq!(counts(&gateway), (ALL, ALL / 2, ALL / 2, 0));
    let letters: Vec<_> = gateway.content().origins.into_iter().map(|(.., original)| original).collect();
    assert_eq!(letters.len() as u64, ALL / 2);
    // A part before a start, the rest after it, and all of them once more.
    for (from, to) in [(0, 1_000), (1_000, 5_000), (0, 5_000)] {
        let agent = gateway.connect("agent").sender.agent().expect("an agent");
        let mut again = gateway.connect_retry(agent);
        for letters in letters[from..to].chunks(100) {
            letters.iter().for_each(|letter| gateway.retry(&mut again, Format::Section, letter.clone()));
            gateway.settle();
        }
        gateway.keep().expect("writes");
        assert!(again.verdicts().iter().all(|verdict| *verdict == Verdict::Stored));
        assert_eq!(counts(&gateway), (ALL, ALL / 2 + to as u64, ALL / 2 - to as u64, 0));
        gateway = gateway.power_cut(narrow());
        assert_eq!(counts(&gateway), (ALL, ALL / 2 + to as u64, ALL / 2 - to as u64, 0));
    }
    let content = gateway.content();
    content.assert_conserved();
    let sequences = LogContent::sequences(&content.readings, device("probe"), 1);
    assert_eq!(sequences, (0..ALL).collect::<Vec<_>>());
    assert_eq!(content.readings.values().filter(|(_, heals)| *heals).count() as u64, ALL / 2);
    // What is closed takes no pages: only the dead letters do.
    assert!(cost(&gateway) <= 1 + 34 * 2 + 3, "{}", cost(&gateway));
}

/// The first checkpoint that says pages, and the one that retention leaves of what it removed.
#[test]
fn retention_and_bad_checkpoints_forget_no_turn() {
    let keeping = || IngestOptions { retention: Retention { bytes: Some(64 << 10), age: None }, ..narrow() };
    const ALL: u64 = 20_000;
    let (mut gateway, mut agent) = begun(keeping());
    for first in (0..ALL).step_by(500) {
        assert_eq!(send(&mut gateway, &mut agent, turns(first..first + 500)), [DEAD], "{first}");
        gateway.retain();
    }
    gateway.checkpoint();
    for _ in 0..3 {
        gateway.retain();
    }
    for topic in [TopicId::READINGS, TopicId::DEAD_LETTER] {
        let start = gateway.topics.get(topic).partitions()[0].reader().start_offset();
        assert!(start > 0, "segments of {topic:?} are gone");
        let newest = checkpoints(&gateway, topic, 0).pop().expect("one");
        assert!(gateway.fs.flip_bit(&checkpoint_path(topic, 0, newest), 100, 1));
    }
    let mut gateway = gateway.power_cut(keeping());
    assert_eq!(counts(&gateway), (ALL, ALL / 2, ALL / 2, 0));
    let mut agent = gateway.connect("agent");
    for first in (0..ALL).step_by(500) {
        assert_eq!(send(&mut gateway, &mut agent, turns(first..first + 500)), [DEAD]);
    }
    assert_eq!(gateway.counters.snapshot().readings, 0, "all of it is a repeat");
    assert_eq!(gateway.counters.snapshot().repeats, ALL);
}

/// What commits and checkpoints make of it, without the records: in fixed turns, and without any pattern.
#[test]
fn turns_cost_little_in_memory_and_in_checkpoints() {
    const ALL: u64 = 614_400;
    let limits = Limits::default();
    let routes = begun(options()).0.topics;
    let routes = Routes::of(&routes);
    let (dead_letters, probe) = (routes.log(TopicId::DEAD_LETTER, 0), (Tenant::DEFAULT, device("probe")));
    let mut random = StdRng::seed_from_u64(1);
    for (is_regular, most_cost, most_bytes) in [(true, 500, 2_000), (false, 34 * 300 + 100, 80_000)] {
        let mut devices = Devices::new(limits, Compatibility::Strict, 1);
        let place = devices.enter(probe.0, probe.1).expect("room");
        let mut stored = 0;
        let mut is_bad = |sequence: u64| if is_regular { sequence % 2 == 1 } else { random.random() };
        for first in (0..ALL).step_by(400) {
            let ledger = devices.ledger(place, Restart(1), first..first + 400).expect("few enough");
            ledger.pending.insert(first..first + 400);
            for sequence in first..first + 400 {
                if is_bad(sequence) {
                    devices.ledger_mut(place, Restart(1)).expect("it is known").bury(sequence..sequence + 1);
                    devices.bury(0, place, Restart(1), sequence..sequence + 1);
                } else {
                    stored += 1;
                    devices.store(place, Restart(1), TopicId::READINGS, sequence..sequence + 1);
                }
            }
        }
        let ledger = devices.ledger_mut(place, Restart(1)).expect("it is known");
        assert_eq!((ledger.next(), ledger.readings(), ledger.counted().dead), (ALL, stored, ALL - stored));
        assert!(ledger.cost() <= most_cost, "{} ranges", ledger.cost());
        let mut snapshots = Snapshots::default();
        for log in [0, dead_letters] {
            snapshots.begin(Snapshot::of(log, 1, Vec::new(), None), &devices, &routes);
        }
        snapshots.step(&devices, &routes, &[1; 4]);
        for file in snapshots.take_done() {
            assert!(file.body.len() <= most_bytes, "{} bytes", file.body.len());
            let (_, state): (_, LogState) = checkpoint::decode_state(&file.body).expect("reads");
            let ledger = devices.ledger_mut(place, Restart(1)).expect("it is known");
            let said = &state.of(probe, Restart(1)).expect("it is known").ranges;
            assert_eq!(said, if file.log == 0 { &ledger.stored } else { &ledger.dead });
            assert!(said.cost() <= most_cost, "{} ranges", said.cost());
        }
    }
}
