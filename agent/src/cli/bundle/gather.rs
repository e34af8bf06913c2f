//! What goes into a bundle. Whatever cannot be had is said in its place.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::Entry;
use crate::cli::{doctor, queue as commands};
use crate::config::Config;
use crate::doctor::{Ground, examine};
use crate::local::ask;
use crate::queue::{Examination, Inspection, Summary, Vault};

/// How long one step towards a gateway may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a program of the system may take.
const PROGRAM: Duration = Duration::from_secs(10);
/// The most that is kept of what a program prints, in bytes.
const MAX_PRINTED: u64 = 4 << 20;
/// The most files that are listed.
const MAX_FILES: usize = 10_000;

/// The version, the kernel and the distribution.
pub(super) fn about() -> String {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!(
        "weir-agent {}\n{} {} {}\n\n{}\n{}",
        env!("CARGO_PKG_VERSION"),
        text(uname.sysname()),
        text(uname.release()),
        text(uname.machine()),
        fs::read_to_string("/etc/os-release").unwrap_or_default(),
        fs::read_to_string("/proc/meminfo").unwrap_or_default(),
    )
}

/// Who set what.
pub(super) fn sources(config: &Config) -> String {
    document(Ok::<_, String>(&*config.written))
}

/// What the running agent says, and the doctor of its machine.
pub(super) async fn agent(config: &Config) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, path) in [
        ("status.json", "/status"),
        ("settings-running.json", "/settings"),
        ("health.json", "/healthz"),
        ("metrics.txt", "/metrics"),
    ] {
        let answer = async { Ok::<_, ask::AskError>(ask::ask(config, path).await?.text().await?) };
        entries.push(Entry { name, text: answer.await.unwrap_or_else(|error| error.to_string()) });
    }
    let checks = examine(&Ground::here(config, PATIENCE)).await;
    let lines: Vec<String> = checks.iter().map(doctor::text).collect();
    entries.push(Entry { name: "doctor.txt", text: lines.join("\n") });
    entries
}

/// The queue, from its files: what is held, and whether it is sound. No reading is among it.
pub(super) fn queue(config: &Config) -> Vec<Entry> {
    let (fs, dir) = (commands::fs(), &config.data_dir);
    let vault = match Vault::of(config) {
        Ok(vault) => Arc::new(vault),
        Err(error) => return vec![Entry { name: "queue.txt", text: error.to_string() }],
    };
    vec![
        Entry { name: "queue-stat.json", text: document(Summary::read(&fs, dir, &vault)) },
        Entry { name: "queue-inspect.json", text: document(Inspection::read(&fs, dir, &vault)) },
        Entry { name: "queue-verify.json", text: document(Examination::read(&fs, dir, &vault)) },
    ]
}

fn document(found: Result<impl Serialize, impl std::fmt::Display>) -> String {
    let document = |found| serde_json::to_string_pretty(&found).unwrap_or_else(|error| error.to_string());
    found.map_or_else(|error| error.to_string(), document)
}

/// The disks, the unit and its log.
pub(super) fn machine(data_dir: Option<&Path>) -> Vec<Entry> {
    let mut entries = vec![
        Entry { name: "df.txt", text: printed("df", &["-h"]) },
        Entry { name: "inodes.txt", text: printed("df", &["-i"]) },
        Entry { name: "mounts.txt", text: fs::read_to_string("/proc/mounts").unwrap_or_default() },
        Entry { name: "clock.txt", text: printed("timedatectl", &["--no-pager"]) },
        Entry {
            name: "serial.txt",
            text: document(Ok::<_, String>(crate::source::serial::listing::list(Path::new("/")))),
        },
        Entry { name: "unit.txt", text: printed("systemctl", &["--no-pager", "status", "weir-agent"]) },
        Entry {
            name: "journal.txt",
            text: printed("journalctl", &["--no-pager", "-u", "weir-agent", "-n", "2000", "-o", "short-iso"]),
        },
    ];
    entries.extend(data_dir.map(|dir| Entry { name: "files.txt", text: files(dir) }));
    entries
}

/// What a program prints.
fn printed(program: &str, words: &[&str]) -> String {
    let started =
        Command::new(program).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return format!("{program}: {error}"),
    };
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error is worth having.
            let _ = stdout.take(MAX_PRINTED).read_to_end(&mut bytes);
            // Nobody waits any more: it took too long.
            let _ = sender.send(bytes);
        });
    }
    let bytes = receiver.recv_timeout(PROGRAM);
    // It may be over; then there is nothing to end.
    let _ = child.kill();
    let _ = child.wait();
    match bytes {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => format!("{program}: no end within {} s", PROGRAM.as_secs()),
    }
}

/// Names, sizes, rights and owners below a directory; no contents.
fn files(dir: &Path) -> String {
    let mut text = String::new();
    let (mut left, mut listed) = (vec![dir.to_owned()], 0);
    while let Some(dir) = left.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) => {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}: {error}", dir.display());
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            listed += 1;
            if listed > MAX_FILES {
                let _ = writeln!(text, "and more than {MAX_FILES}");
                return text;
            }
            let (mode, user, group, size) = (found.mode() & 0o7777, found.uid(), found.gid(), found.len());
            let _ = writeln!(text, "{mode:04o} {user:>6} {group:>6} {size:>12}  {}", entry.path().display());
            if found.is_dir() {
                left.push(entry.path());
            }
        }
    }
    text
}
