//! `doctor`: each thing that can be wrong with a machine is found, and what to type is said.

mod machine;
mod trust;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use weir_agent::config::Config;
use weir_agent::doctor::{Check, Ground, Verdict, examine};
use weir_protocol::settings::Source;

/// Saturday, 21 November 2026, noon.
const NOON: i64 = 1_795_262_400;
const DAY: i64 = 86_400;

/// A machine whose agent runs as user 54321, a member of no group but its own, with a data directory that it owns.
struct Machine {
    dir: tempfile::TempDir,
    now: i64,
    is_synchronised: bool,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().expect("a directory"), now: NOON, is_synchronised: true };
        machine.writes(
            "proc/self/status",
            "Name:\tweir\nUid:\t54321\t54321\t54321\t54321\nGid:\t5\t5\t5\t5\nGroups:\t5\n",
        );
        machine.writes("proc/self/limits", "Limit  Soft  Hard  Units\nMax open files            4096   4096   files\n");
        machine.writes("etc/passwd", "root:x:0:0::/:/bin/sh\nedge:x:54321:54321::/:/bin/sh\n");
        machine.writes("etc/group", &format!("dialout:x:{}:\n", machine.group()));
        fs::create_dir(machine.data()).expect("a directory");
        fs::set_permissions(machine.data(), fs::Permissions::from_mode(0o777)).expect("rights");
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn data(&self) -> std::path::PathBuf {
        self.path("data")
    }

    /// The group that files of this test have.
    fn group(&self) -> u32 {
        fs::metadata(self.dir.path()).expect("a directory").gid()
    }

    fn writes(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    async fn examined(&self, settings: &str) -> Vec<Check> {
        let settings = format!("name = \"edge-1\"\ndata_dir = {:?}\n{settings}", self.data());
        let config = Config::of(&Source::new("settings", &settings)).expect("good settings");
        let before = files(&self.data());
        let ground = Ground {
            config: &config,
            root: self.dir.path().to_owned(),
            now: self.now,
            is_synchronised: self.is_synchronised,
            patience: Duration::from_millis(300),
        };
        let checks = examine(&ground).await;
        assert_eq!(files(&self.data()), before, "nothing stays behind");
        checks
    }

    /// What is said about `subject`, as it is printed.
    async fn says(&self, settings: &str, subject: &str, verdict: Verdict, words: &[&str]) {
        let checks = self.examined(settings).await;
        let said = |check: &Check| {
            let all = format!("{} {}", check.found, check.fix.clone().unwrap_or_default());
            check.subject.starts_with(subject)
                && check.verdict == verdict
                && words.iter().all(|word| all.contains(word))
        };
        assert!(checks.iter().any(said), "no {subject} {verdict:?} with {words:?} in {checks:#?}");
        assert!(checks.iter().all(|check| (check.verdict == Verdict::Ok) == check.fix.is_none()), "{checks:#?}");
    }
}

fn files(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}
