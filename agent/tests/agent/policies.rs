//! A queue that is full, under each policy.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use weir_agent::counters::Event;
use weir_agent::queue::{Claims, ClassId, Key, Policy};
use weir_protocol::Restart;
use weir_protocol::batch::LossKind;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use crate::support::books::Books;
use crate::support::desk::Desk;
use crate::support::device::Talker;
use crate::support::kept::Kept;

const R: Restart = Restart::from_boot(1, 1);
const CAP: u64 = 1 << 20;

/// A queue of the smallest cap, and a device that sends without an end.
struct Flood {
    disk: FaultyFs,
    desk: Desk,
    talker: Talker,
    next: u64,
    accepted: u64,
}

impl Flood {
    fn start(policy: Policy) -> Self {
        let disk = FaultyFs::new(7);
        let mut desk = Desk::with_policy(&disk, policy);
        let mut talker = Talker::new("board-1", Ring::Durable);
        desk.hears(&talker.hello(&[(R, 0, 0)]));
        desk.hears(&talker.describe());
        Self { disk, desk, talker, next: 0, accepted: 0 }
    }

    fn key(&self) -> Key {
        (self.talker.device, R)
    }

    /// Sends a frame, commits it, and makes room if the policy wants it.
    fn sends(&mut self, readings: u64) {
        let first = self.accepted;
        self.next = first + readings;
        self.desk.intake.set_rooms(self.desk.queue.rooms());
        self.desk.hears(&self.talker.readings(R, (first, self.next), first, self.next));
        assert!(self.desk.commits());
        for down in self.desk.answers() {
            if let Down::Ack { accepted, .. } = down {
                self.accepted = self.accepted.max(accepted.0);
            }
        }
        if self.desk.queue.wants_room() {
            self.desk.queue.make_room().expect("a good disk");
        }
        assert!(self.disk.used_bytes() <= CAP + (64 << 10), "{} bytes on disk", self.disk.used_bytes());
    }
}

#[test]
fn block_takes_nothing_more_and_loses_nothing() {
    let mut flood = Flood::start(Policy::Block);
    let mut refused = 0;
    while refused < 10 {
        let before = flood.accepted;
        flood.sends(500);
        refused += u32::from(flood.accepted < before + 500);
    }
    let mut books = Books::default();
    books.ship(&flood.desk.queue);
    assert_eq!(books.stored(flood.key()), [0..flood.accepted]);
    assert!(books.lost.values().all(|set| set.is_empty()));
}

#[test]
fn drop_oldest_keeps_the_newest_and_claims_exactly_what_went() {
    let mut flood = Flood::start(Policy::DropOldest);
    for _ in 0..1000 {
        flood.sends(500);
    }
    assert_eq!(flood.accepted, 500_000, "no device ever waits");
    let mut books = Books::default();
    books.ship(&flood.desk.queue);
    let key = flood.key();
    let [lost] = books.lost(key, LossKind::Queue)[..].to_vec().try_into().expect("one stretch");
    let lost: std::ops::Range<u64> = lost;
    assert!(lost.start == 0 && lost.end > 300_000, "{lost:?}");
    assert_eq!(books.stored(key), [lost.end..500_000]);
    assert!(books.balances(key, 0..500_000) && books.healed.values().all(|set| set.is_empty()));
}

#[test]
fn drop_newest_keeps_the_oldest_and_acknowledges_what_it_dropped() {
    let mut flood = Flood::start(Policy::DropNewest);
    for _ in 0..1000 {
        flood.sends(500);
    }
    assert_eq!(flood.accepted, 500_000, "no device ever waits");
    let key = flood.key();
    // It survives a power cut, which the acknowledgement promised.
    let desk = Desk::with_policy(&flood.disk.power_cut(), Policy::DropNewest);
    assert_eq!(desk.queue.state().lock().restarts.get(&key).map(|known| known.accepted.0), Some(500_000));
    let mut books = Books::default();
    books.ship(&desk.queue);
    let kept = books.stored(key)[0].clone();
    assert!(kept.start == 0 && kept.end > 50_000, "{kept:?}");
    assert!(books.balances(key, 0..500_000) && books.healed.values().all(|set| set.is_empty()));
    assert_eq!(flood.desk.count(Event::ReadingsDroppedNewest), 500_000 - books.stored[&key].len());
}

#[test]
fn claims_and_ends_in_a_segment_that_goes_are_kept_as_they_are() {
    let mut flood = Flood::start(Policy::DropOldest);
    let mut other = Talker::new("board-2", Ring::Volatile);
    flood.desk.hears(&other.hello(&[(R, 40, 50)]));
    flood.desk.hears(&other.readings(R, (40, 50), 40, 50));
    flood.desk.hears(&other.hello(&[(Restart::from_boot(2, 2), 0, 0)]));
    // Back to the flood's own board.
    flood.desk.hears(&flood.talker.hello(&[(R, 0, 0)]));
    while flood.desk.queue.reader(ClassId::DEFAULT).start_offset() == 0 {
        flood.sends(500);
    }
    let claimed = flood.desk.claimed();
    let board = other.device;
    assert!(claimed.contains(&Kept::Claim(board, R, LossKind::UnknownHistory, 0..40)), "{claimed:?}");
    assert!(claimed.contains(&Kept::Claim(board, R, LossKind::Queue, 40..50)), "{claimed:?}");
    assert!(claimed.contains(&Kept::End(board, R, 50)), "{claimed:?}");
}

