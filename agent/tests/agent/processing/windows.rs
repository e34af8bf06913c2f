//! Windows: what is held, when it becomes a summary, and where that goes.

#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::time::Duration;

use weir_agent::counters::Event;
use weir_agent::intake::task::LinkHandle;
use weir_agent::queue::{ClassId, State};
use weir_agent::uplink::spool::Spool;
use weir_protocol::batch::{Envelope, describe};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::serial::{Down, Up};
use weir_protocol::{Restart, Sequence, Value, items};
use weir_storage::FaultyFs;

use super::{R, ruled, ruled_on, temperatures};
use crate::support::desk::Desk;
use crate::support::office::Office;
use crate::support::sensor::{COUNT, DOOR, Fates, PRESSURE, Sensor, TEMPERATURE, at, key};

const WINDOW: &str = r#"
    [[process]]
    channel = "temperature"
    window = "10s"
    take = ["min", "max", "mean", "last", "count"]
"#;

#[test]
fn a_window_becomes_one_summary_that_names_what_it_stands_for() {
    let (mut desk, mut sensor) = ruled(WINDOW);
    let mut readings = temperatures(&[20.0, 22.0, 18.0]);
    readings.push(at(3000, COUNT, Value::Integer(7)));
    readings.push(at(9999, TEMPERATURE, Value::Float(21.0)));
    readings.push(at(10_000, TEMPERATURE, Value::Float(30.0)));
    desk.hears(&sensor.says(R, (0, 6), 0, &readings));
    assert!(desk.commits());
    assert!(desk.answers().contains(&Down::Ack { restart: R, accepted: Sequence(6) }), "held is durable");
    let fates = Fates::of(&desk.queue);
    assert_eq!((fates.lines(R), fates.held), (vec!["3: count 1 7".to_owned()], 2), "two stretches are held");
    assert!(
        desk.queue.standings().iter().all(|stands| stands.held.contains_all(0..6)),
        "and the gateway hears of them"
    );

    // The reading at ten seconds closed the first window; its own closes when ten seconds have gone by.
    assert_eq!(desk.intake.tick(Duration::from_secs(1)), Some(Duration::from_secs(10)));
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    let [summary] = &fates.summaries[..] else { panic!("{:?}", fates.summaries) };
    assert_eq!(summary.ranges.iter().collect::<Vec<_>>(), [0..3, 4..5]);
    assert!(summary.under.is_from_agent() && summary.of == R);
    let expected = [
        "temperature.min Cel 18",
        "temperature.max Cel 22",
        "temperature.mean Cel 20.25",
        "temperature.last Cel 21",
        "temperature.count 1 4",
    ];
    assert_eq!((summary.first, &summary.readings[..]), (0, &expected.map(str::to_owned)[..]));

    assert_eq!(desk.intake.tick(Duration::from_secs(10)), None);
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    let [_, second] = &fates.summaries[..] else { panic!("{:?}", fates.summaries) };
    assert_eq!((second.under, second.first, second.ranges.len()), (summary.under, 5, 1), "its restart goes on");
    assert!(desk.queue.state().lock().held.windows().next().is_none());
}

#[test]
fn channels_with_windows_of_one_length_are_summarised_together() {
    let rules = r#"
        [[process]]
        channel = "door"
        window = "10s"
        take = ["min", "last"]
        [[process]]
        channel = "count"
        window = "20s"
        take = ["count"]
        [[process]]
        channel = "*"
        window = "10s"
        take = ["mean"]
        rename_is_not_here = 1
    "#
    .replace("        rename_is_not_here = 1\n", "");
    let readings = [
        at(0, TEMPERATURE, Value::Float(20.0)),
        at(0, PRESSURE, Value::Double(1000.0)),
        at(0, DOOR, Value::Text("open")),
        at(0, COUNT, Value::Integer(1)),
    ];
    let (mut desk, mut sensor) = ruled(&rules);
    desk.hears(&sensor.says(R, (0, 4), 0, &readings));
    assert!(desk.commits());
    desk.intake.close_windows();
    assert!(desk.commits());
    let mut summaries = Fates::of(&desk.queue).summaries;
    summaries.sort_by_key(|summary| summary.ranges.len());
    let [twenty, ten] = &summaries[..] else { panic!("{summaries:?}") };
    assert_eq!(ten.readings, ["temperature.mean Cel 20", "door.last 1 open", "pressure.mean hPa 1000"]);
    assert_eq!(ten.ranges.iter().collect::<Vec<_>>(), [0..3], "what they stand for is one stretch");
    assert_eq!((&twenty.readings[..], twenty.ranges.len()), (&["count.count 1 1".to_owned()][..], 1));
}

