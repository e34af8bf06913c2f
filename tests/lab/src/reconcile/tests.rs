//! Each rule of the reconciliation, broken once: the report must name it, and nothing else.

use serde_json::json;
use weir_protocol::batch::{LossKind, Span};
use weir_protocol::items::{self, Items};
use weir_protocol::serial::device_to_agent::{Hello, Readings, Ring};
use weir_protocol::serial::{Down, Held, Up};
use weir_protocol::{ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value};

use super::reconcile;
use crate::census::{Census, Stored};
use crate::ledger::{Cable, Facts, Ledger, RestartKey};
use crate::truth::Truths;

const DEVICE: DeviceId = match DeviceId::new("board-1") {
    Ok(device) => device,
    Err(_) => unreachable!(),
};
const KEY: RestartKey = (DEVICE, Restart(1 << 32 | 7));

/// A device that sampled ten readings, all of them acknowledged by the gateway.
fn ten_acknowledged() -> Ledger {
    let ledger = Ledger::new();
    ledger.sampled(KEY.0, KEY.1, 10);
    let span = Span { device: KEY.0, restart: KEY.1, start: Sequence(0), end: Sequence(10) };
    ledger.published(&[span]);
    ledger.acknowledged(&[span]);
    ledger
}

/// The device says that its ring begins at 5, and nobody acknowledged anything to it.
fn evict_below_5(ledger: &Ledger) {
    let held = Held { restart: KEY.1, schema: SchemaHash(1), base: Sequence(5), next: Sequence(10) };
    let mut bytes = Vec::new();
    items::push(&mut bytes, &held);
    let (device, schema, ring) = (KEY.0, SchemaHash(1), Ring::Durable);
    ledger.cable().up(&Up::Hello(Hello { device, schema, ring, held: Items::new(&bytes) }));
}

fn reading(stored: &mut Stored, sequence: u64, heals: bool) {
    let value = json!({"sequence": sequence, "heals": heals, "channel": "temperature", "value": 20.0});
    stored.reading(&KEY, &value, &Truths::default()).unwrap();
}

fn readings(sequences: impl IntoIterator<Item = u64>) -> Stored {
    let mut stored = Stored::default();
    for sequence in sequences {
        reading(&mut stored, sequence, false);
    }
    stored
}

fn census(stored: Stored) -> Census {
    let mut census = Census::default();
    census.restarts.insert(KEY, stored);
    census
}

fn findings(ledger: &Ledger, stored: Stored) -> Vec<String> {
    let report = reconcile(ledger, &census(stored));
    report.findings.iter().map(|f| format!("{}: {}", f.what, f.evidence)).collect()
}

#[test]
fn a_log_that_holds_every_reading_once_reconciles() {
    let report = reconcile(&ten_acknowledged(), &census(readings(0..10)));
    assert!(report.holds(), "{report}");
    assert_eq!(report.total(), (10, 10, 0, 0, 0));
}

#[test]
fn a_reading_that_was_acknowledged_and_is_missing_is_named() {
    let findings = findings(&ten_acknowledged(), readings([0, 1, 2, 4, 5, 6, 7, 8, 9]));
    assert_eq!(findings[0], "acknowledged and lost: 3 (1 in all)");
}

#[test]
fn a_claim_is_no_way_out_of_a_promise() {
    let claimed = || {
        let mut stored = readings([0, 1, 2, 5, 6, 7, 8, 9]);
        stored.loss(&json!({"kind": "ring", "ranges": [{"start": 3, "end": 5}]})).unwrap();
        stored
    };
    let ledger = ten_acknowledged();
    let broken = "acknowledged and counted lost although the device had not evicted it: 3..5 (2 in all)";
    assert_eq!(findings(&ledger, claimed()), [broken]);

    // The same claim is right if the ring had to let go of them.
    evict_below_5(&ledger);
    assert_eq!(findings(&ledger, claimed()), [""; 0]);
}

#[test]
fn loss_of_a_kind_that_the_run_allows_breaks_no_promise_and_any_other_does() {
    let lost_as = |kind: &str| {
        let mut stored = readings([0, 1, 2, 5, 6, 7, 8, 9]);
        stored.loss(&json!({"kind": kind, "ranges": [{"start": 3, "end": 5}]})).unwrap();
        stored
    };
    let ledger = ten_acknowledged();
    ledger.allow(LossKind::Queue);
    assert_eq!(findings(&ledger, lost_as("queue")), [""; 0]);
    assert_eq!(findings(&ledger, lost_as("unaccounted")).len(), 1);
}

#[test]
fn what_rules_left_out_is_no_loss_and_no_reading_stands_beside_it() {
    let left_out = || {
        let mut stored = readings([0, 1, 2, 5, 6, 7, 8, 9]);
        stored.loss(&json!({"kind": "reduced", "ranges": [{"start": 3, "end": 5}]})).unwrap();
        stored
    };
    let report = reconcile(&ten_acknowledged(), &census(left_out()));
    assert!(report.holds(), "{report}");
    assert_eq!((report.total(), report.reduced()), ((10, 8, 0, 0, 0), 2));
    assert!(report.to_string().contains("10 sampled = 8 stored + 2 left out by rules + 0 dead-lettered"), "{report}");

    let mut beside = left_out();
    reading(&mut beside, 4, true);
    let findings = findings(&ten_acknowledged(), beside);
    assert!(
        findings.contains(&"a reading beside the decision that left it out: 4 (1 in all)".to_owned()),
        "{findings:?}"
    );
}

