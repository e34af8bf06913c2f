//! Each thing that a log may do wrong to a driven device, done once: it is named, with exactly the sequences that show it.

use serde_json::{Value as Json, json};
use weir_protocol::Restart;

use super::values;
use super::verdict::{self, Told};
use super::{LoadPlan, Outcome, Seen};
use crate::census::{Census, Stored};
use crate::ledger::{Ledger, RestartKey};
use crate::reconcile::{Report, reconcile};
use crate::truth::Truths;

/// A ledger of two devices, each of which sent and was acknowledged 0..10; the second one sent 6..10 twice.
struct Fake {
    ledger: Ledger,
    truths: Truths,
    keys: [RestartKey; 2],
}

fn fake() -> Fake {
    let (ledger, mut truths) = (Ledger::new(), Truths::default());
    let plan = LoadPlan::new(1);
    let devices = [plan.device(0).unwrap(), plan.device(1).unwrap()];
    devices.iter().for_each(|device| truths.driven(*device));
    let restart = Restart::from_agent(42);
    let fleet = ledger.fleet(restart, devices.to_vec()).unwrap();
    fleet.sent([(0, 0..10), (1, 0..10)].into_iter());
    fleet.sent([(1, 6..10)].into_iter());
    fleet.acknowledged([(0, 0..10), (1, 0..10)].into_iter());
    Fake { ledger, truths, keys: devices.map(|device| (device, restart)) }
}

impl Fake {
    /// The record of a reading, as the log has it.
    fn record(&self, device: usize, sequence: u64) -> Json {
        let value = values::value(&self.keys[device], sequence);
        json!({"sequence": sequence, "heals": false, "channel": values::CHANNEL, "value": value})
    }

    /// A log with these readings of each device, in this order.
    fn log(&self, first: &[u64], second: &[u64]) -> Census {
        let mut census = Census::default();
        for (device, sequences) in [first, second].into_iter().enumerate() {
            let mut stored = Stored::default();
            for sequence in sequences {
                stored.reading(&self.keys[device], &self.record(device, *sequence), &self.truths).unwrap();
            }
            census.restarts.insert(self.keys[device], stored);
        }
        census
    }

    fn judge(&self, census: &Census) -> Report {
        reconcile(&self.ledger, census)
    }
}