/// A summary names at most 256 stretches, so one channel of many has shorter windows; that it names all of them exactly
/// counts more.
#[test]
fn a_window_closes_before_it_is_in_more_stretches_than_a_summary_can_name() {
    let (mut desk, mut sensor) = ruled(WINDOW);
    for first in (0..600).step_by(100) {
        let readings: Vec<_> = (first..first + 100)
            .map(|sequence| match sequence % 2 {
                0 => at(sequence, TEMPERATURE, Value::Float(1.0)),
                _ => at(sequence, COUNT, Value::Integer(1)),
            })
            .collect();
        desk.hears(&sensor.says(R, (0, 600), first as u64, &readings));
        assert!(desk.commits());
    }
    desk.intake.close_windows();
    assert!(desk.commits());
    let counts: Vec<_> = Fates::of(&desk.queue).summaries.iter().map(|summary| summary.ranges.range_count()).collect();
    assert_eq!(counts, [256, 44]);
}

#[test]
fn a_summary_goes_into_the_class_of_its_rule_and_so_does_what_passes() {
    let rules = r#"
        [[queue.class]]
        name = "alarm"
        [[process]]
        channel = "temperature"
        window = "1s"
        take = ["max"]
        class = "alarm"
        [[process]]
        channel = "door"
        class = "alarm"
    "#;
    let (mut desk, mut sensor) = ruled(rules);
    let readings =
        [at(0, TEMPERATURE, Value::Float(1.0)), at(10, DOOR, Value::Text("open")), at(20, COUNT, Value::Integer(1))];
    desk.hears(&sensor.says(R, (0, 3), 0, &readings));
    assert!(desk.commits());
    desk.intake.tick(Duration::from_secs(1));
    assert!(desk.commits());
    let alarm = ClassId(1);
    assert_eq!(desk.queue.reader(alarm).end_offset(), 2, "the door and the summary");
    assert_eq!(desk.queue.reader(ClassId::DEFAULT).end_offset(), 2, "the count, and what is held");
}

/// What the next batch names, if there is one; the gateway takes it.
fn shipped(desk: &Desk) -> Option<Vec<(Restart, std::ops::Range<u64>)>> {
    let mut spool = Spool::new(&desk.queue, 1 << 16, false);
    let batch = spool.lanes().find_map(|lane| {
        spool.fill(lane, usize::MAX).expect("a good disk");
        spool.take(lane)
    })?;
    spool.shipped(&batch);
    let envelope = Envelope::open(&batch.payload).expect("readable");
    Some(envelope.manifest().map(|span| (span.restart, span.start.0..span.end.0)).collect())
}

#[test]
fn what_is_held_never_leaves_and_its_summary_goes_with_what_it_stands_for() {
    let (mut desk, mut sensor) = ruled(WINDOW);
    let mut readings = temperatures(&[1.0, 2.0, 3.0]);
    readings.insert(1, at(500, COUNT, Value::Integer(1)));
    desk.hears(&sensor.says(R, (0, 4), 0, &readings));
    assert!(desk.commits());
    assert_eq!(shipped(&desk), Some(vec![(R, 1..2)]));
    assert_eq!(shipped(&desk), None);
    desk.intake.close_windows();
    assert!(desk.commits());
    let own = Fates::of(&desk.queue).summaries[0].under;
    assert_eq!(shipped(&desk), Some(vec![(own, 0..5), (R, 0..1), (R, 2..4)]));
    assert!(desk.queue.is_empty());
}

#[test]
fn what_is_held_counts_as_shipped() {
    let (mut desk, mut sensor) = ruled(WINDOW);
    desk.hears(&sensor.says(R, (0, 3), 0, &temperatures(&[1.0, 2.0, 3.0])));
    assert!(desk.commits());
    assert!(desk.queue.is_empty(), "there is nothing to ship yet");
    desk.intake.close_windows();
    assert!(desk.commits());
    assert!(!desk.queue.is_empty());
}