#[test]
fn what_the_agent_took_and_neither_sent_nor_the_ring_evicted_is_withheld() {
    let mut facts = Facts::default();
    facts.held(0, 10);
    facts.held(2, 10);
    facts.agent_acked(10);
    facts.sent.insert(4..6);
    assert!(facts.withheld().iter().eq([2..4, 6..10]), "{:?}", facts.withheld());
}

#[test]
fn a_reading_that_is_there_twice_is_named() {
    let mut stored = readings(0..10);
    reading(&mut stored, 5, true);
    stored.loss(&json!({"kind": "ring", "ranges": [{"start": 5, "end": 6}]})).unwrap();
    assert!(findings(&ten_acknowledged(), stored).contains(&"in the log twice: 5 (1 in all)".to_owned()));
}

#[test]
fn a_reading_out_of_order_is_named() {
    // Nothing of it had waited.
    assert_eq!(
        findings(&ten_acknowledged(), readings([0, 1, 4, 3, 2, 5, 6, 7, 8, 9])),
        [
            "stored behind a later sequence of its lane: 2 (1 in all)",
            "overtaken although it had not waited: 3 (1 in all)"
        ]
    );
}

#[test]
fn what_is_fresh_may_overtake_what_waited_when_a_connection_began_and_nothing_else_may() {
    let ledger = ten_acknowledged();
    let mut cable = ledger.cable();
    let sends = |cable: &mut Cable, first: u64| {
        let reading = Reading {
            channel: ChannelId(0),
            time: Timestamp::from_millis(0),
            clock: Clock::Synchronised,
            value: Value::Integer(1),
        };
        let mut readings = Vec::new();
        (0..5).for_each(|_| items::push(&mut readings, &reading));
        let (base, next, first) = (Sequence(0), Sequence(10), Sequence(first));
        let (restart, schema, readings) = (KEY.1, SchemaHash(1), Items::new(&readings));
        cable.up(&Up::Readings(Readings { restart, schema, base, next, first, readings }));
    };
    cable.up(&Up::Hello(Hello { device: KEY.0, schema: SchemaHash(1), ring: Ring::Durable, held: Items::new(&[]) }));
    sends(&mut cable, 0);
    ledger.begins();
    sends(&mut cable, 5);
    // Five waited when the connection began.
    assert_eq!(findings(&ledger, readings([5, 0, 6, 1, 7, 2, 3, 4, 8, 9])), [""; 0]);
    let overtaken = "overtaken although it had not waited: 5 (1 in all)";
    assert_eq!(findings(&ledger, readings([6, 0, 1, 2, 3, 4, 5, 7, 8, 9])), [overtaken]);
}

#[test]
fn a_reading_that_heals_is_right_exactly_over_an_earlier_loss() {
    let loss = json!({"kind": "ring", "ranges": [{"start": 3, "end": 5}]});
    let mut healed = readings([0, 1, 2, 5, 6, 7, 8, 9]);
    healed.loss(&loss).unwrap();
    reading(&mut healed, 3, true);
    let ledger = ten_acknowledged();
    evict_below_5(&ledger);
    assert_eq!(findings(&ledger, healed.clone()), [""; 0]);

    let mut silent = healed.clone();
    reading(&mut silent, 4, false);
    // It comes behind 9 too, as if it had been overtaken.
    let of_silence = findings(&ledger, silent);
    assert!(of_silence.iter().any(|fault| fault.starts_with("a reading over an earlier verdict")), "{of_silence:?}");

    let mut for_nothing = readings(0..9);
    reading(&mut for_nothing, 9, true);
    assert!(findings(&ten_acknowledged(), for_nothing)[0].starts_with("a reading that heals nothing: 9"));
}

#[test]
fn a_sample_that_is_nowhere_is_named_although_nobody_acknowledged_it() {
    let ledger = Ledger::new();
    ledger.sampled(KEY.0, KEY.1, 10);
    assert!(findings(&ledger, readings(0..8))[0].starts_with("sampled but nowhere"));
}

#[test]
fn a_reading_that_nobody_sampled_is_named() {
    assert_eq!(findings(&ten_acknowledged(), readings(0..12)), ["in the log but never sampled: 10..12 (2 in all)"]);
}

#[test]
fn a_dead_letter_accounts_for_its_sequences() {
    let mut stored = readings(0..9);
    stored.dead_letter(9..10, false);
    let report = reconcile(&ten_acknowledged(), &census(stored));
    assert!(report.holds(), "{report}");
    assert_eq!(report.total(), (10, 9, 1, 0, 0));
}

/// A device with a volatile ring says that it holds these of one restart.
fn says_hello(cable: &mut Cable, restart: Restart, next: u64) {
    let held = Held { restart, schema: SchemaHash(1), base: Sequence(0), next: Sequence(next) };
    let mut bytes = Vec::new();
    items::push(&mut bytes, &held);
    let (device, schema, ring) = (KEY.0, SchemaHash(1), Ring::Volatile);
    cable.up(&Up::Hello(Hello { device, schema, ring, held: Items::new(&bytes) }));
}

#[test]
fn of_a_volatile_restart_that_went_before_anything_was_accepted_nobody_knows() {
    let ledger = Ledger::new();
    let mut cable = ledger.cable();
    says_hello(&mut cable, KEY.1, 10);
    assert_eq!(
        findings(&ledger, Stored::default()),
        ["sampled but nowhere: not stored, dead-lettered or counted lost: 0..10 (10 in all)"],
        "it still holds them"
    );
    says_hello(&mut cable, Restart(KEY.1.0 + 1), 0);
    assert_eq!(findings(&ledger, Stored::default()), Vec::<String>::new());
    cable.down(&Down::Ack { restart: KEY.1, accepted: Sequence(4) });
    assert!(!findings(&ledger, Stored::default()).is_empty(), "what was accepted counts");
}