#[test]
fn what_the_gateway_has_is_not_claimed_when_its_segment_goes() {
    let mut flood = Flood::start(Policy::DropOldest);
    flood.sends(500);
    flood.desk.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.insert(0..1);
    flood.sends(500);
    while flood.desk.queue.reader(ClassId::DEFAULT).start_offset() == 0 {
        flood.sends(500);
    }
    let claimed = flood.desk.claimed();
    assert!(matches!(&claimed[..], [Kept::Claim(_, _, LossKind::Queue, range)] if range.start == 500), "{claimed:?}");
}

#[test]
fn nothing_goes_while_its_claim_is_not_on_disk() {
    let mut flood = Flood::start(Policy::DropOldest);
    while !flood.desk.queue.wants_room() {
        let first = flood.accepted;
        flood.desk.intake.set_rooms(flood.desk.queue.rooms());
        flood.desk.hears(&flood.talker.readings(R, (first, first + 500), first, first + 500));
        assert!(flood.desk.commits());
        flood.accepted = first + 500;
    }
    flood.disk.fail_sometimes(Fault::Sync, 1000);
    assert!(flood.desk.queue.make_room().is_err());
    assert_eq!(flood.desk.queue.reader(ClassId::DEFAULT).start_offset(), 0);
    assert_eq!(flood.desk.claimed(), []);
    flood.disk.fail_sometimes(Fault::Sync, 0);
    flood.desk.queue.make_room().expect("a good disk");
    assert!(flood.desk.queue.reader(ClassId::DEFAULT).start_offset() > 0);
}

/// Each claim that finds the queue full once took room in the log, until a queue that nobody emptied could take none.
#[test]
fn claims_without_an_end_find_room_in_a_queue_that_stays_full() {
    let mut flood = Flood::start(Policy::Block);
    let mut refused = 0;
    while refused < 3 {
        let before = flood.accepted;
        flood.sends(500);
        refused += u32::from(flood.accepted < before + 500);
    }
    // From here on the device's ring overflows between two frames, and some of it fits now and then.
    for _ in 0..20_000 {
        let base = flood.accepted + 10;
        flood.desk.intake.set_rooms(vec![0]);
        flood.desk.hears(&flood.talker.readings(R, (base, base + 10), base, base + 5));
        assert!(flood.desk.commits());
        flood.accepted = base;
    }
    assert!(flood.disk.used_bytes() <= CAP, "{} bytes on disk", flood.disk.used_bytes());
    let mut books = Books::default();
    books.ship(&flood.desk.queue);
    assert!(books.balances(flood.key(), 0..flood.accepted));
}

/// Readings behind a claim that is nowhere would not follow on, and the next Hello would say that the device had evicted them.
#[test]
fn a_claim_that_the_gateway_has_stays_in_its_file_until_the_state_knows_that_the_device_was_acknowledged_for_it() {
    let disk = FaultyFs::new(9);
    let mut desk = Desk::with_policy(&disk, Policy::DropNewest);
    let mut talker = Talker::new("board-1", Ring::Durable);
    let mut says = |desk: &mut Desk, range: std::ops::Range<u64>, has_room: bool| {
        desk.intake.set_rooms(vec![if has_room { u64::MAX } else { 0 }]);
        desk.hears(&talker.hello(&[(R, range.start, range.end)]));
        desk.hears(&talker.readings(R, (range.start, range.end), range.start, range.end));
        assert!(desk.commits());
    };
    says(&mut desk, 0..10, true);
    says(&mut desk, 10..20, false);
    // The gateway has both. Of what was committed after that it has nothing.
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(desk.claimed(), []);
    says(&mut desk, 20..30, true);
    says(&mut desk, 30..40, false);
    let disk = disk.power_cut();
    let desk = Desk::with_policy(&disk, Policy::DropNewest);
    let key = (crate::support::device("board-1"), R);
    assert_eq!(desk.queue.state().lock().restarts.get(&key).map(|known| known.accepted.0), Some(40));
    books.ship(&desk.queue);
    assert!(books.balances(key, 0..40));
    // Once the state knows, the file lets go of it.
    desk.queue.trim().expect("a good disk");
    let again = Desk::with_policy(&disk.power_cut(), Policy::DropNewest);
    assert_eq!(again.claimed(), []);
}

/// A claim that the gateway has and that a power cut took from the agent would be loss that nobody here knows of.
#[test]
fn a_claim_is_told_once_it_is_durable_and_not_before() {
    let disk = FaultyFs::new(8);
    let desk = Desk::open(&disk);
    let key = (Talker::new("board-1", Ring::Durable).device, R);
    let mut claims = Claims::default();
    claims.add(key, LossKind::Queue, 10..20);
    disk.fail_once(Fault::Sync);
    desk.queue.claim(&claims).expect_err("a disk that fails");
    assert_eq!(desk.claimed(), []);
    desk.queue.claim(&claims).expect("a good disk");
    assert_eq!(desk.claimed(), [Kept::Claim(key.0, R, LossKind::Queue, 10..20)]);
}
