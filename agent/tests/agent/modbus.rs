//! Modbus: register maps against a device that was written from the specification, and against some that lie.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::health::SourceState;
use weir_agent::source::modbus::{self, ByteOrder, Layout, Line, ModbusConfig, Place, Poller, Table, Type};
use weir_agent::source::supervise;
use weir_protocol::settings::Source;
use weir_protocol::{Value, ValueKind};

use crate::seeds::for_each_seed;
use crate::support::plc::{Asked, COILS, DISCRETE, HOLDING, INPUT, Manner, Plc, crc};
use crate::support::pty;
use crate::support::sources::Bench;

const fn layout(kind: Type, order: ByteOrder) -> Layout {
    Layout { kind, order, bit: 0, scale: 1.0, offset: 0.0 }
}

fn decode(layout: Layout, registers: &[u16]) -> Result<String, String> {
    let mut text = String::new();
    layout.decode(registers, &mut text).map(|value| format!("{value:?}"))
}

/// 0x41C80000 is 25.0 in IEEE 754; the four orders as manuals name them.
#[test]
fn a_single_in_the_four_orders() {
    let vectors = [
        (ByteOrder::Abcd, [0x41c8, 0x0000]),
        (ByteOrder::Cdab, [0x0000, 0x41c8]),
        (ByteOrder::Badc, [0xc841, 0x0000]),
        (ByteOrder::Dcba, [0x0000, 0xc841]),
    ];
    for (order, registers) in vectors {
        assert_eq!(decode(layout(Type::F32, order), &registers).as_deref(), Ok("Float(25.0)"), "{order:?}");
    }
}

#[test]
fn a_long_integer_in_the_four_orders() {
    let vectors = [
        (ByteOrder::Abcd, [0x0123, 0x4567, 0x89ab, 0xcdef]),
        (ByteOrder::Cdab, [0xcdef, 0x89ab, 0x4567, 0x0123]),
        (ByteOrder::Badc, [0x2301, 0x6745, 0xab89, 0xefcd]),
        (ByteOrder::Dcba, [0xefcd, 0xab89, 0x6745, 0x2301]),
    ];
    for (order, registers) in vectors {
        let expected = format!("Integer({})", 0x0123_4567_89ab_cdef_i64);
        assert_eq!(decode(layout(Type::U64, order), &registers), Ok(expected), "{order:?}");
    }
}

#[test]
fn numbers_keep_their_sign_and_their_size() {
    let vectors: [(Type, &[u16], &str); 9] = [
        (Type::U16, &[0xffff], "Integer(65535)"),
        (Type::I16, &[0xffff], "Integer(-1)"),
        (Type::I16, &[0x8000], "Integer(-32768)"),
        (Type::U32, &[0xffff, 0xffff], "Integer(4294967295)"),
        (Type::I32, &[0xffff, 0xfffe], "Integer(-2)"),
        (Type::I64, &[0x8000, 0, 0, 0], "Integer(-9223372036854775808)"),
        (Type::U64, &[0x7fff, 0xffff, 0xffff, 0xffff], "Integer(9223372036854775807)"),
        (Type::F64, &[0x4039, 0, 0, 0], "Double(25.0)"),
        (Type::F32, &[0xbf80, 0], "Float(-1.0)"),
    ];
    for (kind, registers, expected) in vectors {
        assert_eq!(decode(layout(kind, ByteOrder::Abcd), registers).as_deref(), Ok(expected));
    }
    assert!(decode(layout(Type::U64, ByteOrder::Abcd), &[0x8000, 0, 0, 0]).unwrap_err().contains("2^63"));
}

#[test]
fn scale_and_offset_make_a_double_of_any_number() {
    let scaled = |kind, scale, offset| Layout { scale, offset, ..layout(kind, ByteOrder::Abcd) };
    assert_eq!(decode(scaled(Type::I16, 0.1, 0.0), &[0xff9c]).as_deref(), Ok("Double(-10.0)"));
    assert_eq!(decode(scaled(Type::U16, 1.0, -40.0), &[65]).as_deref(), Ok("Double(25.0)"));
    assert_eq!(decode(scaled(Type::F32, 1000.0, 0.0), &[0x41c8, 0]).as_deref(), Ok("Double(25000.0)"));
    let layout = scaled(Type::I16, 0.1, 0.0);
    assert_eq!((layout.value_kind(), layout.resolution()), (ValueKind::Double, 0.1));
}

