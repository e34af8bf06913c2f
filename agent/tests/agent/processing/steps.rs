//! The steps of a rule, who is told of them, and what rules wait for.

#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::time::Duration;

use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::processing::{Then, settings};
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::settings::Source;
use weir_protocol::{Sequence, Value};
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use super::{R, ruled, ruled_on, temperatures, told};
use crate::support::desk::Desk;
use crate::support::sensor::{COUNT, DOOR, Fates, PRESSURE, Sensor, TEMPERATURE, at};

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
