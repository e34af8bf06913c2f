//! What rules make of readings, one story each.

#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::time::Duration;

use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::intake::task::LinkHandle;
use weir_agent::processing::{Then, settings};
use weir_agent::queue::{ClassId, State};
use weir_agent::uplink::spool::Spool;
use weir_protocol::batch::{Envelope, describe};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::serial::{Down, Up};
use weir_protocol::settings::Source;
use weir_protocol::{Reading, Restart, Sequence, Value, items};
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use crate::support::desk::Desk;
use crate::support::office::Office;
use crate::support::sensor::{COUNT, DOOR, Fates, PRESSURE, Sensor, TEMPERATURE, at, key};

const R: Restart = Restart::from_boot(1, 0xabcd);

/// A desk with rules, and a sensor on the line that described itself.
fn ruled(settings: &str) -> (Desk, Sensor) {
    ruled_on(&FaultyFs::new(1), settings)
}

fn ruled_on(disk: &FaultyFs, settings: &str) -> (Desk, Sensor) {
    let mut desk = Desk::with_rules(disk, settings, 1);
    let mut sensor = Sensor::new("board-1");
    desk.hears(&sensor.hello(Ring::Durable, &[(R, 0, 0)]));
    desk.hears(&sensor.describe());
    desk.answers();
    (desk, sensor)
}

/// The sensor says these from sequence 0 on, and all is committed.
fn told(settings: &str, readings: &[Reading<'_>]) -> (Desk, Fates) {
    let (mut desk, mut sensor) = ruled(settings);
    desk.hears(&sensor.says(R, (0, readings.len() as u64), 0, readings));
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    (desk, fates)
}

fn temperatures(values: &[f32]) -> Vec<Reading<'static>> {
    (0..).zip(values).map(|(second, value)| at(second * 1000, TEMPERATURE, Value::Float(*value))).collect()
}

#[test]
fn what_a_rule_makes_of_values_names_and_units() {
    let temperature = at(0, TEMPERATURE, Value::Float(20.0));
    let count = at(0, COUNT, Value::Integer(-3));
    let pressure = at(0, PRESSURE, Value::Double(1013.25));
    let cases = [
        ("scale = 2", temperature, "temperature Cel 40"),
        ("scale = 2\noffset = -1.5", temperature, "temperature Cel 38.5"),
        ("unit = \"[degF]\"", temperature, "temperature [degF] 68"),
        ("offset = 1\nunit = \"K\"", temperature, "temperature K 294.15"),
        ("unit = \"kPa\"", pressure, "pressure kPa 101.325"),
        // What the device says is wrong, or nothing.
        ("source_unit = \"mbar\"\nunit = \"bar\"", pressure, "pressure bar 1.01325"),
        ("scale = 2\nsource_unit = \"{turns}\"", count, "count {turns} -6"),
        ("scale = 0.1\nsource_unit = \"V\"", count, "count V -0.30000000000000004"),
        // A whole number that nothing is done to stays one.
        ("deadband = 0", count, "count 1 -3"),
        ("range = [-3, 3]", count, "count 1 -3"),
        ("channel = \"temperature\"\nrename = \"t.in\"", temperature, "t.in Cel 20"),
        // Only what makes sense is done to text.
        ("scale = 2\nrange = [0, 1]", at(0, DOOR, Value::Text("open")), "door 1 open"),
    ];
    for (rule, reading, expected) in cases {
        let (_, fates) = told(&format!("[[process]]\n{rule}"), &[reading]);
        assert_eq!(fates.lines(R), [format!("0: {expected}")], "{rule}");
    }
}

#[test]
fn the_first_rule_that_names_a_channel_counts_and_others_pass_under_the_same_description() {
    let rules = r#"
        [[process]]
        device = "board-?"
        channel = "temp*"
        rename = "inside"
        [[process]]
        device = "board-*"
        channel = "count"
        drop = true
    "#
    .replace("channel = \"temp*\"\n        rename", "channel = \"temperature\"\n        rename");
    let readings = [
        at(0, TEMPERATURE, Value::Float(1.0)),
        at(0, COUNT, Value::Integer(1)),
        at(0, DOOR, Value::Text("ajar")),
        at(0, COUNT, Value::Integer(2)),
    ];
    let (desk, fates) = told(&rules, &readings);
    assert_eq!(fates.lines(R), ["0: inside Cel 1", "2: door 1 ajar"]);
    assert_eq!(fates.reduced(R), [1..2, 3..4], "a decision for each that was dropped");
    assert_eq!(desk.count(Event::ReadingsReduced), 2);
    // Both descriptions are kept, so that the gateway knows what passes.
    assert_eq!(desk.queue.state().lock().descriptions.payloads().count(), 2);
}

