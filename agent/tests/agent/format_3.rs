//! Versions 2 and 3 of the state, and the records of a queue whose rules make summaries, byte for byte: `format_3.txt`. Frozen:
//! a change of any of these is a new version, which reads this one too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir_agent::queue::{ClassId, ClassState, Incarnation, LOG_DIR, STATE_FILE, State};
use weir_protocol::name::Name;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{Restart, Sequence, Value};
use weir_storage::{Batch, FaultyFs, Fs, Log, LogOptions, StateFile, durable};

use crate::support::desk::Desk;
use crate::support::device;
use crate::support::sensor::{COUNT, DOOR, Fates, PRESSURE, Sensor, TEMPERATURE, at, key};

/// A line for each thing: its name and its bytes, `-` for none.
const PINNED: &str = include_str!("format_3.txt");
/// In the order of their offsets.
const RECORDS: [&str; 6] = ["held", "readings", "set-aside", "held-next", "claim", "summary"];
const R: Restart = Restart::from_boot(1, 0xabcd);
const RULES: &str = r#"
    [[process]]
    channel = "temperature"
    window = "10s"
    take = ["min", "mean", "count"]
    [[process]]
    channel = "pressure"
    range = [900, 1100]
    [[process]]
    channel = "count"
    drop = true
"#;

fn pinned(name: &str) -> Vec<u8> {
    let line = PINNED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let (pairs, _) = line.unwrap_or_else(|| panic!("{name} is not pinned")).as_bytes().as_chunks::<2>();
    pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("digits")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Key and value of every record of `default`.
fn records(desk: &Desk) -> Vec<(Vec<u8>, Vec<u8>)> {
    let chunk = desk.queue.reader(ClassId::DEFAULT).read(0, 1 << 20).expect("a good log");
    let all = chunk.records().map(|record| record.expect("a good record"));
    all.map(|record| (record.key.unwrap_or_default().to_vec(), record.value.unwrap_or_default().to_vec())).collect()
}

/// A window that was summarised, one that is open, a reading that passes, one that is set aside, one that is left out.
fn spoken() -> Desk {
    let mut desk = Desk::with_rules(&FaultyFs::new(1), RULES, 1);
    let mut sensor = Sensor::new("board-1");
    desk.hears(&sensor.hello(Ring::Durable, &[(R, 0, 0)]));
    desk.hears(&sensor.describe());
    let readings = [
        at(0, TEMPERATURE, Value::Float(20.0)),
        at(1000, TEMPERATURE, Value::Float(21.0)),
        at(1000, DOOR, Value::Text("ajar")),
        at(2000, PRESSURE, Value::Double(899.5)),
        at(3000, COUNT, Value::Integer(7)),
        at(11_000, TEMPERATURE, Value::Float(22.0)),
    ];
    desk.hears(&sensor.says(R, (0, 6), 0, &readings));
    assert!(desk.commits());
    desk.intake.tick(Duration::from_secs(1));
    assert!(desk.intake.has_staged() && desk.commits(), "the summary of the window that is over");
    desk
}

/// A disk with what the build wrote that made the file.
fn disk_of_old() -> FaultyFs {
    let disk = FaultyFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let dir = Path::new("/agent").join(LOG_DIR);
    durable::create_dir_all(&disk, &dir).expect("a good disk");
    let (mut log, _) = Log::open(Arc::clone(&fs), &dir, LogOptions::default()).expect("an empty log");
    for name in RECORDS {
        let (key, value) = (pinned(&format!("{name}.key")), pinned(&format!("{name}.value")));
        let mut batch = Batch::new();
        batch.push(0, (!key.is_empty()).then_some(&*key), Some(&value), &[]).expect("a small record");
        log.commit(&mut batch).expect("a good disk");
    }
    let state = StateFile::new(fs, &Path::new("/agent").join(STATE_FILE));
    state.replace(&pinned("state")).expect("a good disk");
    disk
}

fn with_classes() -> State {
    let mut state = State::new(Incarnation(0x0123_4567_89ab_cdef));
    let alarm = Name::new("alarm").expect("a name");
    state.classes.push(ClassState { ages: [(0, 60_000), (9, 1000)].into(), ..ClassState::new(alarm) });
    state.aged_ms = 1_795_262_400_000;
    let key = (device("board-1"), R);
    state.restarts.accept(key, Sequence(5), Sequence(300), false);
    let named: BTreeMap<_, _> = [(key, std::iter::once(5..300).collect())].into();
    state.classes[1].note(&(0..9), Some(0), &named);
    state.classes[1].shipped.insert(2..4);
    state
}

#[test]
fn the_state_of_a_queue_with_classes_is_stored_as_ever() {
    assert_eq!(hex(&with_classes().encode()), hex(&pinned("state-2")));
    assert_eq!(State::decode(&pinned("state-2")), Ok(with_classes()));
}

/// The restart of summaries is random, so of state and summary it is the bytes of old that are read and written again.
#[test]
fn the_state_of_a_queue_with_windows_is_stored_as_ever() {
    let desk = spoken();
    let ours = desk.queue.state().lock().encode();
    let state = State::decode(&pinned("state")).expect("version 3");
    assert_eq!(hex(&state.encode()), hex(&pinned("state")), "{}", hex(&ours));
    assert_eq!((ours[0], ours.len()), (3, pinned("state").len()), "{}", hex(&ours));
    let held: Vec<_> = state.held.ranges().collect();
    assert_eq!(held, [(key(&Sensor::new("board-1"), R), 5..6)]);
}

#[test]
fn the_records_of_rules_are_stored_as_ever() {
    let records = records(&spoken());
    let shown: Vec<_> = records.iter().map(|(key, value)| (hex(key), hex(value))).collect();
    assert_eq!(records.len(), RECORDS.len(), "{shown:#?}");
    for (name, (key, value)) in RECORDS.iter().zip(&shown) {
        assert_eq!(*key, hex(&pinned(&format!("{name}.key"))), "{name}: {shown:#?}");
        let pinned = hex(&pinned(&format!("{name}.value")));
        match *name {
            "summary" => assert_eq!(value.len(), pinned.len(), "{name}: {shown:#?}"),
            _ => assert_eq!(*value, pinned, "{name}: {shown:#?}"),
        }
    }
}

/// What an older build left goes on: the open window ends in a summary under the restart that it was given.
#[test]
fn a_queue_of_old_goes_on_where_it_was() {
    let mut desk = Desk::with_rules(&disk_of_old(), RULES, 2);
    assert_eq!(desk.recovered.state_damage, None);
    desk.intake.close_windows();
    assert!(desk.intake.has_staged() && desk.commits());
    let fates = Fates::of(&desk.queue);
    assert_eq!(fates.lines(R), ["2: door 1 ajar"]);
    assert_eq!(fates.reduced(R), [std::ops::Range { start: 4, end: 5 }]);
    let refused: Vec<_> = fates.refused.values().cloned().collect();
    assert_eq!(refused, [("pressure hPa 899.5".to_owned(), "900 to 1100 hPa".to_owned())]);
    let said: Vec<_> = fates.summaries.iter().map(|summary| (summary.first, summary.readings.join(", "))).collect();
    let expected = [
        (0, "temperature.min Cel 20, temperature.mean Cel 20.5, temperature.count 1 2"),
        (3, "temperature.min Cel 22, temperature.mean Cel 22, temperature.count 1 1"),
    ];
    assert_eq!(said, expected.map(|(first, said)| (first, said.to_owned())));
    assert_eq!(fates.summaries[0].under, fates.summaries[1].under, "the restart of old");
}