#[test]
fn an_open_window_goes_on_after_a_kill_and_nothing_is_lost_or_counted_twice() {
    let disk = FaultyFs::new(1);
    let (mut desk, mut sensor) = ruled_on(&disk, WINDOW);
    desk.hears(&sensor.says(R, (0, 3), 0, &temperatures(&[1.0, 2.0, 3.0])));
    assert!(desk.commits());
    // The state knows the first three, the log five.
    desk.queue.save().expect("a good disk");
    desk.hears(&sensor.says(R, (3, 5), 3, &temperatures(&[4.0, 5.0])));
    assert!(desk.commits());
    desk.hears(&sensor.says(R, (5, 6), 5, &temperatures(&[6.0])));

    let disk = disk.power_cut();
    let (mut desk, mut sensor) = ruled_on(&disk, WINDOW);
    assert_eq!(desk.queue.state().lock().held.ranges().collect::<Vec<_>>(), [(key(&sensor, R), 0..5)]);
    desk.answers();
    desk.hears(&sensor.says(R, (0, 6), 0, &temperatures(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
    assert!(desk.commits());
    desk.intake.close_windows();
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    let [summary] = &fates.summaries[..] else { panic!("{:?}", fates.summaries) };
    assert_eq!(summary.ranges.iter().collect::<Vec<_>>(), [0..6]);
    assert_eq!(summary.readings[2..], ["temperature.mean Cel 3.5", "temperature.last Cel 6", "temperature.count 1 6"]);

    // Killed once more: the summary stands, and its restart goes on.
    let (mut desk, mut sensor) = ruled_on(&disk.power_cut(), WINDOW);
    assert!(desk.queue.state().lock().held.windows().next().is_none());
    desk.hears(&sensor.says(R, (6, 7), 6, &temperatures(&[7.0])));
    assert!(desk.commits());
    desk.intake.close_windows();
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    assert_eq!((fates.summaries[1].under, fates.summaries[1].first), (summary.under, 5));
}

#[test]
fn the_hello_of_a_device_that_forgets_does_not_end_the_restart_of_its_summaries() {
    let (mut desk, mut sensor) = ruled(WINDOW);
    desk.hears(&sensor.says(R, (0, 1), 0, &temperatures(&[1.0])));
    assert!(desk.commits());
    desk.intake.close_windows();
    assert!(desk.commits());
    let own = Fates::of(&desk.queue).summaries[0].under;
    let after = Restart::from_boot(2, 1);
    desk.hears(&sensor.hello(Ring::Volatile, &[(after, 0, 0)]));
    assert!(desk.commits());
    let state = desk.queue.state();
    let state = state.lock();
    let ended = |restart| state.restarts.get(&key(&sensor, restart)).is_some_and(|progress| progress.ended);
    assert!(ended(R) && !ended(own));
}

async fn says(link: &LinkHandle, up: &Up<'_>) {
    let mut message = Vec::new();
    items::push(&mut message, up);
    link.send(message).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_closes_by_itself_after_its_length_and_the_last_one_when_the_agent_stops() {
    let (office, handle) = Office::with_rules(&FaultyFs::new(1), WINDOW);
    let (link, _answers) = handle.attach().await;
    let mut sensor = Sensor::new("board-1");
    says(&link, &sensor.hello(Ring::Durable, &[(R, 0, 2)])).await;
    says(&link, &sensor.describe()).await;
    says(&link, &sensor.says(R, (0, 2), 0, &temperatures(&[1.0, 2.0]))).await;
    office.sees(Event::WindowsSummarised).await;
    says(&link, &sensor.says(R, (2, 3), 2, &temperatures(&[3.0]))).await;
    drop((link, handle));
    let queue = office.ends().await;
    let fates = Fates::of(&queue);
    let ranges: Vec<_> = fates.summaries.iter().map(|summary| summary.ranges.iter().collect::<Vec<_>>()).collect();
    assert_eq!(ranges, [[0..2], [2..3]]);
    assert!(queue.state().lock().held.windows().next().is_none());
}

/// A queue of which rules made summaries is version 3; the same bytes for ever.
#[test]
fn the_state_with_a_window_is_written_as_ever_and_without_one_as_before() {
    let (mut desk, mut sensor) = ruled(WINDOW);
    assert_eq!(desk.queue.state().lock().encode()[0], 1, "rules alone change nothing");
    desk.hears(&sensor.says(R, (0, 2), 0, &temperatures(&[1.0, 2.0])));
    assert!(desk.commits());
    let state = desk.queue.state().lock().clone();
    let bytes = state.encode();
    assert_eq!(bytes[0], 3);
    let back = State::decode(&bytes).expect("readable");
    assert_eq!(back.encode(), bytes);
    assert_eq!(back.held.ranges().collect::<Vec<_>>(), [(key(&sensor, R), 0..2)]);
    let schemas = state.descriptions.payloads().map(|payload| describe::decode(payload).expect("good").schema);
    assert_eq!(schemas.count(), 2, "as it comes in, and its summaries");
}