#[test]
fn what_lies_outside_of_its_range_is_set_aside_with_what_was_expected() {
    let rules = "[[process]]\nchannel = \"temperature\"\nunit = \"K\"\nrange = [233.15, 358.15]";
    let (desk, fates) = told(rules, &temperatures(&[20.0, 85.5, f32::NAN, -40.0]));
    assert_eq!(fates.lines(R), ["0: temperature K 293.15", "3: temperature K 233.15"]);
    let refused: Vec<_> = fates.refused.iter().map(|((_, at), (seen, why))| (*at, &**seen, &**why)).collect();
    let expected = "233.15 to 358.15 K";
    assert_eq!(refused, [(1, "temperature K 358.65", expected), (2, "temperature K NaN", expected)]);
    assert_eq!(desk.count(Event::ReadingsRefused), 2);
}

#[test]
fn what_differs_too_little_from_what_was_sent_is_left_out_until_the_heartbeat() {
    let rules = "[[process]]\nchannel = \"temperature\"\ndeadband = 0.5\nheartbeat = \"4s\"";
    // Compared with what was sent last, not with what came last: a slow drift gets through.
    let (_, fates) = told(rules, &temperatures(&[20.0, 20.4, 20.5, 20.6, 20.7, 20.7, 20.7, 20.7]));
    assert_eq!(fates.lines(R), ["0: temperature Cel 20", "3: temperature Cel 20.6", "7: temperature Cel 20.7"]);
    assert_eq!(fates.reduced(R), [1..3, 4..7]);

    let rules = "[[process]]\ndeadband_percent = 10";
    let (_, fates) = told(rules, &temperatures(&[-10.0, -11.0, -11.5, 0.0, 0.0, 0.1]));
    assert_eq!(fates.reduced(R), [1..2, 4..5]);

    // Of text, and of what a clock says that was set in between, a change is a change.
    let door = |millis, text| at(millis, DOOR, Value::Text(text));
    let back = door(500, "open");
    let (_, fates) = told(
        "[[process]]\ndeadband = 0\nheartbeat = \"10s\"",
        &[door(1000, "open"), door(2000, "open"), door(3000, "ajar"), door(4000, "ajar"), back, door(600, "open")],
    );
    assert_eq!(fates.reduced(R), [1..2, 3..4, 5..6]);
}

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
fn a_rule_that_cannot_be_applied_leaves_the_channel_as_it_is_and_is_said() {
    let cases = [
        ("channel = \"pressure\"\nunit = \"Cel\"", at(0, PRESSURE, Value::Double(5.0)), "pressure hPa 5"),
        ("channel = \"temperature\"\nrename = \"door\"", at(0, TEMPERATURE, Value::Float(5.0)), "temperature Cel 5"),
        ("channel = \"door\"\nwindow = \"1s\"\ntake = [\"mean\"]", at(0, DOOR, Value::Text("x")), "door 1 x"),
    ];
    for (rule, reading, expected) in cases {
        let (desk, fates) = told(&format!("[[process]]\n{rule}"), &[reading]);
        assert_eq!(fates.lines(R), [format!("0: {expected}")], "{rule}");
        assert_eq!(desk.count(Event::RuleNotApplied), 1, "{rule}");
    }
}

#[test]
fn readings_wait_for_the_description_that_rules_need_but_not_for_ever() {
    let mut desk = Desk::with_rules(&FaultyFs::new(1), "[[process]]\ndevice = \"board-*\"\nscale = 2", 1);
    let mut sensor = Sensor::new("board-1");
    let readings = temperatures(&[1.0, 2.0]);
    desk.hears(&sensor.hello(Ring::Durable, &[(R, 0, 2)]));
    let asks = |answers: &[Down]| answers.iter().any(|down| matches!(down, Down::DescribeRequest { .. }));
    assert!(asks(&desk.answers()));
    for _ in 0..2 {
        desk.hears(&sensor.says(R, (0, 2), 0, &readings));
        desk.commits();
        let answers = desk.answers();
        assert!(asks(&answers), "asked again with every frame");
        assert!(!answers.iter().any(|down| matches!(down, Down::Ack { .. })), "{answers:?}");
    }
    desk.hears(&sensor.describe());
    assert_eq!(desk.answers(), [Down::Resend { restart: R, from: Sequence(0) }]);
    desk.hears(&sensor.says(R, (0, 2), 0, &readings));
    assert!(desk.commits());
    assert_eq!(Fates::of(&desk.queue).lines(R), ["0: temperature Cel 2", "1: temperature Cel 4"]);

    // One that never describes itself: after ten seconds its readings pass as they are. No rule names the third.
    let mut desk = Desk::with_rules(&FaultyFs::new(1), "[[process]]\ndevice = \"board-*\"\nscale = 2", 1);
    for (name, waits) in [("board-2", true), ("fan", false)] {
        let mut sensor = Sensor::new(name);
        desk.hears(&sensor.hello(Ring::Durable, &[(R, 0, 2)]));
        desk.hears(&sensor.says(R, (0, 2), 0, &readings));
        assert_eq!(!desk.intake.has_staged(), waits, "{name}");
        desk.intake.tick(Duration::from_secs(10));
        desk.hears(&sensor.says(R, (0, 2), 0, &readings));
        assert!(desk.intake.has_staged() && desk.commits(), "{name}");
    }
    assert_eq!(desk.count(Event::RuleNotApplied), 1);
}

