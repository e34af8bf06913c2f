//! Opening a queue that holds much: what it reads is bounded by a segment and not by the backlog.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_agent::queue::{ClassId, Incarnation, Policy, Queue, QueueOptions};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{Restart, Sequence};
use weir_storage::fs::{Operation, WatchedFs, Watcher};
use weir_storage::{FaultyFs, Fs};

use crate::support::desk::Desk;
use crate::support::device::Talker;

const R: Restart = Restart::from_boot(1, 1);
const CAP: u64 = 2 << 20;

/// Counts the bytes read.
#[derive(Default)]
struct Counting(AtomicU64);

impl Watcher for Counting {
    fn after(&self, operation: Operation, _: &Path, result: &io::Result<usize>) {
        if let (Operation::Read, Ok(read)) = (operation, result) {
            self.0.fetch_add(*read as u64, Ordering::Relaxed);
        }
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
    while desk.queue.room(ClassId::DEFAULT) > CAP / 8 {
        desk.hears(&talker.readings(R, (next, next + 2000), next, next + 2000));
        assert!(desk.commits());
        next += 2000;
        // The keeper does this when a segment begins.
        let now = desk.queue.reader(ClassId::DEFAULT).segments().len();
        if now > segments {
            desk.queue.trim().expect("a good disk");
            segments = now;
        }
    }
    assert!(segments > 10, "{segments} segments");
    drop(desk);
    let counting = Arc::new(Counting::default());
    let watcher: Arc<dyn Watcher> = Arc::clone(&counting) as _;
    let fs: Arc<dyn Fs> = Arc::new(WatchedFs::new(Arc::new(disk.power_cut()), watcher));
    let options = QueueOptions { cap: CAP, policy: Policy::Block, ..QueueOptions::default() };
    let (queue, recovered) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(1)).expect("it opens");
    // The last segment twice: its frames are checked, and its records are read on top of the state.
    let most = 2 * (CAP / 16) + (128 << 10);
    let got = counting.0.load(Ordering::Relaxed);
    assert!(got <= most, "{got} bytes read, expected at most {most}; {} records replayed", recovered.replayed);
    let state = queue.state();
    let state = state.lock();
    assert_eq!(state.restarts.get(&(talker.device, R)).map(|known| known.accepted), Some(Sequence(next)));
    let standings = state.standings(&[0]);
    assert!(standings[0].held.contains_all(0..next), "all of it is held: {standings:?}");
}
