//! Version 1 of what the agent keeps beside its log and of what it exports, byte for byte. Frozen: a change of any of
//! these is a new version, which reads this one too.

#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::collections::BTreeMap;
use std::io::Cursor;

use weir_agent::queue::{Claims, ClassId, Incarnation, State};
use weir_agent::transfer::ndjson::{Line, Place};
use weir_protocol::batch::describe::Description;
use weir_protocol::batch::{LossKind, RestartEnd};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
    items,
};

const R: Restart = Restart(0x0000_0002_0000_0007);
const STATE: &str = concat!(
    "01ef9bafcdf8acd19101090107626f6172642d31878080802005ac020000010102000406070107626f6172642d31baf48199032157",
    "440107626f6172642d31baf48199030c0001740343656c000000003fb4952aa801010009000107626f6172642d3187808080200105ac02",
);
const CLAIMS: &str =
    "010207626f6172642d318780808020010103e80707626f6172642d3187808080200601e807e9070107626f6172642d318780808020ac02";
const LINES: [&str; 5] = [
    r#"{"type":"export","version":1}"#,
    r#"{"type":"reading","tenant":"default","device":"board-1","restart":"8589934599","sequence":5,"schema":"0a1b2c3d","channel":0,"name":"t","time_us":1795262400000000,"clock":"synchronised","kind":"float","value":21.3}"#,
    r#"{"type":"reading","tenant":"default","device":"board-1","restart":"8589934599","sequence":5,"schema":"0a1b2c3d","channel":0,"time_us":1795262400000000,"clock":"synchronised","kind":"double","value":"0x7ff8000000000000"}"#,
    r#"{"type":"end","tenant":"default","device":"board-1","restart":"8589934599","from":300}"#,
    r#"{"type":"total","readings":2,"claims":0,"ends":1}"#,
];

fn board() -> DeviceId {
    DeviceId::new("board-1").expect("a name")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn state() -> State {
    let mut state = State::new(Incarnation(0x0123_4567_89ab_cdef));
    let channel = Channel { id: ChannelId(0), name: "t", unit: "Cel", kind: ValueKind::Float, resolution: 0.5 };
    let mut channels = Vec::new();
    items::push(&mut channels, &channel);
    let schema = SchemaHash::of(Items::new(&channels));
    let description = Description { device: board(), schema, channels: Items::new(&channels) };
    state.descriptions.insert(&description).expect("a good description");
    let named: BTreeMap<_, _> = [((board(), R), [5..300].into_iter().collect())].into();
    state.of_mut(ClassId::DEFAULT).note(&(0..9), Some(0), &named);
    state.restarts.accept((board(), R), Sequence(5), Sequence(300), false);
    state.of_mut(ClassId::DEFAULT).shipped.insert(0..4);
    state.of_mut(ClassId::DEFAULT).shipped.insert(6..7);
    state
}

fn claims() -> Claims {
    let mut claims = Claims::default();
    claims.add((board(), R), LossKind::Queue, 3..1000);
    claims.add((board(), R), LossKind::Exported, 1000..1001);
    claims.add_end(&RestartEnd { device: board(), restart: R, from: Sequence(300) });
    claims
}

#[test]
fn the_state_and_the_claims_are_stored_as_ever() {
    assert_eq!(hex(&state().encode()), STATE);
    assert_eq!(State::decode(&state().encode()), Ok(state()));
    assert_eq!(hex(&claims().encode()), CLAIMS);
    assert_eq!(Claims::decode(&claims().encode()), Ok(claims()));
}

#[test]
fn a_line_of_an_export_is_written_as_ever() {
    let place = Place { device: board(), restart: R, sequence: Sequence(5), schema: SchemaHash(0x0a1b_2c3d) };
    let reading = |value| Reading {
        channel: ChannelId(0),
        time: Timestamp(1_795_262_400_000_000),
        clock: Clock::Synchronised,
        value,
    };
    let lines = [
        Line::Export { version: 1 },
        Line::reading(&place, &reading(Value::Float(21.3)), Some("t")),
        Line::reading(&place, &reading(Value::Double(f64::NAN)), None),
        Line::end(&RestartEnd { device: board(), restart: R, from: Sequence(300) }),
        Line::Total { readings: 2, claims: 0, ends: 1 },
    ];
    let written: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).expect("JSON")).collect();
    assert_eq!(written, LINES);
    let file = LINES.join("\n");
    let desk = crate::support::desk::Desk::open(&weir_storage::FaultyFs::new(1));
    let totals =
        weir_agent::transfer::import::lines(&desk.queue, || Ok(Cursor::new(file.clone()))).expect("a good export");
    assert_eq!((totals.readings, totals.ends), (2, 1));
}
