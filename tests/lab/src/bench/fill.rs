//! A log of a given size, filled through the front as fast as it goes: large batches, of a few devices in one restart each.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::statvfs;

use super::load::{self, PUBLISHERS};
use super::payload::packets_in_turn;

/// Bytes of a payload: large, so that the log is filled soon.
const PAYLOAD: usize = 16 << 10;
/// Publishes of each publisher in one go, so that what is prepared fits into memory.
const EACH: u64 = 100;
/// What a reading takes in the log at the least, in bytes; the log holds no less than was asked for.
const READING: u64 = 60;
/// Room that must be left on the disk, in bytes.
const LEFT: u64 = 2 << 30;

/// Publishes until the log has grown by `bytes`, in readings of devices that start with `name`; how many readings that took.
pub(super) fn fill(mqtt: SocketAddr, name: &str, bytes: u64) -> Result<u64> {
    tokio::task::block_in_place(|| {
        let restart = load::new_restart();
        let (mut readings, mut sent) = (0, 0);
        while readings * READING < bytes {
            let each = EACH.min((bytes - readings * READING).div_ceil(PAYLOAD as u64 * PUBLISHERS as u64));
            let agents = (0..PUBLISHERS).map(|number| format!("{name}-{number}"));
            let packets = agents.map(|agent| packets_in_turn(&agent, &[&agent], sent..sent + each, PAYLOAD, restart));
            readings += load::run_packets(|| load::dial(mqtt), &packets.collect::<Result<Vec<_>>>()?)?.readings;
            sent += each;
        }
        Ok(readings)
    })
}

/// Whether the disk of `directory` has room for `bytes`; the error says what to do.
pub(super) fn room_for(bytes: u64, directory: &Path) -> Result<()> {
    let disk = statvfs(directory).with_context(|| format!("cannot look at the disk of {}", directory.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(
        free > bytes + LEFT,
        "{} GB are free in {}, {} are needed; set TMPDIR to a disk with more",
        free / 1_000_000_000,
        directory.display(),
        (bytes + LEFT) / 1_000_000_000
    );
    Ok(())
}

/// Bytes of all files below a directory.
pub(super) fn size_of(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        bytes += if kind.is_dir() { size_of(&path)? } else { kind.len() };
    }
    Ok(bytes)
}
