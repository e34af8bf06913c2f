//! The targets, by where their bytes come from.

mod import;
mod intake;
mod kafka;
mod messages;
mod mqtt;
mod operator;
mod queue;
mod serial;
mod settings;
mod sources;
mod stored;

use std::collections::BTreeMap;

use weir_protocol::Timestamp;
use weir_protocol::time::WallClock;

use crate::target::Target;

/// All of them.
pub const ALL: &[Target] = &[
    serial::FRAMES,
    intake::INTAKE,
    import::IMPORT,
    messages::BATCH,
    messages::DESCRIBE,
    messages::COMMAND,
    mqtt::PACKETS,
    mqtt::QUERY,
    kafka::REQUEST,
    kafka::SASL,
    stored::SEGMENT,
    stored::STATE,
    stored::EXPORT,
    stored::CHECKPOINT,
    stored::RECORD,
    stored::SESSIONS,
    queue::QUEUE,
    sources::EXEC,
    sources::LINE_PROTOCOL,
    sources::MQTT,
    sources::MODBUS,
    sources::SYSFS,
    operator::REMOTE,
    operator::PORT,
    operator::STATUS,
    operator::TAPPED,
    settings::AGENT,
    settings::GATEWAY,
];

/// A line of `protocol/tests/format/v1.txt`.
fn pinned(name: &str) -> Vec<u8> {
    const V1: &str = include_str!("../../../../protocol/tests/format/v1.txt");
    bytes(V1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default())
}

/// What an agent with windows keeps, by name, in hexadecimal digits: `agent/tests/agent/format_3.txt`.
fn format_3() -> BTreeMap<&'static str, &'static str> {
    const V3: &str = include_str!("../../../../agent/tests/agent/format_3.txt");
    V3.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect()
}

/// A clock that stands still.
struct Noon;

impl WallClock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp(1_767_268_800_000_000)
    }
}

/// Bytes from hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    pairs.iter().filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Pinned messages as seeds.
fn pins(names: &[&'static str]) -> Vec<(&'static str, Vec<u8>)> {
    names.iter().map(|name| (*name, pinned(name))).collect()
}