#[test]
fn a_bit_of_a_register_and_a_text_of_several() {
    let bit = |bit| Layout { bit, ..layout(Type::Bit, ByteOrder::Abcd) };
    let read: Vec<_> = (0..4).map(|at| decode(bit(at), &[0b0101]).unwrap()).collect();
    assert_eq!(read, ["Boolean(true)", "Boolean(false)", "Boolean(true)", "Boolean(false)"]);
    let text = layout(Type::String, ByteOrder::Abcd);
    assert_eq!(decode(text, &[0x5072, 0x6f20, 0x3100, 0x7878]).as_deref(), Ok("Text(\"Pro 1\")"));
    assert_eq!(decode(layout(Type::String, ByteOrder::Badc), &[0x7250]).as_deref(), Ok("Text(\"Pr\")"));
    assert!(decode(text, &[0xffff]).unwrap_err().contains("no text"));
}

#[test]
fn what_is_no_measurement_is_no_reading() {
    for registers in [[0x7fc0, 0], [0x7f80, 0], [0xff80, 0]] {
        assert!(decode(layout(Type::F32, ByteOrder::Abcd), &registers).unwrap_err().contains("no measurement"));
    }
}

fn places(wanted: &[(Table, u16, u16)]) -> Vec<Place> {
    wanted.iter().map(|&(table, start, count)| Place { table, start, count }).collect()
}

#[test]
fn neighbours_go_into_one_request_as_far_as_the_specification_lets_them() {
    use Table::{Coil, Holding, Input};
    let asked = |wanted: &[(Table, u16, u16)], gap| -> Vec<(Table, u16, u16)> {
        let place = |block: modbus::Block| (block.place.table, block.place.start, block.place.count);
        modbus::blocks(&places(wanted), gap).into_iter().map(place).collect()
    };
    assert_eq!(asked(&[(Holding, 2, 2), (Holding, 0, 2), (Holding, 4, 1)], 0), [(Holding, 0, 5)]);
    assert_eq!(asked(&[(Holding, 0, 2), (Input, 2, 2)], 9), [(Holding, 0, 2), (Input, 2, 2)]);
    assert_eq!(asked(&[(Holding, 0, 2), (Holding, 10, 2)], 8), [(Holding, 0, 12)]);
    assert_eq!(asked(&[(Holding, 0, 2), (Holding, 11, 2)], 8), [(Holding, 0, 2), (Holding, 11, 2)]);
    // The same register twice, and one inside another's.
    assert_eq!(asked(&[(Holding, 0, 4), (Holding, 1, 1), (Holding, 0, 4)], 0), [(Holding, 0, 4)]);
    assert_eq!(asked(&[(Holding, 0, 124), (Holding, 124, 2)], 8), [(Holding, 0, 124), (Holding, 124, 2)]);
    assert_eq!(asked(&[(Coil, 0, 1), (Coil, 1999, 1), (Coil, 2000, 1)], 2000), [(Coil, 0, 2000), (Coil, 2000, 1)]);
    assert_eq!(asked(&[(Holding, 65_534, 2), (Holding, 0, 1)], 8), [(Holding, 0, 1), (Holding, 65_534, 2)]);
}

fn config(text: &str) -> Result<Config, String> {
    Config::of(&Source::new("agent.toml", text)).map_err(|error| error.to_string())
}

/// One device with the register map `registers`.
fn poller(address: &str, more: &str, registers: &str) -> (Poller, Line) {
    let text = format!("[[modbus]]\ndevice = \"plc\"\naddress = \"{address}\"\n{more}\n{registers}");
    let config = config(&text).unwrap_or_else(|error| panic!("{error}"));
    let line = modbus::Address::parse(address).expect("an address");
    (Poller::new(&config.modbus[0]), Line::new(line))
}

type Given = Vec<(String, String)>;

async fn poll(poller: &mut Poller, line: &Line) -> (Given, Result<(), String>) {
    let mut given = Vec::new();
    let give = |wanted: &modbus::Wanted, value: Value<'_>| {
        given.push((format!("{} {}", wanted.name, wanted.unit), format!("{value:?}")));
    };
    // Longer than anything here takes; only a failing test waits for it.
    let outcome = tokio::time::timeout(Duration::from_secs(20), poller.poll(line, give)).await.expect("an end");
    (given, outcome)
}

