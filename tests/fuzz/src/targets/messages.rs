//! What travels over MQTT: batches, descriptions, commands; as the protocol decodes them and as the gateway does.

use weir_protocol::batch::{Envelope, RestartEnd, Section, command, describe};
use weir_protocol::checksum::crc32;
use weir_protocol::{Restart, Sequence, items};

use super::{pinned, pins};
use crate::target::Target;

/// A body may be 4 MiB, and so may what is made of it; a small input may compress one.
pub(super) const BATCH: Target =
    Target { name: "batch", run: batch, max_len: 16 << 10, memory: 40 << 20, inputs: 30_000, seeds: batches };
pub(super) const DESCRIBE: Target = Target {
    name: "describe",
    run: description,
    max_len: 16 << 10,
    memory: 1 << 20,
    inputs: 200_000,
    seeds: || pins(&["describe"]),
};
pub(super) const COMMAND: Target = Target {
    name: "command",
    run: |bytes| {
        let _ = command::decode(bytes);
        let _ = command::decode(&sealed(bytes));
    },
    max_len: 1024,
    memory: 64 << 10,
    inputs: 200_000,
    seeds: || pins(&["command.describe"]),
};

fn batch(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), resealed(bytes)] {
        if let Ok(envelope) = Envelope::open(&bytes) {
            let _ = envelope.manifest().count();
            let mut buffer = Vec::new();
            for section in envelope.sections(&mut buffer).iter().flat_map(|sections| sections.iter()).flatten() {
                match section {
                    Section::Readings(run) => drop(run.iter().count()),
                    Section::Position(position) => drop(position.held.iter().count()),
                    Section::Summary(summary) => drop((summary.ranges.iter().count(), summary.run.iter().count())),
                    Section::SetAside(aside) => drop(aside.run.iter().count()),
                    Section::Claim(_) | Section::End(_) => {}
                }
            }
        }
        weir_gateway::fuzz::message(&bytes);
    }
}

/// The envelope with both checksums right, as far as its lengths allow.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let Some(length) = out.get(4..8).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes) else {
        return out;
    };
    let body = 16_usize.saturating_add(length as usize).saturating_add(4);
    if out.len() < body {
        return out;
    }
    let crc = crc32(&out[body..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32(&out[..body - 4]);
    out[body - 4..body].copy_from_slice(&crc.to_le_bytes());
    out
}

fn description(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), sealed(bytes)] {
        let _ = describe::decode(&bytes);
        weir_gateway::fuzz::message(&bytes);
    }
}

/// The message with its checksum right.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let content = &bytes[..bytes.len().saturating_sub(4)];
    [content, &crc32(content).to_le_bytes()].concat()
}

fn batches() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = pins(&[
        "batch.empty",
        "batch.readings",
        "batch.claims",
        "batch.end",
        "batch.position",
        "batch.every-section",
        "batch.decided",
        "batch.summary",
        "batch.set-aside",
        "batch.zstd",
    ]);
    all.push(("bomb", bomb()));
    all
}

/// A few hundred bytes that hold 4 MiB of sections.
fn bomb() -> Vec<u8> {
    let manifest_of_none = pinned("batch.empty");
    let Ok(device) = weir_protocol::DeviceId::new("d") else { return manifest_of_none };
    let mut builder = weir_protocol::batch::EnvelopeBuilder::new();
    let end = Section::End(RestartEnd { device, restart: Restart(1), from: Sequence(0) });
    let mut encoded = Vec::new();
    items::push(&mut encoded, &end);
    for _ in 0..weir_protocol::batch::MAX_BODY / encoded.len() {
        builder.push_encoded(&end, &encoded);
    }
    builder.finish(true)
}
