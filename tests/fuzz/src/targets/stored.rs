//! What a disk may give back: segments, state files, checkpoints, records.

use std::path::Path;
use std::sync::Arc;

use weir_agent::queue::{Claims, Incarnation, State};
use weir_agent::transfer::import;
use weir_gateway::record::Value;
use weir_storage::{Batch, FaultyFs, Fs, Log, LogOptions, Mode};

use super::pinned;
use crate::target::Target;

pub(super) const SEGMENT: Target = Target {
    name: "segment",
    run: weir_storage::fuzz::segment,
    max_len: 4096,
    memory: 4 << 20,
    inputs: 30_000,
    seeds: segments,
};
pub(super) const STATE: Target = Target {
    name: "state",
    run: |bytes| {
        weir_storage::fuzz::state(bytes);
        let _ = State::decode(bytes);
        let _ = Claims::decode(bytes);
    },
    max_len: 4096,
    memory: 1 << 20,
    inputs: 200_000,
    seeds: || {
        let windows = super::format_3().get("state").map(|hex| super::bytes(hex)).unwrap_or_default();
        vec![("agent", State::new(Incarnation(7)).encode()), ("windows", windows)]
    },
};
pub(super) const EXPORT: Target = Target {
    name: "export",
    run: |bytes| {
        let _ = import::check(bytes);
    },
    max_len: 4096,
    memory: 4 << 20,
    inputs: 50_000,
    seeds: || vec![("lines", EXPORTED.as_bytes().to_vec())],
};
/// A small export of an agent's queue.
const EXPORTED: &str = concat!(
    r#"{"type":"export","version":1}"#,
    "\n",
    r#"{"type":"reading","tenant":"default","device":"b","restart":"7","sequence":5,"schema":"0a1b2c3d","channel":0,"time_us":1,"clock":"uptime","kind":"float","value":21.3}"#,
    "\n",
    r#"{"type":"claim","tenant":"default","device":"b","restart":"7","kind":"queue","start":6,"end":9}"#,
    "\n",
    r#"{"type":"total","readings":1,"claims":1,"ends":0}"#,
    "\n",
);
pub(super) const CHECKPOINT: Target = Target {
    name: "checkpoint",
    run: |bytes| {
        weir_gateway::fuzz::checkpoint(bytes);
        let content = &bytes[..bytes.len().saturating_sub(4)];
        weir_gateway::fuzz::checkpoint(&[content, &crc32c::crc32c(content).to_be_bytes()].concat());
    },
    max_len: 4096,
    memory: 4 << 20,
    inputs: 200_000,
    seeds: checkpoints,
};
pub(super) const RECORD: Target = Target {
    name: "record",
    run: |bytes| drop(Value::decode(bytes)),
    max_len: 4096,
    memory: 1 << 20,
    inputs: 200_000,
    seeds: records,
};
pub(super) const SESSIONS: Target = Target {
    name: "sessions",
    run: weir_gateway::fuzz::kept,
    max_len: 4096,
    memory: 1 << 20,
    inputs: 200_000,
    seeds: kept,
};

/// The segment that a log writes.
fn segments() -> Vec<(&'static str, Vec<u8>)> {
    let disk = FaultyFs::new(0);
    let dir = Path::new("/log");
    let written = || -> Option<Vec<u8>> {
        let (mut log, _) = Log::open(Arc::new(disk.clone()), dir, LogOptions::default()).ok()?;
        for frame in 0..3 {
            let mut batch = Batch::new();
            for record in 0..2 {
                batch.push(1_767_225_600_000 + frame, Some(b"key"), Some(&[record; 20]), &[]).ok()?;
            }
            log.commit(&mut batch).ok()?;
        }
        drop(log);
        let file = disk.open(&dir.join("00000000000000000000.log"), Mode::Read).ok()?;
        let mut bytes = vec![0; file.size().ok()? as usize];
        let read = file.read_at(&mut bytes, 0).ok()?;
        (read == bytes.len()).then_some(bytes)
    };
    written().into_iter().map(|bytes| ("three-frames", bytes)).collect()
}