fn given(pairs: &[(&str, &str)]) -> Given {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const METER: &str = r#"
[[modbus.register]]
name = "power"
kind = "input"
address = 12
type = "f32"
byte_order = "cdab"
unit = "W"
[[modbus.register]]
name = "flow"
address = 100
type = "i16"
scale = 0.1
unit = "Cel"
[[modbus.register]]
name = "alarm"
address = 101
type = "bit"
bit = 9
[[modbus.register]]
name = "model"
address = 103
type = "string"
length = 3
[[modbus.register]]
name = "pump"
kind = "coil"
address = 3
[[modbus.register]]
name = "door"
kind = "discrete"
address = 70
"#;

fn meter() -> Plc {
    Plc::default()
        .holds(INPUT, 12, &[0x0000, 0x41c8])
        .holds(HOLDING, 100, &[0xffff, 0x0200, 0, 0x5745, 0x4952, 0x0000])
        .has_bits(COILS, 0, &[false, false, false, true])
        .has_bits(DISCRETE, 64, &[false, false, false, false, false, false, true])
}

fn of_the_meter() -> Given {
    given(&[
        ("flow Cel", "Double(-0.1)"),
        ("alarm 1", "Boolean(true)"),
        ("model 1", "Text(\"WEIR\")"),
        ("power W", "Float(25.0)"),
        ("pump 1", "Boolean(true)"),
        ("door 1", "Boolean(true)"),
    ])
}

#[tokio::test]
async fn a_map_of_all_tables_is_read_with_one_request_a_table() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "unit = 7", METER);
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
    let asked = |function, start, count| Asked { unit: 7, function, start, count };
    assert_eq!(plc.asked(), [asked(3, 100, 6), asked(4, 12, 2), asked(1, 3, 1), asked(2, 70, 1)]);
    poll(&mut poller, &line).await.1.expect("a second time");
    assert_eq!(plc.connections(), 1, "the connection stays");
}

#[tokio::test]
async fn a_register_that_is_refused_fails_alone_and_the_others_stay_together() {
    let registers: String =
        (0..8).map(|at| format!("[[modbus.register]]\nname = \"r{at}\"\naddress = {at}\n")).collect();
    // There is no register 5.
    let plc = Plc::default().holds(HOLDING, 0, &[0, 1, 2, 3, 4]).holds(HOLDING, 6, &[6, 7]);
    let mut tasks = JoinSet::new();
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "", &registers);
    let (values, outcome) = poll(&mut poller, &line).await;
    outcome.expect("the device answers");
    assert_eq!(values.len(), 7);
    assert_eq!(poller.failing().as_deref(), Some("r5: exception 2: illegal data address"));
    plc.asked();
    poll(&mut poller, &line).await.1.expect("the device answers");
    let asked: Vec<(u16, u16)> = plc.asked().iter().map(|asked| (asked.start, asked.count)).collect();
    assert_eq!(asked, [(0, 4), (4, 1), (5, 1), (6, 2)], "learnt, not tried again and again");
}

#[tokio::test]
async fn a_device_that_refuses_everything_is_asked_once_a_request_and_named() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    plc.becomes(Manner::Refusing(4));
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "", METER);
    assert_eq!(poll(&mut poller, &line).await, (Vec::new(), Ok(())));
    assert_eq!((poller.failures(), plc.asked().len()), (6, 4));
    assert!(poller.failing().unwrap().contains("pump: exception 4: server device failure"));
    plc.becomes(Manner::Honest);
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
    assert_eq!(poller.failing(), None);
}

#[tokio::test]
async fn a_device_that_is_busy_is_asked_again_in_a_moment_and_not_for_ever() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "", METER);
    for exception in [5, 6] {
        plc.becomes(Manner::Busy(exception, 3));
        assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
        assert_eq!((poller.failing(), plc.asked().len()), (None, 4 + 3));
    }
    plc.becomes(Manner::Busy(6, 100));
    assert_eq!(poll(&mut poller, &line).await, (Vec::new(), Ok(())));
    assert_eq!((poller.failures(), plc.asked().len()), (6, 4 + 3));
    assert!(poller.failing().unwrap().contains("pump: exception 6: server device busy"));
}

