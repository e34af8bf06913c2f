//! A filesystem that counts what is read and how many files are open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use weir_storage::fs::{Operation, WatchedFs, Watcher};
use weir_storage::{FaultyFs, Fs};

#[derive(Clone)]
pub struct CountingFs {
    pub disk: FaultyFs,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    open: AtomicU64,
    most_open: AtomicU64,
    read: Mutex<Vec<(PathBuf, u64)>>,
}

impl CountingFs {
    pub fn new(disk: FaultyFs) -> CountingFs {
        CountingFs { disk, counts: Arc::default() }
    }

    /// The disk, counted.
    pub fn watched(&self) -> Arc<dyn Fs> {
        let counts: Arc<dyn Watcher> = Arc::clone(&self.counts) as _;
        Arc::new(WatchedFs::new(Arc::new(self.disk.clone()), counts))
    }

    /// Bytes read since the last call from files whose name ends like this.
    pub fn take_read(&self, ending: &str) -> u64 {
        let mut read = self.counts.read.lock().expect("not poisoned");
        let (ours, others) = read.drain(..).partition(|(path, _)| path.to_string_lossy().ends_with(ending));
        *read = others;
        let ours: Vec<(PathBuf, u64)> = ours;
        ours.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The most files that were ever open at once.
    pub fn most_open(&self) -> u64 {
        self.counts.most_open.load(Ordering::SeqCst)
    }
}

impl Watcher for Counts {
    fn before(&self, operation: Operation, _: &Path) {
        if operation == Operation::Close {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn after(&self, operation: Operation, path: &Path, result: &io::Result<usize>) {
        match (operation, result) {
            (Operation::Open, Ok(_)) => {
                let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
                self.most_open.fetch_max(open, Ordering::SeqCst);
            }
            (Operation::Read, Ok(read)) => {
                self.read.lock().expect("not poisoned").push((path.to_owned(), *read as u64));
            }
            _ => {}
        }
    }
}