/// What, of which device, which sequences.
type Found = (&'static str, String, Vec<(u64, u64)>);

fn found(report: &Report) -> Vec<Found> {
    let of = |finding: &crate::reconcile::Finding| {
        let device = finding.key.map_or_else(String::new, |(device, _)| device.to_string());
        (finding.what, device, finding.sequences.iter().map(|range| (range.start, range.end)).collect())
    };
    report.findings.iter().map(of).collect()
}

const ALL: [u64; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

#[test]
fn a_log_that_has_it_all_once_and_in_order_holds() {
    let fake = fake();
    let report = fake.judge(&fake.log(&ALL, &ALL));
    assert!(report.holds(), "{report}");
    assert_eq!(report.total(), (20, 20, 0, 0, 0));
}

#[test]
fn what_is_lost_is_named_with_its_ranges() {
    let fake = fake();
    let report = fake.judge(&fake.log(&[0, 1, 4, 5, 6, 8, 9], &ALL));
    let missing = vec![(2, 4), (7, 8)];
    let first = "load-00000".to_owned();
    assert_eq!(
        found(&report),
        [
            ("acknowledged and lost", first.clone(), missing.clone()),
            ("sampled but nowhere: not stored, dead-lettered or counted lost", first, missing),
        ]
    );
}

#[test]
fn what_is_doubled_is_named() {
    let fake = fake();
    // Also what was sent twice: it has an identity.
    let report = fake.judge(&fake.log(&ALL, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8]));
    assert!(found(&report).contains(&("in the log twice", "load-00001".to_owned(), vec![(8, 9)])), "{report}");
}

#[test]
fn what_is_out_of_order_is_named() {
    let fake = fake();
    let report = fake.judge(&fake.log(&[0, 1, 2, 5, 3, 4, 6, 7, 8, 9], &ALL));
    assert_eq!(found(&report), [("overtaken although it had not waited", "load-00000".to_owned(), vec![(3, 5)])]);
    let report = fake.judge(&fake.log(&[0, 1, 5, 3, 2, 4, 6, 7, 8, 9], &ALL));
    assert!(report.has("stored behind a later sequence of its lane"), "{report}");
}

#[test]
fn what_is_altered_is_named() {
    let fake = fake();
    let mut census = fake.log(&ALL, &ALL[..9]);
    let mut record = fake.record(1, 9);
    record["value"] = json!(values::value(&fake.keys[1], 8));
    let stored = census.restarts.get_mut(&fake.keys[1]).unwrap();
    stored.reading(&fake.keys[1], &record, &fake.truths).unwrap();
    let report = fake.judge(&census);
    assert_eq!(found(&report), [("not what the sensor handed out", "load-00001".to_owned(), vec![(9, 10)])]);
}

#[test]
fn what_was_valid_may_be_neither_dead_lettered_nor_counted_lost() {
    let fake = fake();
    let mut census = fake.log(&ALL[..8], &ALL[..8]);
    census.restarts.get_mut(&fake.keys[0]).unwrap().dead_letter(8..10, false);
    let loss = json!({"kind": "unaccounted", "ranges": [{"start": 8, "end": 10}]});
    census.restarts.get_mut(&fake.keys[1]).unwrap().loss(&loss).unwrap();
    let report = fake.judge(&census);
    let lost = "acknowledged and counted lost although the device had not evicted it";
    assert_eq!(
        found(&report),
        [
            ("dead-lettered although it is valid", "load-00000".to_owned(), vec![(8, 10)]),
            (lost, "load-00001".to_owned(), vec![(8, 10)]),
        ]
    );
}

#[test]
fn a_message_may_be_there_again_if_it_was_sent_again_and_not_otherwise() {
    let fake = fake();
    let message = |stored: &mut Stored, device: usize, sequence: u64| {
        let (key, said) = values::parse(&values::message(&fake.keys[device], sequence)).unwrap();
        stored.message(&key, &said, &fake.truths).unwrap();
    };
    let mut census = Census::default();
    for device in 0..2 {
        let mut stored = Stored::default();
        // The log as it is after a lost connection.
        ALL.into_iter().chain([7, 8, 9]).for_each(|sequence| message(&mut stored, device, sequence));
        census.restarts.insert(fake.keys[device], stored);
    }
    let report = fake.judge(&census);
    let again = "in the log again although it was sent once";
    assert_eq!(found(&report), [(again, "load-00000".to_owned(), vec![(7, 10)])], "the second device sent them again");
}

#[test]
fn json_lists_every_range_that_text_leaves_out() {
    let fake = fake();
    let report = fake.judge(&fake.log(&[1, 3, 5, 7, 9], &ALL));
    let plan = LoadPlan::new(1);
    let seen = Seen {
        elapsed: std::time::Duration::ZERO,
        due: 20,
        counts: super::Counts::default(),
        latency: hdrhistogram::Histogram::new(3).unwrap(),
    };
    let unacknowledged = vec![(fake.keys[1], 3..20)];
    let outcome = Outcome { seen, seconds: Vec::new(), late: Vec::new(), unacknowledged, consumed: None };
    let json = verdict::json(&Told { plan: &plan, outcome: &outcome, report: Some(&report) });
    let restart = fake.keys[1].1.0.to_string();
    let finding = &json["ledger"]["findings"][0];
    assert_eq!(finding["ranges"], json!([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]));
    assert_eq!((&finding["device"], &finding["ranges_in_all"]), (&json!("load-00000"), &json!(5)));
    assert_eq!(
        json["unacknowledged"]["ranges"],
        json!([{"device": "load-00001", "restart": restart, "start": 3, "end": 20}])
    );
    assert_eq!(json["ledger"]["holds"], false);
}
