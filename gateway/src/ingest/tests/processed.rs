//! What the rules of an agent make of readings: summaries with what they stand for, and readings that are refused.

use weir_protocol::batch::{
    EnvelopeBuilder, Held, LossKind, MAX_HELD, Refusal, RunBuilder, Section, SetAside, Summary,
};
use weir_protocol::{Items, Restart, Sequence, items};

use super::super::{Reason, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{Gateway, Peer};
use crate::record::Value;

/// The restart of the agent's own that summaries come under.
const OWN: Restart = Restart::from_agent(7);

fn gateway() -> (Gateway, Peer) {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    agent.verdicts();
    (gateway, agent)
}

fn ranges(ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (start, end) in ranges {
        items::push(&mut encoded, &Held { start: Sequence(*start), end: Sequence(*end) });
    }
    encoded
}

/// Readings `sequences` of the agent's own restart in the place of `ranges` of restart 1.
fn summary(sequences: std::ops::Range<u64>, ranges: &[u8]) -> Vec<u8> {
    let run = run_with(device("probe"), OWN.0, sequences, |_| None);
    batch_of(&[Section::Summary(Summary { of: Restart(1), ranges: Items::new(ranges), run: run.run() })])
}

fn set_aside(run: &RunBuilder) -> Vec<u8> {
    let (refusal, expected) = (Refusal::OutOfRange, "-40 to 85 Cel");
    batch_of(&[Section::SetAside(SetAside { refusal, expected, run: run.run() })])
}

fn lost(content: &LogContent) -> Vec<u64> {
    LogContent::sequences(&content.lost, device("probe"), 1)
}

#[test]
fn a_summary_is_stored_and_what_it_stands_for_is_reduced_however_often_it_comes() {
    let (mut gateway, mut agent) = gateway();
    // One of those that it stands for was stored before: that is what counts.
    gateway.send(&mut agent, batch(device("probe"), 1, 12..13));
    gateway.settle();
    for _ in 0..2 {
        gateway.send(&mut agent, summary(0..2, &ranges(&[(10, 15), (20, 21)])));
        gateway.settle();
    }
    assert_eq!(agent.verdicts(), [Verdict::Stored; 3]);
    let content = gateway.content();
    assert_eq!(lost(&content), [10, 11, 13, 14, 20]);
    assert!(content.lost.values().all(|kind| kind == LossKind::Reduced.as_str()), "{:?}", content.lost);
    assert_eq!(LogContent::sequences(&content.readings, device("probe"), OWN.0), [0, 1]);
    content.assert_conserved();
    let counted = gateway.counters.snapshot();
    assert_eq!((counted.reduced, counted.lost), (5, 0), "a decision is no loss");
}

#[test]
fn the_record_of_a_summary_names_the_range_it_stands_for_and_others_have_the_schema_they_had() {
    let (mut gateway, mut agent) = gateway();
    gateway.send(&mut agent, batch(device("probe"), 1, 0..1));
    gateway.send(&mut agent, summary(0..1, &ranges(&[(10, 15), (20, 21)])));
    gateway.settle();
    let mut summarises = Vec::new();
    let topic = gateway.topics.named("readings").unwrap();
    for partition in topic.partitions() {
        let chunk = partition.reader().read(partition.reader().start_offset(), 1 << 20);
        for record in chunk.unwrap().records() {
            let value = record.unwrap().value.unwrap();
            let Value::Reading(reading) = Value::decode(value).unwrap() else { panic!("no reading") };
            let id = u32::from_be_bytes([value[1], value[2], value[3], value[4]]);
            let json = serde_json::to_value(&reading).unwrap();
            summarises.push((reading.restart, id, json.get("summarises").cloned()));
        }
    }
    let names = serde_json::json!({"restart": "1", "start": 10, "end": 21});
    assert_eq!(summarises, [(Restart(1), 1, None), (OWN, (1 << 24) + 1, Some(names))]);
}

#[test]
fn rules_may_leave_nothing_of_many_sequences() {
    let (mut gateway, mut agent) = gateway();
    gateway.send(&mut agent, summary(0..0, &ranges(&[(0, 3), (5, 6)])));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    assert_eq!(lost(&gateway.content()), [0, 1, 2, 5]);
    assert_eq!(gateway.counters.snapshot().reduced, 4);
}

#[test]
fn what_rules_refuse_is_a_dead_letter_that_says_what_was_expected_and_the_agent_is_told_stored() {
    let (mut gateway, mut agent) = gateway();
    let run = run_with(device("probe"), 1, 3..6, |_| None);
    for _ in 0..2 {
        gateway.send(&mut agent, set_aside(&run));
        gateway.settle();
    }
    assert_eq!(agent.verdicts(), [Verdict::Stored; 2]);
    let content = gateway.content();
    assert_eq!(LogContent::sequences(&content.dead, device("probe"), 1), [3, 4, 5]);
    let [(reason, position, original)] = &content.letters[..] else { panic!("{:?}", content.letters) };
    assert_eq!(reason, "out-of-range: expected -40 to 85 Cel");
    let section = Items::<Section<'_>>::new(original).iter().next().unwrap().unwrap();
    let Section::SetAside(aside) = section else { panic!("{section:?}") };
    assert_eq!(aside.run.readings.as_bytes(), &original[position.unwrap() as usize..]);
    assert_eq!(gateway.counters.snapshot().dead_lettered[Reason::OutOfRange as usize], 3);
    content.assert_conserved();
}

#[test]
fn sections_that_break_their_bounds_are_dead_letters_of_all_that_they_name() {
    let (mut gateway, mut agent) = gateway();
    let many: Vec<_> = (0..=MAX_HELD as u64).map(|at| (100 + 2 * at, 101 + 2 * at)).collect();
    let run = run_with(device("probe"), 1, 3..4, |_| None);
    let refused = |expected| Section::SetAside(SetAside { refusal: Refusal::OutOfRange, expected, run: run.run() });
    let long = "x".repeat(97);
    let bad = [
        summary(0..1, &ranges(&[(20, 21), (10, 15)])),
        summary(1..2, &ranges(&many)),
        damaged_body(summary(2..3, &ranges(&[(30, 33)]))),
        batch_of(&[refused(&long)]),
    ];
    for batch in bad {
        gateway.send(&mut agent, batch);
    }
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnreadableBody); 4]);
    let content = gateway.content();
    assert_eq!(LogContent::sequences(&content.dead, device("probe"), OWN.0), [0, 1, 2]);
    let dead = LogContent::sequences(&content.dead, device("probe"), 1);
    let named = [3, 10, 11, 12, 13, 14, 20, 30, 31, 32].into_iter().chain(many.iter().map(|(start, _)| *start));
    assert_eq!(dead, named.collect::<Vec<_>>());
    content.assert_conserved();
}