/// A checkpoint of a readings log, written by hand from its format: a device with two restarts.
fn checkpoints() -> Vec<(&'static str, Vec<u8>)> {
    let mut body = vec![1, 0, 0x80, 0x01];
    body.extend(b"\x02\x07default\x07porch-1\x02");
    body.extend(5_u64.to_be_bytes());
    body.extend([1, 1, 0, 100]);
    body.extend(6_u64.to_be_bytes());
    body.extend([2, 40, 2, 50, 10, 5, 5]);
    body.extend(b"\x03\x07default\x07porch-1\x01");
    body.extend([0, 0, 0, 9, 1, 0, 3, 0]);
    body.extend(0.5_f32.to_be_bytes());
    body.extend(b"\x04temp\x03Cel");
    body.extend([4, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
    let mut file = b"WRNG\x00\x01\x00\x00\x00\x00\x00\x02".to_vec();
    for number in [1000, 0, 1_767_225_600_000, body.len() as u64] {
        file.extend(number.to_be_bytes());
    }
    file.extend(&body);
    file.extend(crc32c::crc32c(&file).to_be_bytes());
    let mut pages = b"\x02\x07default\x07porch-1\x01\x00\x00\x00\x00\x00\x00\x00\x05\x08\x01\x00\x64".to_vec();
    // Two blocks that look the same.
    pages.extend([&[2, 1, 0][..], &[0x55; 512], &[0, 1]].concat());
    vec![("readings", file), ("body", body), ("pages", pages)]
}

/// Values of every schema, as an independent Avro encoder wrote them.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    const BY_FASTAVRO: [(&str, &str); 4] = [
        ("reading", "00000000010e64656661756c740a6e6f7274680a70726f62650231000274023101000004dfc50801"),
        ("loss", "00000000020e64656661756c740a6e6f7274680a70726f62650237187461696c2d756e6b6e6f776e00021800"),
        (
            "dead-letter",
            "00000000030e64656661756c740a6e6f727468020a70726f62650237020401001e756e6b6e6f776e2d6368616e6e656c0242020600ff10",
        ),
        (
            "description",
            "00000000040e64656661756c740a6e6f7274680a70726f626510303063306666656504d8041674656d70657261747572650643656c000000803e080a73746174650231080000000000",
        ),
    ];
    let mut all: Vec<_> = BY_FASTAVRO.iter().map(|(name, hex)| (*name, super::bytes(hex))).collect();
    all.push(("noise", pinned("up.readings")));
    all
}

/// Pinned records of every kind that the gateway keeps of MQTT clients: the length of the key, the key, the value.
fn kept() -> Vec<(&'static str, Vec<u8>)> {
    const VERSION_1: [(&str, &str); 8] = [
        ("session", "10010100046d696c6c000670756d702f3101000000000000010200000e10010000000000001388"),
        (
            "subscription",
            "15010200046d696c6c000670756d702f310003612f2b0100000000000001022500000009000100086d6573736167657300000002000000000000012c",
        ),
        (
            "positions",
            "10010300046d696c6c000670756d702f31010000000000000102000100086d6573736167657300000002000000000000012c",
        ),
        ("history", "10010400046d696c6c000670756d702f310100000000000000070000000000000008"),
        ("open-id", "12010500046d696c6c000670756d702f3101040100000000000001020000000000000007"),
        (
            "will",
            "10010600046d696c6c000670756d702f31010000000000000102020100000005010000003c00000003612f6200000002010100000004676f6e65",
        ),
        ("clock", "020107010000000000001388"),
        (
            "retained",
            "0e0100046d696c6c00000003612f620101010000003c0000000000001388000670756d702f31000000020101000000026f6e",
        ),
    ];
    VERSION_1.iter().map(|(name, hex)| (*name, super::bytes(hex))).collect()
}