/// Some devices do not answer what they do not have. One such register used to end each life of the source, and nothing
/// behind it was ever read.
#[tokio::test]
async fn a_request_that_a_device_does_not_answer_fails_alone_if_it_answers_others() {
    for ignored in [HOLDING, INPUT, DISCRETE] {
        let (plc, mut tasks) = (meter(), JoinSet::new());
        plc.becomes(Manner::Ignoring(ignored));
        let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "timeout = \"50ms\"", METER);
        let of_this = |name: &str| match ignored {
            HOLDING => ["flow Cel", "alarm 1", "model 1"].contains(&name),
            INPUT => name == "power W",
            _ => name == "door 1",
        };
        let expected: Given = of_the_meter().into_iter().filter(|(name, _)| !of_this(name)).collect();
        assert_eq!(poll(&mut poller, &line).await, (expected, Ok(())));
        assert!(poller.failing().unwrap().contains("no answer in 50 ms"));
        plc.becomes(Manner::Honest);
        assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())), "its values come back");
    }
}

#[tokio::test]
async fn half_an_answer_is_none_and_its_rest_is_not_taken_for_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ttyBUS");
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (from_agent, to_agent, _slave) = pty::plug(&path);
    let served = plc.clone();
    tasks.spawn(async move { served.rtu(tokio::io::join(from_agent, to_agent), &[1]).await });
    let address = format!("rtu://{}?baud=115200&parity=none", path.display());
    let (mut poller, line) = poller(&address, "timeout = \"100ms\"", METER);
    plc.becomes(Manner::Halving);
    for _ in 0..3 {
        let (values, _) = poll(&mut poller, &line).await;
        let all = of_the_meter();
        assert!(values.iter().all(|value| all.contains(value)), "{values:?}");
    }
    plc.becomes(Manner::Honest);
    // What is left of the last half comes first.
    let _ = poll(&mut poller, &line).await;
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
}

#[tokio::test]
async fn a_device_that_lies_is_not_believed_and_read_again_on_a_new_connection() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "timeout = \"100ms\"", METER);
    for manner in [Manner::Mistaken, Manner::Short, Manner::Flooding, Manner::Rude, Manner::Silent] {
        plc.becomes(manner);
        let (values, outcome) = poll(&mut poller, &line).await;
        assert_eq!(values, Vec::new(), "{manner:?}");
        let error = outcome.expect_err("a lie");
        assert!(error.contains("unit 1, holding 100 to 105: "), "{manner:?}: {error}");
        if manner == Manner::Rude {
            assert!(error.ends_with("the device closed the connection"), "{error}");
        }
    }
    plc.becomes(Manner::Honest);
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
    assert_eq!(plc.connections(), 7, "one each, and one more for a second question to silence");
}

#[tokio::test]
async fn nobody_there_is_said() {
    let (mut poller, line) = poller("tcp://127.0.0.1:1", "", METER);
    let error = poll(&mut poller, &line).await.1.expect_err("nobody");
    assert!(error.starts_with("tcp://127.0.0.1:1, unit 1, ") && error.contains("cannot be opened"), "{error}");
}

/// The example of the serial line specification's appendix B: 02 07 has the CRC 41 12.
#[test]
fn the_checksum_that_these_tests_check_with_is_the_one_of_the_specification() {
    assert_eq!(crc(&[0x02, 0x07]), [0x41, 0x12]);
}

