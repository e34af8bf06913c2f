//! Waiting for descriptions: stories of a schema that is not known yet.

use std::time::Duration;

use weir_protocol::batch::command::AgentCommand;

use super::super::{Event, IngestOptions, Limits, Outcome, Reason, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{Gateway, Peer};

const WAIT: Duration = Duration::from_secs(10);

fn readings(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().readings, device("probe"), 1)
}

/// A gateway that knows no schema, with two batches that wait for one.
fn waiting() -> (Gateway, Peer) {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, batch(device("probe"), 1, 0..5));
    gateway.send(&mut agent, batch(device("probe"), 1, 5..10));
    gateway.settle();
    let ask = AgentCommand::Describe { device: device("probe"), schema: schema() };
    assert_eq!(agent.events(), [Event::Ask(ask)], "asked once, answered not at all");
    (gateway, agent)
}

#[test]
fn an_unknown_schema_is_asked_for_and_its_batches_go_on_when_it_comes() {
    let (mut gateway, mut agent) = waiting();
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    let told: Vec<_> = (0..3).map(|ticket| Outcome { ticket, verdict: Verdict::Stored }).collect();
    assert_eq!(agent.outcomes(), told, "the description did not wait its turn, its answer did");
    assert_eq!(readings(&gateway), (0..10).collect::<Vec<_>>());
    assert_eq!(gateway.content().descriptions, 1);
}

#[test]
fn a_description_from_another_connection_helps_too() {
    let (mut gateway, mut agent) = waiting();
    let mut other = gateway.connect("other");
    gateway.describe(&mut other, description(device("probe")));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored, Verdict::Stored]);
}

#[test]
fn a_schema_that_nobody_describes_sends_its_readings_to_the_dead_letters_after_one_wait() {
    let (mut gateway, mut agent) = waiting();
    gateway.pass(WAIT - Duration::from_millis(1));
    gateway.settle();
    assert!(agent.verdicts().is_empty());
    gateway.pass(Duration::from_millis(1));
    gateway.settle();
    let buried = Verdict::DeadLettered(Reason::UnknownSchema);
    assert_eq!(agent.verdicts(), [buried, buried], "not one wait for each batch");
    gateway.send(&mut agent, batch(device("probe"), 1, 10..12));
    gateway.settle();
    assert_eq!(agent.verdicts(), [buried], "never stalls again");

    let content = gateway.content();
    assert_eq!(LogContent::sequences(&content.dead, device("probe"), 1), (0..12).collect::<Vec<_>>());
    assert!(content.readings.is_empty());
    content.assert_conserved();

    // What was kept is the section as it came: once the schema is known it can be sent again, and heals.
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    for (_, _, original) in content.letters {
        let section = weir_protocol::Items::new(&original).iter().next().unwrap().unwrap();
        gateway.send(&mut agent, batch_of(&[section]));
    }
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored; 4]);
    assert_eq!(readings(&gateway), (0..12).collect::<Vec<_>>());
    gateway.content().assert_conserved();
}

#[test]
fn one_connection_that_waits_does_not_hold_up_another() {
    let (mut gateway, mut agent) = waiting();
    let mut other = gateway.connect("other");
    gateway.describe(&mut other, description(device("gauge")));
    gateway.send(&mut other, batch(device("gauge"), 1, 0..5));
    gateway.settle();
    assert_eq!(other.verdicts(), [Verdict::Stored, Verdict::Stored]);
    assert!(agent.verdicts().is_empty());
}

#[test]
fn a_description_survives_a_restart_and_is_stored_once() {
    let mut gateway = Gateway::new();
    for _ in 0..2 {
        let mut agent = gateway.connect("agent");
        for _ in 0..2 {
            gateway.describe(&mut agent, description(device("probe")));
        }
        gateway.settle();
        assert_eq!(agent.verdicts(), [Verdict::Stored, Verdict::Stored]);
        gateway = gateway.power_cut(IngestOptions::default());
    }
    assert_eq!(gateway.content().descriptions, 1);
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, batch(device("probe"), 1, 0..5));
    gateway.settle();
    assert_eq!(agent.events(), [Event::Outcomes(vec![Outcome { ticket: 0, verdict: Verdict::Stored }])]);
}

#[test]
fn a_description_that_cannot_be_read_is_kept_and_does_not_block() {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    let mut damaged = description(device("probe"));
    damaged[9] ^= 1;
    gateway.describe(&mut agent, damaged.clone());
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnreadableDescription), Verdict::Stored]);
    assert_eq!(gateway.content().letters, [("unreadable-description".to_owned(), None, damaged)]);
}

/// An agent says all that it knows on every connection, so that each reconnection used to add a dead letter.
#[test]
fn a_description_that_cannot_be_read_is_one_dead_letter_however_often_it_comes() {
    let mut gateway = Gateway::new();
    let mut damaged = description(device("probe"));
    damaged[9] ^= 1;
    for _ in 0..2 {
        for _ in 0..2 {
            let mut agent = gateway.connect("agent");
            gateway.describe(&mut agent, damaged.clone());
            gateway.settle();
            assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnreadableDescription)]);
        }
        gateway = gateway.power_cut(IngestOptions::default());
    }
    assert_eq!(gateway.content().letters.len(), 1);
    let mut other = gateway.connect("other");
    gateway.describe(&mut other, damaged);
    gateway.settle();
    assert_eq!(gateway.content().letters.len(), 2, "another sender is another letter");
}

/// A refused description ended the connection, and the agent, which says it again on the next one, never got to its
/// readings: one device with too many schemas stopped all devices of its agent.
#[test]
fn one_schema_too_many_is_a_dead_letter_and_stops_nobody() {
    let options = || {
        let limits = Limits { schemas_per_device: 0, ..Limits::default() };
        IngestOptions { limits, ..IngestOptions::default() }
    };
    let mut gateway = Gateway::with(options());
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.send(&mut agent, batch(device("probe"), 1, 0..5));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::TooManySchemas)]);
    gateway.pass(WAIT);
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnknownSchema)]);
    gateway.content().assert_conserved();
}

/// A link that broke every few seconds made each connection wait from the beginning, so that nothing came through.
#[test]
fn the_wait_for_a_description_goes_on_over_a_broken_link() {
    let (mut gateway, agent) = waiting();
    gateway.pass(WAIT - Duration::from_secs(3));
    gateway.engine.disconnect(agent.id);
    let mut again = gateway.connect("agent");
    gateway.send(&mut again, batch(device("probe"), 1, 0..5));
    let ask = AgentCommand::Describe { device: device("probe"), schema: schema() };
    assert_eq!(again.events(), [Event::Ask(ask)], "asked again");
    gateway.pass(Duration::from_secs(3));
    gateway.settle();
    assert_eq!(again.verdicts(), [Verdict::DeadLettered(Reason::UnknownSchema)]);
    // Long after, it is asked again all the same, and waited for a moment.
    gateway.engine.disconnect(again.id);
    gateway.pass(10 * WAIT);
    let mut late = gateway.connect("agent");
    gateway.send(&mut late, batch(device("probe"), 1, 5..10));
    assert!(late.verdicts().is_empty());
    gateway.describe(&mut late, description(device("probe")));
    gateway.settle();
    assert_eq!(late.verdicts(), [Verdict::Stored; 2]);
}