/// What the manifest does not name would be left out in silence if the body were damaged on its way.
#[test]
fn a_summary_that_stands_for_more_than_the_manifest_names_is_refused() {
    let (mut gateway, mut agent) = gateway();
    let run = run_with(device("probe"), OWN.0, 0..1, |_| None);
    let (named, more) = (ranges(&[(10, 11)]), ranges(&[(10, 11), (20, 21)]));
    let of = |ranges| Section::Summary(Summary { of: Restart(1), ranges: Items::new(ranges), run: run.run() });
    let mut encoded = Vec::new();
    items::push(&mut encoded, &of(&more));
    let mut builder = EnvelopeBuilder::new();
    builder.push_encoded(&of(&named), &encoded);
    gateway.send(&mut agent, builder.finish(false));
    gateway.settle();
    let verdicts = agent.verdicts();
    assert!(
        matches!(&verdicts[..], [Verdict::Unreadable(why)] if why.contains("different identities")),
        "{verdicts:?}"
    );
    let content = gateway.content();
    assert!(content.readings.is_empty() && content.dead.is_empty() && content.lost.is_empty(), "nothing of it is kept");
}

/// A summary that stands for nothing names nothing that could be kept.
#[test]
fn a_summary_of_nothing_is_refused() {
    let (mut gateway, mut agent) = gateway();
    gateway.send(&mut agent, summary(0..1, &[]));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnreadableBody)]);
}
