//! An edge box as they are: a small disk, faults of it, and a link that is up for three seconds of every minute.
//!
//! A queue of 2 MiB on a disk of 4 MiB; in the middle every write fails for a while, as after a remount read-only, and
//! for ten seconds every sync fails with EIO. No crash, no wedge, and every reading is with the gateway or counted as
//! lost, exactly once.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_agent::queue::{Key, Policy, QueueOptions};
use weir_agent::uplink::spool::Spool;
use weir_protocol::Restart;
use weir_protocol::batch::{Envelope, LossKind};
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use crate::seeds::for_each_seed;
use crate::support::books::Books;
use crate::support::desk::Desk;
use crate::support::device::Talker;
use crate::support::kept::Kept;

const R: Restart = Restart::from_boot(1, 1);
const RING: u64 = 4000;
const DISK: u64 = 4 << 20;
const QUEUE: u64 = 2 << 20;
/// Readings a second, so that the queue fills within the story.
const RATE: u64 = 2800;
/// Bytes that the link takes in a second in which it is up.
const LINK: usize = 20_000;

struct EdgeBox {
    disk: FaultyFs,
    desk: Desk,
    talker: Talker,
    spool: Spool,
    books: Books,
    base: u64,
    next: u64,
}

impl EdgeBox {
    fn new(seed: u64, policy: Policy) -> Self {
        let disk = FaultyFs::new(seed);
        disk.set_capacity(Some(DISK));
        let desk = Desk::with_options(&disk, QueueOptions { cap: QUEUE, policy, ..QueueOptions::default() });
        let spool = Spool::new(&desk.queue, 8 << 10, true);
        let talker = Talker::new("board-1", Ring::Durable);
        let mut edge = Self { disk, desk, talker, spool, books: Books::default(), base: 0, next: 0 };
        edge.greets();
        edge
    }

    fn key(&self) -> Key {
        (self.talker.device, R)
    }

    fn greets(&mut self) {
        self.desk.hears(&self.talker.hello(&[(R, self.base, self.next)]));
        self.desk.hears(&self.talker.describe());
    }

    fn samples(&mut self, count: u64) {
        self.next += count;
        self.base = self.base.max(self.next.saturating_sub(RING));
    }

    /// The device sends what it holds, as far as the agent takes it.
    fn talks(&mut self) {
        for _ in 0..7 {
            let end = self.next.min(self.base + 500);
            self.desk.intake.set_rooms(self.desk.queue.rooms());
            self.desk.hears(&self.talker.readings(R, (self.base, self.next), self.base, end));
            self.desk.commits();
            for down in self.desk.answers() {
                if let Down::Ack { accepted, .. } = down {
                    self.base = self.base.max(accepted.0.min(self.next));
                }
            }
            if self.desk.queue.wants_room() {
                // On a disk that fails it keeps more than it must, no less.
                let _ = self.desk.queue.make_room();
            }
        }
    }

    /// A second of the link: fresh before old, claims beside them.
    fn ships(&mut self) {
        let claims = self.desk.queue.state().lock().claims.sections(64);
        for claim in claims {
            self.books.take(&Kept::of(&claim));
            self.desk.queue.state().lock().claims.remove(&claim);
        }
        let mut left = LINK;
        while let Some(batch) = self.spool.lanes().find_map(|lane| {
            self.spool.fill(lane, usize::MAX).expect("a readable queue");
            self.spool.take(lane)
        }) {
            let envelope = Envelope::open(&batch.payload).expect("a good envelope");
            let mut buffer = Vec::new();
            for section in envelope.sections(&mut buffer).expect("a good body") {
                self.books.take(&Kept::of(&section.expect("a good section")));
            }
            self.spool.shipped(&batch);
            if batch.bytes > left {
                break;
            }
            left -= batch.bytes;
        }
    }
}

#[test]
fn a_small_disk_that_fails_and_a_link_that_is_mostly_down_lose_exactly_what_is_counted() {
    for_each_seed("a_small_disk_that_fails", 3, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let policy = [Policy::Block, Policy::DropOldest, Policy::DropNewest][seed as usize % 3];
        let mut edge = EdgeBox::new(seed, policy);
        for second in 0..240 {
            match second {
                80 => edge.disk.fail_sometimes(Fault::Write, 1000),
                100 => edge.disk.fail_sometimes(Fault::Write, 0),
                150 => edge.disk.fail_sometimes(Fault::Sync, 1000),
                160 => edge.disk.fail_sometimes(Fault::Sync, 0),
                _ => {}
            }
            edge.samples(RATE + random.random_range(0..100));
            edge.talks();
            if second % 60 == 57 {
                edge.spool.rewind();
            }
            if second % 60 >= 57 {
                edge.ships();
            }
            if second % 10 == 9 {
                let _ = edge.desk.queue.trim();
            }
            assert!(edge.disk.used_bytes() <= DISK);
        }
        // The link stays, nothing more is sampled, and the device gives what it still has.
        let mut rounds = 0;
        while edge.base < edge.next || !edge.desk.queue.is_empty() {
            edge.greets();
            edge.talks();
            edge.ships();
            edge.desk.queue.trim().expect("a good disk");
            rounds += 1;
            assert!(rounds < 2000, "wedged at {} of {}", edge.base, edge.next);
        }
        let key = edge.key();
        let next = edge.next;
        edge.books.ship(&edge.desk.queue);
        assert!(edge.books.lost(key, LossKind::Unaccounted).is_empty(), "nothing is lost without a cause");
        assert!(edge.books.balances(key, 0..next), "{policy:?}: every reading is stored or counted, and none is both");
        let lost = |kind| edge.books.lost(key, kind).iter().map(|range| range.end - range.start).sum::<u64>();
        let (ring, queue) = (lost(LossKind::Ring), lost(LossKind::Queue));
        assert!(ring > 0, "the device ran over while the disk failed");
        assert_eq!(queue > 0, policy != Policy::Block, "{policy:?}: {queue}");
    });
}