#[tokio::test]
async fn units_on_one_serial_line_take_turns_and_a_missing_one_holds_nobody_up_for_long() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ttyBUS");
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (from_agent, to_agent, slave) = pty::plug(&path);
    let bus = tokio::io::join(from_agent, to_agent);
    let served = plc.clone();
    tasks.spawn(async move { served.rtu(bus, &[1, 2]).await });
    let address = format!("rtu://{}?baud=115200&parity=none", path.display());
    let (mut one, line) = poller(&address, "unit = 1\ntimeout = \"5s\"", METER);
    let (mut two, _) = poller(&address, "unit = 2\ntimeout = \"5s\"", METER);
    let (mut missing, _) = poller(&address, "unit = 9\ntimeout = \"50ms\"", METER);
    let (one, two, missing) = tokio::join!(poll(&mut one, &line), poll(&mut two, &line), poll(&mut missing, &line));
    assert_eq!(one, (of_the_meter(), Ok(())));
    assert_eq!(two, (of_the_meter(), Ok(())));
    assert!(missing.1.expect_err("nobody").contains("unit 9, holding 100 to 105: no answer in 50 ms"));
    plc.becomes(Manner::Mistaken);
    let (mut one, _) = poller(&address, "unit = 1\ntimeout = \"5s\"", METER);
    let error = poll(&mut one, &line).await.1.expect_err("the answer of another unit");
    assert!(error.contains("another request"), "{error}");
    drop(slave);
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let device = |more: &str| format!("[[modbus]]\ndevice = \"plc\"\n{more}");
    let register = |more: &str| {
        device(&format!("address = \"tcp://plc:502\"\n[[modbus.register]]\nname = \"x\"\naddress = 0\n{more}"))
    };
    let refused = [
        (device("address = \"udp://plc\"\nregister = []"), "expected \"tcp://plc.example:502\""),
        (device("address = \"rtu://ttyUSB0\"\nregister = []"), "the whole path"),
        (device("address = \"rtu:///dev/ttyS0?speed=9\"\nregister = []"), "expected baud=9600"),
        (device("address = \"tcp://plc\"\nregister = []"), "got 0 registers"),
        (device("address = \"rtu:///dev/ttyS0\"\nunit = 0\nregister = []"), "expected 1 to 247"),
        (register("type = \"u15\""), "u15"),
        (register("type = \"f32\"\nbit = 3"), "`bit` is for"),
        (register("type = \"bit\"\nbit = 16"), "expected 0 (least significant) to 15"),
        (register("type = \"bit\"\nscale = 2.0"), "`scale` is for numbers"),
        (register("type = \"string\""), "a text has a length"),
        (register("type = \"u16\"\nlength = 2"), "`length` is for"),
        (register("type = \"string\"\nlength = 65"), "expected 1 to 64 registers"),
        (register("type = \"string\"\nlength = 2\nbyte_order = \"dcba\""), "a text is"),
        (register("kind = \"coil\"\ntype = \"u16\""), "a coil is one bit"),
        (register("scale = 0.0"), "not 0"),
        (register("unit = \"\""), "UCUM"),
        (register("[[modbus.register]]\nname = \"x\"\naddress = 1"), "there twice"),
        (register("[[modbus.register]]\nname = \"y\"\naddress = 65535\ntype = \"f32\""), "past 65535"),
    ];
    for (text, expected) in refused {
        let error = config(&text).expect_err(&text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let crowd = |devices: usize, registers: usize| -> String {
        let register = |at| format!("[[modbus.register]]\nname = \"r{at}\"\naddress = {at}\n");
        let map: String = (0..registers).map(register).collect();
        (0..devices).map(|at| format!("[[modbus]]\ndevice = \"d{at}\"\naddress = \"tcp://plc\"\n{map}")).collect()
    };
    assert!(config(&crowd(modbus::MAX_DEVICES, 1)).is_ok() && config(&crowd(1, 256)).is_ok());
    assert!(config(&crowd(modbus::MAX_DEVICES + 1, 1)).expect_err("too many").contains("at most 64"));
    assert!(config(&crowd(1, 257)).expect_err("too many").contains("expected 1 to 256"));
    let two_speeds = ["baud=9600", "baud=19200"]
        .map(|speed| {
            format!("[[modbus]]\ndevice = \"{speed}\"\naddress = \"rtu:///dev/ttyS0?{speed}\"\n[[modbus.register]]\nname = \"x\"\naddress = 0\n")
                .replace("device = \"baud=", "device = \"b")
        })
        .concat();
    assert!(config(&two_speeds).expect_err("two speeds").contains("set otherwise above"));
}

fn one(config: Config) -> (ModbusConfig, std::sync::Arc<Line>) {
    let line = modbus::lines(&config.modbus).remove(0);
    (config.modbus.into_iter().next().expect("the section"), line)
}

fn lives(bench: &Bench, text: &str) -> tokio::task::JoinHandle<()> {
    let (config, line) = one(config(text).unwrap_or_else(|error| panic!("{error}")));
    let name = config.device.get_ref().to_string();
    let live = move |context| modbus::run(config.clone(), std::sync::Arc::clone(&line), context);
    tokio::spawn(supervise(bench.context("modbus", &name), StdRng::seed_from_u64(1), live))
}

fn plc(name: &str, address: &str, more: &str) -> String {
    format!(
        "[[modbus]]\ndevice = \"{name}\"\naddress = \"{address}\"\ninterval = \"10ms\"\ntimeout = \"50ms\"\n\
         [[modbus.register]]\nname = \"level\"\naddress = 0\nunit = \"mm\"\n{more}"
    )
}

#[tokio::test]
async fn a_silent_device_waits_alone_and_comes_back() {
    let (silent, honest) = (Plc::default().holds(HOLDING, 0, &[1]), Plc::default().holds(HOLDING, 0, &[2]));
    silent.becomes(Manner::Silent);
    let (bench, mut tasks) = (Bench::unlinked(), JoinSet::new());
    let lives = [
        lives(&bench, &plc("a", &silent.serve(&mut tasks).await, "")),
        lives(&bench, &plc("b", &honest.serve(&mut tasks).await, "")),
    ];
    let failed = bench.looks(|health| health.state == SourceState::Waiting).await;
    assert!(failed.last_error.is_some_and(|error| error.ends_with("unit 1, holding 0 to 0: no answer in 50 ms")));
    assert_eq!((failed.id.as_str(), failed.readings), ("modbus.a", 0));
    let before = bench.health.sources()[1].readings;
    while bench.health.sources()[1].readings < before + 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((bench.health.sources()[1].failures, bench.health.sources()[1].state), (0, SourceState::Running));
    silent.becomes(Manner::Honest);
    bench.looks(|health| health.state == SourceState::Running && health.readings > 0).await;
    bench.stops();
    for life in lives {
        life.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_refused_register_is_named_in_health_while_the_others_are_read() {
    let (device, mut tasks) = (Plc::default().holds(HOLDING, 0, &[7]), JoinSet::new());
    let bench = Bench::unlinked();
    let more = "[[modbus.register]]\nname = \"missing\"\naddress = 1\n";
    let life = lives(&bench, &plc("a", &device.serve(&mut tasks).await, more));
    let health = bench.looks(|health| health.readings >= 2).await;
    assert_eq!((health.state, health.failures), (SourceState::Running, 0));
    assert_eq!(health.last_error.as_deref(), Some("missing: exception 2: illegal data address"));
    assert!(bench.counters.get(Event::RegistersFailed) >= 1);
    let held = bench.feeds.held();
    assert_eq!((held[0].channel.as_str(), held[0].unit.as_str(), held[0].value), ("level", "mm", Value::Integer(7)));
    bench.stops();
    life.await.expect("no panic");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_silent_device() {
    let (device, mut tasks) = (Plc::default(), JoinSet::new());
    device.becomes(Manner::Silent);
    let bench = Bench::unlinked();
    let text = plc("a", &device.serve(&mut tasks).await, "").replace("50ms", "60s");
    let life = lives(&bench, &text);
    while device.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.stops();
    tokio::time::timeout(Duration::from_secs(20), life).await.expect("it stops").expect("no panic");
}

/// Whatever bytes come instead of an answer, the process lives and no value is made of them.
#[test]
fn garbled_answers_are_errors_and_never_values() {
    for_each_seed("garbled_answers_are_errors_and_never_values", 2, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (device, mut tasks) = (meter(), JoinSet::new());
            device.becomes(Manner::Garbling(seed));
            let (mut tcp, line) = poller(&device.serve(&mut tasks).await, "timeout = \"10ms\"", METER);
            for _ in 0..50 {
                let (values, _) = poll(&mut tcp, &line).await;
                assert_eq!(values, Vec::new());
            }
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("ttyBUS");
            let (from_agent, to_agent, _slave) = pty::plug(&path);
            let served = device.clone();
            tasks.spawn(async move { served.rtu(tokio::io::join(from_agent, to_agent), &[1]).await });
            let address = format!("rtu://{}?baud=115200&parity=none", path.display());
            let (mut rtu, line) = poller(&address, "timeout = \"10ms\"", METER);
            for _ in 0..20 {
                let (values, _) = poll(&mut rtu, &line).await;
                assert_eq!(values, Vec::new());
            }
        });
    });
}
