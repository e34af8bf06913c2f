//! A segment is synced from two sides, by a commit and behind the journal: an error that one of them is told is not
//! told to the other.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, values};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;
use std::{io, thread};
use weir_storage::fs::{Fault, Operation, WatchedFs, Watcher};
use weir_storage::{
    Committer, CommitterOptions, FaultyFs, Fs, Journal, JournalOptions, Log, LogOptions, Part, Submission, journal,
};

/// What happens at the segments, so that each side can wait for the other.
#[derive(Default)]
struct Events {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Unarmed,
    Armed,
    /// A sync in the background began, and waits for a commit to write into the same file.
    Began,
    Written,
    /// It failed, and was told so.
    Failed,
}

impl Events {
    fn reach(&self, from: Stage, to: Stage) {
        let mut stage = self.stage.lock().unwrap();
        if *stage == from {
            *stage = to;
            self.changed.notify_all();
        }
    }

    fn wait_for(&self, wanted: Stage) {
        let stage = self.stage.lock().unwrap();
        let waited = self.changed.wait_timeout_while(stage, Duration::from_secs(60), |stage| *stage < wanted);
        assert!(!waited.unwrap().1.timed_out(), "the other side never came");
    }

    fn is(&self, wanted: Stage) -> bool {
        *self.stage.lock().unwrap() == wanted
    }
}

/// The first sync of the first log in the background fails after a commit wrote into the same file.
struct Failing {
    disk: FaultyFs,
    events: Arc<Events>,
}

fn is_background() -> bool {
    thread::current().name() == Some("sync")
}

impl Watcher for Failing {
    fn before(&self, operation: Operation, path: &Path) {
        if operation != Operation::Sync || !path.starts_with(dir(0)) {
            return;
        }
        if is_background() && self.events.is(Stage::Armed) {
            self.events.reach(Stage::Armed, Stage::Began);
            self.events.wait_for(Stage::Written);
            self.disk.fail_once(Fault::Sync);
        } else if self.events.is(Stage::Written) {
            self.events.wait_for(Stage::Failed);
        }
    }

    fn after(&self, operation: Operation, path: &Path, result: &io::Result<usize>) {
        match operation {
            Operation::Write if path.starts_with(dir(0)) => self.events.reach(Stage::Began, Stage::Written),
            Operation::Sync if is_background() && result.is_err() => self.events.reach(Stage::Written, Stage::Failed),
            _ => {}
        }
    }
}

fn root() -> &'static Path {
    Path::new("/topics")
}

fn dir(log: usize) -> PathBuf {
    root().join(log.to_string())
}

fn logs(fs: &Arc<dyn Fs>) -> Vec<Log> {
    (0..2).map(|log| Log::open(Arc::clone(fs), &dir(log), LogOptions::default()).unwrap().0).collect()
}

fn commit(committer: &Committer, parts: &[(usize, &str)]) -> Vec<Part> {
    let (answer, answered) = mpsc::channel();
    let parts = parts.iter().map(|(log, value)| (*log, batch(&[value]))).collect();
    let done = Box::new(move |completion: weir_storage::Completion| answer.send(completion.parts).unwrap());
    committer.submit(Submission { parts, done }).unwrap();
    answered.recv().unwrap()
}

/// A commit wrote its bytes while the background synced the same file. The device refused them; the system told that
/// to the sync in the background, and the commit's own sync returned without an error: it acknowledged bytes that were
/// nowhere but in the page cache, and the journal, which mends the segment, never had them.
#[test]
fn a_commit_beside_a_failing_sync_in_the_background_is_on_disk_or_not_acknowledged() {
    common::for_each_seed("a_commit_beside_a_failing_sync", 20, |seed| {
        let disk = FaultyFs::new(seed);
        let events = Arc::new(Events::default());
        let fs: Arc<dyn Fs> = Arc::new(WatchedFs::new(
            Arc::new(disk.clone()),
            Arc::new(Failing { disk: disk.clone(), events: Arc::clone(&events) }),
        ));
        journal::recover(&fs, root()).unwrap();
        let opened = logs(&fs);
        let options = JournalOptions { bytes: journal::MIN_BYTES, salt: 7 };
        let journal = Journal::open(Arc::clone(&fs), root(), options).unwrap();
        let committing = CommitterOptions { max_parallel_syncs: 2, ..CommitterOptions::default() };
        let running = Committer::spawn_with(opened, committing, Some(journal)).unwrap();

        let mut acknowledged = Vec::new();
        events.reach(Stage::Unarmed, Stage::Armed);
        // The eighth does not fit into the half, whose segments are being synced from then on.
        for round in 0..8 {
            let value = format!("journaled {round}");
            assert!(commit(&running, &[(0, &value), (1, &value)]).iter().all(|part| part.result.is_ok()));
            acknowledged.push(value);
        }
        events.wait_for(Stage::Began);
        // Larger than a half of the journal, so that it goes to the segment directly.
        let behind = "behind it".repeat(journal::MIN_BYTES as usize);
        for value in ["beside it".repeat(journal::MIN_BYTES as usize), behind.clone()] {
            if commit(&running, &[(0, &value)])[0].result.is_ok() {
                acknowledged.push(value);
            }
        }
        assert!(acknowledged.contains(&behind), "commits go on");

        let survivor: Arc<dyn Fs> = Arc::new(disk.power_cut());
        journal::recover(&survivor, root()).unwrap();
        let found = values(&logs(&survivor)[0].reader());
        assert_eq!(found, acknowledged);
    });
}
