//! Opening a queue that holds much: what it reads is bounded by a segment and not by the backlog.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_agent::queue::{Incarnation, Policy, Queue, QueueOptions};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{Restart, Sequence};
use weir_storage::{FaultyFs, File, Fs, Mode};

use crate::support::desk::Desk;
use crate::support::device::Talker;

const R: Restart = Restart::from_boot(1, 1);
const CAP: u64 = 2 << 20;

/// A disk that counts the bytes read.
struct Counting {
    disk: FaultyFs,
    read: Arc<AtomicU64>,
}

struct CountingFile {
    file: Box<dyn File>,
    read: Arc<AtomicU64>,
}

impl Fs for Counting {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        Ok(Box::new(CountingFile { file: self.disk.open(path, mode)?, read: Arc::clone(&self.read) }))
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

impl File for CountingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, position)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
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

#[test]
fn opening_a_full_queue_reads_no_more_than_its_last_segment_and_the_state() {
    let disk = FaultyFs::new(1);
    let mut desk = Desk::with_cap(&disk, Policy::Block, CAP);
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    desk.hears(&talker.describe());
    let mut next = 0;
    let mut segments = 0;
    while desk.queue.room() > CAP / 8 {
        desk.hears(&talker.readings(R, (next, next + 2000), next, next + 2000));
        assert!(desk.commits());
        next += 2000;
        // The keeper does this when a segment begins.
        let now = desk.queue.reader().segments().len();
        if now > segments {
            desk.queue.trim().expect("a good disk");
            segments = now;
        }
    }
    assert!(segments > 10, "{segments} segments");
    drop(desk);
    let read = Arc::new(AtomicU64::new(0));
    let fs: Arc<dyn Fs> = Arc::new(Counting { disk: disk.power_cut(), read: Arc::clone(&read) });
    let options = QueueOptions { cap: CAP, policy: Policy::Block, commit_interval: Duration::ZERO };
    let (queue, recovered) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(1)).expect("it opens");
    // The last segment twice: its frames are checked, and its records are read on top of the state.
    let most = 2 * (CAP / 16) + (128 << 10);
    let got = read.load(Ordering::Relaxed);
    assert!(got <= most, "{got} bytes read, expected at most {most}; {} records replayed", recovered.replayed);
    let state = queue.state();
    let state = state.lock();
    assert_eq!(state.restarts.get(&(talker.device, R)).map(|known| known.accepted), Some(Sequence(next)));
    let standings = state.standings(0);
    assert!(standings[0].held.contains_all(0..next), "all of it is held: {standings:?}");
}
