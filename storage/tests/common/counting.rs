//! A filesystem that counts what is read and how many files are open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use weir_storage::{FaultyFs, File, Fs, Mode};

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

struct Counted {
    file: Box<dyn File>,
    path: PathBuf,
    counts: Arc<Counts>,
}

impl CountingFs {
    pub fn new(disk: FaultyFs) -> CountingFs {
        CountingFs { disk, counts: Arc::default() }
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

impl Fs for CountingFs {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let file = self.disk.open(path, mode)?;
        let counts = Arc::clone(&self.counts);
        let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most_open.fetch_max(open, Ordering::SeqCst);
        Ok(Box::new(Counted { file, path: path.to_owned(), counts }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

impl File for Counted {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, position)?;
        self.counts.read.lock().expect("not poisoned").push((self.path.clone(), read as u64));
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_at(bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}
