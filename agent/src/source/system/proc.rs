//! Processor, load, memory and uptime, from `/proc` (proc(5)).

use std::fs;
use std::path::Path;

use weir_protocol::ValueKind;

use super::sample::Sink;

/// Processor time in ticks since boot, idle and in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuTime {
    idle: u64,
    total: u64,
}

pub(super) fn sample(root: &Path, busy: &mut Option<CpuTime>, sink: &mut Sink<'_>) {
    let read = |name: &str| fs::read_to_string(root.join("proc").join(name)).ok();
    match read("stat").as_deref().and_then(cpu_time) {
        Some(now) => match busy.replace(now).and_then(|before| usage(before, now)) {
            Some(usage) => sink.double("cpu.usage", "%", 0.01, Some(usage)),
            // Named by the first sample too, which has nothing to compare with: one description for all.
            None => sink.channel("cpu.usage", "%", ValueKind::Double, 0.01),
        },
        None => sink.failed("cpu.usage", "/proc/stat cannot be read"),
    }
    let load = read("loadavg").and_then(|text| text.split(' ').next()?.parse().ok());
    sink.double("load.1m", "1", 0.01, load);
    let uptime = read("uptime").and_then(|text| text.split(' ').next()?.parse().ok());
    sink.double("uptime", "s", 0.01, uptime);
    let memory = read("meminfo").unwrap_or_default();
    sink.integer("memory.total", "By", kibibytes(&memory, "MemTotal"));
    sink.integer("memory.available", "By", kibibytes(&memory, "MemAvailable"));
    sink.integer("swap.free", "By", kibibytes(&memory, "SwapFree"));
}

fn cpu_time(stat: &str) -> Option<CpuTime> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // Guest time is contained in user time already.
    let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let idle = fields.get(3)? + fields.get(4).unwrap_or(&0);
    Some(CpuTime { idle, total: fields.iter().sum() })
}

fn usage(before: CpuTime, now: CpuTime) -> Option<f64> {
    // Idle time may go back by a tick on some kernels.
    let (idle, total) = (now.idle.saturating_sub(before.idle), now.total.checked_sub(before.total)?);
    // Between two samples within one tick there is nothing to say.
    (total > 0).then(|| 100.0 * total.saturating_sub(idle) as f64 / total as f64)
}

/// A line of meminfo, which counts KiB, in bytes.
fn kibibytes(meminfo: &str, key: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<i64>().ok()?.checked_mul(1024)
}
