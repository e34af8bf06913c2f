//! Stories of a state topic: its records go when newer ones replace them, and what was stored stays stored.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use weir_storage::{LogOptions, RemoveError};

use super::super::checkpoint;
use super::super::keeper::{Compacted, Removal};
use super::super::stepwise::Writer;
use super::super::{IngestOptions, Verdict};
use super::payloads::*;
use super::{ARRIVAL, Gateway};
use crate::record::Value;
use crate::topics::layout::{Defined, Routing, partition_dir};
use crate::topics::rules::{Pattern, Route};

/// Everything goes to one state topic of small segments.
fn options() -> IngestOptions {
    keeping(Defined::default())
}

/// The same, with a retention of its own.
fn keeping(defined: Defined) -> IngestOptions {
    let all = Route { topic: "state".into(), device: Some(Pattern::new("*").unwrap()), ..Route::default() };
    let defined = Defined { compact: Some(true), ..defined };
    IngestOptions {
        partitions: 1,
        routing: Routing { routes: vec![all], stores: Vec::new(), defined: [("state".to_owned(), defined)].into() },
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        ..IngestOptions::default()
    }
}

fn store(gateway: &mut Gateway, sequences: std::ops::Range<u64>) -> u64 {
    let before = gateway.counters.snapshot().readings;
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    for first in sequences.clone().step_by(10) {
        gateway.send(&mut agent, batch(device("probe"), 1, first..(first + 10).min(sequences.end)));
        gateway.settle();
        gateway.keep().expect("writes");
    }
    assert!(agent.verdicts().iter().all(|verdict| *verdict == Verdict::Stored));
    gateway.counters.snapshot().readings - before
}

fn log_of(gateway: &Gateway) -> usize {
    gateway.keeper.logs.iter().position(|kept| &*kept.topic == "state").expect("is there")
}

fn compact(gateway: &mut Gateway) -> Compacted {
    let (log, now) = (log_of(gateway), gateway.time());
    let stop = AtomicBool::new(false);
    let writer = &gateway.writer;
    let compacted = gateway.keeper.compact(log, now, |options| match writer {
        Writer::Logs(logs) => logs[log].compact(options, &stop).map_err(RemoveError::Io),
        Writer::Committer(committer) => committer.compact(log, options, &stop),
    });
    compacted.expect("compacts")
}

/// Key and sequence of every record.
fn found(gateway: &Gateway) -> Vec<(String, u64)> {
    let reader = gateway.topics.named("state").expect("is there").partitions()[0].reader().clone();
    let (mut at, mut found) = (reader.start_offset(), Vec::new());
    while at < reader.end_offset() {
        let chunk = reader.read(at, 1 << 20).unwrap();
        for record in chunk.records().map(Result::unwrap) {
            let Ok(Value::Reading(reading)) = Value::decode(record.value.unwrap()) else { panic!("a reading") };
            found.push((String::from_utf8(record.key.unwrap().to_vec()).unwrap(), reading.sequence.0));
        }
        at = chunk.next_offset;
    }
    found
}

/// Flips a bit in the newest checkpoints of the log.
fn spoil_the_last_two(gateway: &Gateway) {
    let dir: PathBuf = partition_dir(Path::new("/data"), "state", 0);
    let offsets = checkpoint::list(&gateway.fs, &dir).expect("lists");
    for offset in &offsets[offsets.len() - 2..] {
        assert!(gateway.fs.flip_bit(&dir.join(format!("ranges-{offset:020}")), 60, 1));
    }
}

/// 400 readings of five channels, and two checkpoints behind them.
fn filled() -> Gateway {
    let mut gateway = Gateway::with(options());
    assert_eq!(store(&mut gateway, 0..400), 400);
    gateway.checkpoint();
    store(&mut gateway, 400..410);
    gateway.checkpoint();
    gateway
}

#[test]
fn the_last_reading_of_each_channel_stays_and_the_others_are_still_repeats() {
    let mut gateway = filled();
    let Compacted::Done(done) = compact(&mut gateway) else { panic!("it has grown") };
    assert!(done.removed_records > 300, "{done:?}");
    let left = found(&gateway);
    for channel in ["temperature", "pressure", "count", "door", "state"] {
        let last = left.iter().rfind(|(key, _)| *key == format!("probe/{channel}"));
        assert!(last.is_some_and(|(_, sequence)| *sequence >= 405), "{channel}: {last:?}");
    }
    assert_eq!(compact(&mut gateway), Compacted::Nothing);
    assert_eq!(store(&mut gateway, 0..410), 0, "what was removed was stored once");

    let mut gateway = gateway.power_cut(options());
    assert_eq!(found(&gateway), left);
    assert_eq!(store(&mut gateway, 0..420), 10);
}

#[test]
fn nothing_is_compacted_before_the_older_checkpoint_says_it() {
    let mut gateway = Gateway::with(options());
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    for first in (0..400).step_by(10) {
        gateway.send(&mut agent, batch(device("probe"), 1, first..first + 10));
        gateway.settle();
    }
    assert_eq!(compact(&mut gateway), Compacted::Waiting);
    assert_eq!(found(&gateway).len(), 400);
}

/// Two bad checkpoints, and what they knew cannot be read from the log any more: the file at its first offset says it.
#[test]
fn with_both_checkpoints_bad_nothing_that_was_compacted_away_is_stored_again() {
    let mut gateway = filled();
    let Compacted::Done(done) = compact(&mut gateway) else { panic!("it has grown") };
    assert!(done.removed_records > 300);
    spoil_the_last_two(&gateway);
    let mut gateway = gateway.power_cut(options());
    assert_eq!(store(&mut gateway, 0..420), 10);
}

#[test]
fn the_same_holds_after_retention_removed_the_front_of_it() {
    let mut gateway = filled();
    assert!(matches!(compact(&mut gateway), Compacted::Done(_)));
    store(&mut gateway, 410..800);
    gateway.checkpoint();
    store(&mut gateway, 800..810);
    gateway.checkpoint();
    let retained = keeping(Defined { retention_bytes: Some(8192), ..Defined::default() });
    let mut gateway = gateway.power_cut(retained.clone());
    let log = log_of(&gateway);
    assert!(matches!(gateway.retain()[log], Ok(Removal::Upto(start)) if start > 0));
    spoil_the_last_two(&gateway);
    let mut gateway = gateway.power_cut(retained);
    assert_eq!(store(&mut gateway, 0..820), 10);
}

/// The segments that became one are as young as the youngest of them: retention by age must not take it for old.
#[test]
fn a_merged_segment_is_as_young_as_the_youngest_in_it() {
    let aged = Defined { retention_age: Some(Duration::from_secs(3600)), ..Defined::default() };
    let mut gateway = Gateway::with(keeping(aged));
    store(&mut gateway, 0..200);
    let log = log_of(&gateway);
    assert_eq!(gateway.retain()[log], Ok(Removal::Nothing));
    gateway.now += Duration::from_secs(3000);
    store(&mut gateway, 200..400);
    gateway.checkpoint();
    store(&mut gateway, 400..410);
    gateway.checkpoint();
    let Compacted::Done(done) = compact(&mut gateway) else { panic!("it has grown") };
    assert!(done.rewritten.1 < done.rewritten.0, "{done:?}");
    gateway.now += Duration::from_secs(1000);
    assert_eq!(gateway.retain()[log], Ok(Removal::Nothing), "its youngest member is 1000 s old");
    gateway.now += Duration::from_secs(3000);
    assert!(matches!(gateway.retain()[log], Ok(Removal::Upto(_))));
    assert_eq!(gateway.wall_ms, ARRIVAL.as_millis());
}
