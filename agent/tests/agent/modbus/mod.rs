//! Modbus: register maps against a device that was written from the specification, and against some that lie.

mod lives;
mod polls;
mod settings;
mod values;

use std::time::Duration;

use weir_agent::config::Config;
use weir_agent::source::modbus::{self, Line, Poller};
use weir_protocol::Value;
use weir_protocol::settings::Source;

use crate::support::plc::{COILS, DISCRETE, HOLDING, INPUT, Plc};

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
