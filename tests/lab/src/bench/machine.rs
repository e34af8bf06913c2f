//! What the numbers were measured on.

use std::fs;
use std::path::Path;

/// One line: processor, cores, memory, kernel, version.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kernel = read("/proc/sys/kernel/osrelease");
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    format!(
        "Weir {} ({build}) on {cores} cores of {cpu}, {memory} memory, Linux {}.",
        env!("CARGO_PKG_VERSION"),
        kernel.trim()
    )
}

/// One line: the filesystem that a directory is on, and what it lies on.
pub(crate) fn disk(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_line = |line: &str| -> Option<(usize, String)> {
        let fields: Vec<&str> = line.split(' ').collect();
        let [device, place, kind, ..] = fields[..] else { return None };
        let journal = if has_journal(device, kind) { "" } else { ", no journal" };
        directory.starts_with(place).then(|| (place.len(), format!("{kind} on {device}{journal}.")))
    };
    // The last and longest that fits is what is seen.
    let found = mounts.lines().filter_map(of_line).max_by_key(|(length, _)| *length);
    found.map_or_else(|| "An unknown filesystem.".to_owned(), |(_, said)| said)
}

/// An ext4 without a journal commits faster; the kernel has a directory for the journal of each that has one.
fn has_journal(device: &str, kind: &str) -> bool {
    let Some(name) = device.strip_prefix("/dev/").filter(|_| kind == "ext4") else { return true };
    let journals = fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    journals.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}-")))
}
