//! The targets, by where their bytes come from.

mod import;
mod intake;
mod kafka;
mod messages;
mod mqtt;
mod serial;
mod settings;
mod stored;

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
    settings::AGENT,
    settings::GATEWAY,
];

/// A line of `protocol/tests/format/v1.txt`.
fn pinned(name: &str) -> Vec<u8> {
    const V1: &str = include_str!("../../../../protocol/tests/format/v1.txt");
    bytes(V1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default())
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
