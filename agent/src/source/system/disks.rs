//! Room on filesystems (statvfs(3)), and bytes moved by disks since boot, from `/proc/diskstats`
//! (Documentation/admin-guide/iostats.rst of the Linux kernel).

use std::fs;
use std::path::{Path, PathBuf};

use super::sample::Sink;

/// diskstats counts in these, whatever the disk has.
const SECTOR: i64 = 512;

pub(super) fn sample(root: &Path, mounts: &[PathBuf], sink: &mut Sink<'_>) {
    for mount in mounts {
        let name = match mount.to_string_lossy().trim_matches('/') {
            "" => "root".to_owned(),
            path => path.replace('/', "."),
        };
        match rustix::fs::statvfs(mount) {
            Ok(found) => {
                let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).ok();
                sink.integer(&format!("disk.{name}.total"), "By", bytes(found.f_blocks));
                sink.integer(&format!("disk.{name}.available"), "By", bytes(found.f_bavail));
            }
            Err(error) => sink.failed(&format!("disk.{name}"), format!("{}: {error}", mount.display())),
        }
    }
    let stats = match fs::read_to_string(root.join("proc/diskstats")) {
        Ok(stats) => stats,
        Err(error) => return sink.failed("disk", format!("/proc/diskstats: {error}")),
    };
    for line in stats.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(read), Some(written)) = (fields.get(2), fields.get(5), fields.get(9)) else { continue };
        // Whole disks only: a partition is part of one, and loop and ram devices are none.
        let whole = root.join("sys/block").join(name).join("device").exists();
        if whole {
            let bytes = |sectors: &str| sectors.parse::<i64>().ok()?.checked_mul(SECTOR);
            sink.integer(&format!("disk.{name}.read"), "By", bytes(read));
            sink.integer(&format!("disk.{name}.written"), "By", bytes(written));
        }
    }
}