/// What was compared with and what was folded may not be durable: the device sends it again, and it counts once.
#[test]
fn a_failed_commit_takes_back_what_rules_remembered() {
    let disk = FaultyFs::new(1);
    let rules =
        "[[process]]\nchannel = \"temperature\"\nwindow = \"10s\"\ntake = [\"count\"]\n[[process]]\ndeadband = 1";
    let (mut desk, mut sensor) = ruled_on(&disk, rules);
    let readings = [at(0, TEMPERATURE, Value::Float(1.0)), at(0, COUNT, Value::Integer(1))];
    desk.hears(&sensor.says(R, (0, 2), 0, &readings));
    disk.fail_once(Fault::Sync);
    assert!(!desk.commits());
    desk.answers();
    desk.hears(&sensor.says(R, (0, 2), 0, &readings));
    assert!(desk.commits());
    desk.intake.close_windows();
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    assert_eq!(fates.lines(R), ["1: count 1 1"], "it is not suppressed for its own first try");
    assert_eq!(fates.summaries[0].readings, ["temperature.count 1 1"]);
    assert_eq!(fates.summaries.len(), 1);
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

#[test]
fn whoever_listens_sees_each_reading_before_and_after() {
    let rules = "[[process]]\nchannel = \"temperature\"\nscale = 2\nrange = [0, 100]\n[[process]]\nchannel = \"count\"\ndrop = true";
    let (mut desk, mut sensor) = ruled(rules);
    let mut tap = desk.tap.listen();
    let readings = [
        at(0, TEMPERATURE, Value::Float(10.5)),
        at(1, TEMPERATURE, Value::Float(90.0)),
        at(2, COUNT, Value::Integer(1)),
        at(3, DOOR, Value::Text("open")),
    ];
    desk.hears(&sensor.says(R, (0, 4), 0, &readings));
    let mut seen = Vec::new();
    while let Ok(tapped) = tap.try_recv() {
        seen.push((tapped.sequence, tapped.channel.clone(), tapped.rule, tapped.then.clone()));
    }
    let passed = |channel: &str, unit: &str, value: serde_json::Value| Then::Passed {
        channel: channel.to_owned(),
        unit: unit.to_owned(),
        value,
        class: 0,
    };
    let expected = [
        (0, "temperature".to_owned(), Some(1), passed("temperature", "Cel", 21.0.into())),
        (
            1,
            "temperature".to_owned(),
            Some(1),
            Then::Refused { value: 180.0.into(), expected: "0 to 100 Cel".to_owned() },
        ),
        (2, "count".to_owned(), Some(2), Then::Dropped),
        (3, "door".to_owned(), None, passed("door", "1", "open".into())),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_wrong_rule_is_refused_with_what_is_wrong_and_what_to_write() {
    let cases = [
        ("unit = \"celsius\"", "expected one of"),
        ("source_unit = \"Pa\"\nunit = \"Cel\"", "no unit of temperature"),
        ("range = [5, 1]", "expected the lower bound first"),
        ("window = \"10s\"", "take = "),
        ("take = [\"mean\"]", "window = "),
        ("window = \"10s\"\ntake = []", "one or more of"),
        ("window = \"10s\"\ntake = [\"mean\", \"mean\"]", "twice"),
        ("window = \"1ms\"\ntake = [\"mean\"]", "expected 100ms to"),
        ("deadband = -1", "expected 0 or more"),
        ("deadband = 1\ndeadband_percent = 1", "exclude each other"),
        ("heartbeat = \"10s\"", "set deadband"),
        ("scale = 0", "drop = true"),
        ("rename = \"x\"", "name one channel"),
        ("class = \"alarm\"", "[[queue.class]]"),
        ("drop = true\nscale = 2", "no other step"),
        ("device = \"\"", "names all of them"),
        ("ranges = [1, 2]", "did you mean `range`"),
    ];
    for (rule, expected) in cases {
        let error = Config::of(&Source::new("rules", format!("[[process]]\n{rule}"))).expect_err(rule).to_string();
        assert!(error.contains(expected) && error.contains('^'), "{rule}: {error}");
    }
}

#[test]
fn a_rule_that_never_matches_is_pointed_out() {
    let rules = "[[process]]\nchannel = \"temp*\"\nscale = 2\n[[process]]\nchannel = \"temperature\"\noffset = 1";
    let config = Config::of(&Source::new("rules", rules)).expect("lawful");
    let [warning] = &settings::warnings(&config.process)[..] else { panic!("one") };
    assert!(warning.contains("rule 2") && warning.contains("rule 1"), "{warning}");
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
