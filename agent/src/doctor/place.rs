//! The data directory: whether it can be written, how much room it has, and how long the disk takes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{StatVfsMountFlags, statvfs};
use weir_protocol::settings::ByteSize;

use super::{Check, Ground, Person};
use crate::queue::MIN_CAP;

/// A disk that takes longer than this to keep a page holds up every acknowledgement.
const SLOW: Duration = Duration::from_millis(250);
/// The segments of a class are so many directories deep.
const DEPTH: u32 = 2;
/// Segments with what is beside them, and what others need meanwhile.
const FEW_INODES: u64 = 256;
/// As much as the smallest commit writes.
const PAGE: [u8; 4096] = [0x5a; 4096];

pub(super) fn check(ground: &Ground<'_>, person: &Person) -> Vec<Check> {
    let dir = ground.config.data_dir.as_path();
    let subject = "data_dir";
    let shown = dir.display();
    let Some(existing) = dir.ancestors().find(|dir| dir.is_dir()) else {
        return vec![Check::problem(subject, format!("{shown}: no such directory"), "set data_dir to a whole path")];
    };
    let mut checks = Vec::new();
    if existing != dir {
        let make = format!("sudo install -d -o {0} -g {0} -m 700 {shown}", person.name);
        checks.push(match person.may_use(existing) {
            true => Check::ok(subject, format!("{shown} will be made by the first start")),
            false => {
                Check::problem(subject, format!("{shown} is not there, and {} may not make it", person.name), make)
            }
        });
    } else {
        checks.push(writes(dir, person));
    }
    checks.extend(room(ground, existing));
    checks
}

/// Writes a page as the queue does, and removes it.
fn writes(dir: &Path, person: &Person) -> Check {
    let subject = "data_dir";
    let shown = dir.display();
    let owner = format!("sudo chown -R {0}: {shown}", person.name);
    if !person.may_use(dir) {
        let found = format!("{shown}: its rights keep {} out, which the agent runs as", person.name);
        return Check::problem(subject, found, owner);
    }
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let began = Instant::now();
    let written = OpenOptions::new().write(true).create_new(true).open(&probe).and_then(|mut file| {
        file.write_all(&PAGE)?;
        file.sync_all()
    });
    let took = began.elapsed();
    // One that could not be made is not there.
    let _ = fs::remove_file(&probe);
    match written {
        Ok(()) if took > SLOW => Check::warning(
            subject,
            format!("{shown}: the disk takes {} ms to keep a page", took.as_millis()),
            "dmesg | grep -iE 'mmc|ata|nvme|i/o error' says whether it is failing; queue.commit_interval spares it",
        ),
        Ok(()) => Check::ok(subject, format!("{shown}: written and synced in {:.1} ms", took.as_secs_f64() * 1e3)),
        Err(error) => {
            let fix = match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => {
                    format!(
                        "dmesg | tail says why it became read-only; sudo mount -o remount,rw $(df --output=target {shown} | tail -1)"
                    )
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("df -h {shown}; free some space"),
                io::ErrorKind::PermissionDenied => {
                    "type it as root or as the agent's user: sudo weir-agent doctor".to_owned()
                }
                _ => format!("dmesg | tail; df -h {shown}"),
            };
            Check::problem(subject, format!("{shown}: {error}"), fix)
        }
    }
}

/// Whether the queue can grow to its cap.
fn room(ground: &Ground<'_>, existing: &Path) -> Option<Check> {
    let subject = "disk space";
    let dir = ground.config.data_dir.as_path();
    let found = match statvfs(existing) {
        Ok(found) => found,
        Err(error) => return Some(Check::problem(subject, format!("{}: {error}", existing.display()), "df -h")),
    };
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        // Said already.
        return None;
    }
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let cap = cap(ground);
    let wanted = cap.saturating_sub(taken(dir, DEPTH));
    let (free_shown, wanted_shown) = (whole(free), whole(wanted));
    if let Some(check) = inodes(found.f_files, found.f_favail, existing) {
        return Some(check);
    }
    Some(if free < wanted {
        let found = format!("{free_shown} free, and the queue may still grow by {wanted_shown}");
        let room = cap - wanted + free;
        let lower = if room < MIN_CAP { String::new() } else { format!(", or lower queue.cap below {}", whole(room)) };
        let fix = format!("df -h {}; free some space{lower}", existing.display());
        Check::warning(subject, found, fix)
    } else {
        Check::ok(subject, format!("{free_shown} free, {wanted_shown} needed for a full queue"))
    })
}

/// Whether the filesystem still lets files be made; some count none, and make as many as there is room for.
fn inodes(all: u64, free: u64, existing: &Path) -> Option<Check> {
    if all == 0 || free >= FEW_INODES {
        return None;
    }
    let shown = existing.display();
    let fix = format!("df -i {shown}; sudo du --inodes -xd1 / | sort -n says which directory has so many files");
    Some(match free {
        0 => Check::problem("disk space", "no more files can be made (inodes)", fix),
        _ => Check::warning("disk space", format!("only {free} more files can be made (inodes)"), fix),
    })
}

/// The most bytes that all classes of the queue may take.
fn cap(ground: &Ground<'_>) -> u64 {
    let queue = &ground.config.queue;
    let classes = queue.class.iter().map(|class| class.cap.get_ref().0);
    classes.fold(queue.cap.get_ref().0, u64::saturating_add)
}

/// Bytes of the files below a directory, `depth` levels of directories in it included, as far as they can be read.
fn taken(dir: &Path, depth: u32) -> u64 {
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() && depth > 0 => taken(&entry.path(), depth - 1),
        found => found.map_or(0, |found| found.len()),
    };
    fs::read_dir(dir).into_iter().flatten().flatten().map(size).sum()
}

/// In whole MiB, below which nobody wants to know.
fn whole(bytes: u64) -> ByteSize {
    ByteSize::mib(bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_disk_that_has_room_and_no_names_for_files_is_found() {
        let said = |all, free| inodes(all, free, Path::new("/data")).map(|check| check.verdict);
        assert_eq!([said(0, 0), said(1000, 256)], [None, None]);
        assert_eq!([said(1000, 255), said(1000, 0)], [Some(Verdict::Warning), Some(Verdict::Problem)]);
    }
}
