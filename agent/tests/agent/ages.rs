//! Readings that are kept no longer than somebody wants them.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::time::Duration;

use weir_agent::queue::{ClassId, Key, Now, Policy, QueueOptions};
use weir_protocol::Restart;
use weir_protocol::batch::LossKind;
use weir_protocol::serial::device_to_agent::Ring;
use weir_storage::FaultyFs;

use crate::support::NOON;
use crate::support::books::Books;
use crate::support::desk::Desk;
use crate::support::device::Talker;

const R: Restart = Restart::from_boot(1, 1);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

fn open(disk: &FaultyFs) -> Desk {
    let max_age = Some(48 * HOUR);
    Desk::with_options(disk, QueueOptions { cap: 128 << 10, policy: Policy::Block, max_age, ..QueueOptions::default() })
}

/// A queue with five closed segments and one that is written, of a board; how many readings, and its key.
fn filled(disk: &FaultyFs) -> (Desk, Key, u64) {
    let mut desk = open(disk);
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    desk.hears(&talker.describe());
    let mut next = 0;
    while desk.queue.reader(ClassId::DEFAULT).segments().len() < 6 {
        desk.hears(&talker.readings(R, (next, next + 50), next, next + 50));
        assert!(desk.commits());
        next += 50;
    }
    (desk, (talker.device, R), next)
}

fn at(elapsed: Duration, wall_ms: i64) -> Now {
    Now { elapsed, wall_ms }
}

#[test]
fn what_is_too_old_goes_in_whole_segments_counted_as_expired_and_exactly() {
    let disk = FaultyFs::new(1);
    let (desk, key, next) = filled(&disk);
    let start = NOON.as_millis();
    desk.queue.age(at(Duration::ZERO, start));
    desk.queue.age(at(47 * HOUR, start));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 0);
    // The wall clock jumps, which is nothing to anybody.
    desk.queue.age(at(48 * HOUR, start + 10 * YEAR_MS));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 0);
    desk.queue.age(at(49 * HOUR, start - YEAR_MS));
    let dropped = desk.queue.expire().expect("a good disk");
    assert_eq!(dropped.segments, 5, "the segment that was written is closed, and stays for now");
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.lost(key, LossKind::Expired), [0..dropped.readings]);
    assert_eq!(books.stored(key), [dropped.readings..next]);
}

/// Regression: what stood in the segment that is written stayed for ever when nothing more came.
#[test]
fn what_is_in_the_segment_that_is_written_grows_old_too_and_more_may_come_after_it() {
    let disk = FaultyFs::new(7);
    let (mut desk, key, next) = filled(&disk);
    desk.queue.age(at(Duration::ZERO, 1));
    // A part of the age later it is closed; from then on it grows old, over a power cut as well.
    desk.queue.age(at(7 * HOUR, 1));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 0);
    assert_eq!(desk.queue.reader(ClassId::DEFAULT).segments().len(), 7);
    desk.queue.age(at(8 * HOUR, 1));
    desk.queue.trim().expect("a good disk");
    drop(desk);
    desk = open(&disk.power_cut());
    assert_eq!(desk.queue.reader(ClassId::DEFAULT).segments().len(), 7, "an empty one is one");
    desk.queue.age(at(Duration::ZERO, 1));
    desk.queue.age(at(47 * HOUR, 1));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 5, "something is missing of the sixth");
    desk.queue.age(at(48 * HOUR, 1));
    let dropped = desk.queue.expire().expect("a good disk");
    assert_eq!(dropped.segments, 1);
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.lost(key, LossKind::Expired), [0..next]);
    assert!(desk.queue.is_empty());
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, next)]));
    desk.hears(&talker.describe());
    desk.hears(&talker.readings(R, (next, next + 50), next, next + 50));
    assert!(desk.commits());
    books.ship(&desk.queue);
    assert_eq!(books.stored(key), [next..next + 50]);
}

#[test]
fn what_the_gateway_has_is_not_counted_as_expired() {
    let disk = FaultyFs::new(2);
    let (desk, key, next) = filled(&disk);
    desk.queue.age(at(Duration::ZERO, 1));
    let end = desk.queue.reader(ClassId::DEFAULT).end_offset();
    desk.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.insert(0..end - 1);
    desk.queue.age(at(49 * HOUR, 1));
    let dropped = desk.queue.expire().expect("a good disk");
    assert_eq!((dropped.segments, dropped.readings), (0, 0), "it goes, and is not dropped");
    assert_eq!(desk.queue.reader(ClassId::DEFAULT).segments().len(), 2, "what is left, and what is written");
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.stored(key).last().map(|range| range.end), Some(next));
    assert!(books.lost(key, LossKind::Expired).is_empty());
}

#[test]
fn of_segments_that_the_gateway_has_in_part_the_rest_is_counted_as_expired() {
    const RUN: u64 = 50;
    let disk = FaultyFs::new(8);
    let (desk, key, next) = filled(&disk);
    desk.queue.age(at(Duration::ZERO, 1));
    let bases: Vec<u64> =
        desk.queue.reader(ClassId::DEFAULT).segments().iter().map(|segment| segment.base_offset).collect();
    // All of the first segment, the beginning of the second one, and a record of the fourth.
    let (begun, one) = (bases[1] + 3, bases[3] + 5);
    for offsets in [0..begun, one..one + 1] {
        desk.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.insert(offsets);
    }
    desk.queue.age(at(49 * HOUR, 1));
    let dropped = desk.queue.expire().expect("a good disk");
    assert_eq!((dropped.segments, dropped.readings), (4, (bases[5] - begun - 1) * RUN));
    let mut books = Books::default();
    books.ship(&desk.queue);
    let expired = [begun * RUN..one * RUN, (one + 1) * RUN..bases[5] * RUN];
    assert_eq!(books.lost(key, LossKind::Expired), expired);
    assert_eq!(books.stored(key), [bases[5] * RUN..next]);
}

/// Its age as the one that is written is that of its oldest reading, and the newest one is new.
#[test]
fn a_segment_that_filled_up_is_as_old_as_its_newest_reading() {
    let disk = FaultyFs::new(9);
    let (mut desk, _, mut next) = filled(&disk);
    desk.queue.age(at(Duration::ZERO, 1));
    desk.queue.age(at(5 * HOUR, 1));
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, next, next)]));
    while desk.queue.reader(ClassId::DEFAULT).segments().len() < 7 {
        desk.hears(&talker.readings(R, (next, next + 50), next, next + 50));
        assert!(desk.commits());
        next += 50;
    }
    desk.queue.age(at(5 * HOUR, 1));
    desk.queue.age(at(50 * HOUR, 1));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 5);
    desk.queue.age(at(54 * HOUR, 1));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 1);
}

#[test]
fn a_segment_begins_to_grow_old_with_its_first_reading() {
    let mut desk = open(&FaultyFs::new(10));
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    desk.hears(&talker.describe());
    let segments_at = |desk: &mut Desk, hours| {
        desk.queue.age(at(hours * HOUR, 1));
        desk.queue.expire().expect("a good disk");
        desk.queue.reader(ClassId::DEFAULT).segments().len()
    };
    desk.hears(&talker.readings(R, (0, 50), 0, 50));
    assert!(desk.commits());
    // Closed for its age, and nothing comes for a day.
    assert_eq!([0, 6, 7, 31].map(|hours| segments_at(&mut desk, hours)), [1, 1, 2, 2]);
    desk.hears(&talker.readings(R, (50, 100), 50, 100));
    assert!(desk.commits());
    assert_eq!([32, 37, 38].map(|hours| segments_at(&mut desk, hours)), [2, 2, 3]);
}

#[test]
fn what_the_gateway_has_is_not_closed_for_its_age() {
    let mut desk = open(&FaultyFs::new(11));
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    desk.hears(&talker.describe());
    desk.hears(&talker.readings(R, (0, 50), 0, 50));
    assert!(desk.commits());
    desk.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.insert(0..1);
    desk.queue.age(at(Duration::ZERO, 1));
    desk.queue.age(at(24 * HOUR, 1));
    desk.queue.expire().expect("a good disk");
    assert_eq!(desk.queue.reader(ClassId::DEFAULT).segments().len(), 1);
}

/// How many segments expire at once after a restart, with 30 of 48 hours before it.
fn expired_after(seed: u64, wall_at_start_ms: i64) -> u64 {
    let disk = FaultyFs::new(seed);
    let (desk, _, _) = filled(&disk);
    let stop = NOON.as_millis();
    desk.queue.age(at(Duration::ZERO, stop - 30 * 3_600_000));
    desk.queue.age(at(30 * HOUR, stop));
    desk.queue.trim().expect("a good disk");
    drop(desk);
    let desk = open(&disk.power_cut());
    desk.queue.age(at(Duration::ZERO, wall_at_start_ms));
    desk.queue.expire().expect("a good disk").segments
}

#[test]
fn age_goes_on_over_a_restart_and_a_clock_that_jumped_adds_a_day_at_most() {
    let stop = NOON.as_millis();
    assert_eq!(expired_after(3, stop + 17 * 3_600_000), 0);
    assert_eq!(expired_after(4, stop + 19 * 3_600_000), 5);
    assert_eq!(expired_after(5, stop - YEAR_MS), 0);
    let disk = FaultyFs::new(6);
    let (desk, _, _) = filled(&disk);
    desk.queue.age(at(Duration::ZERO, stop));
    desk.queue.trim().expect("a good disk");
    drop(desk);
    let desk = open(&disk.power_cut());
    desk.queue.age(at(Duration::ZERO, stop + 10 * YEAR_MS));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 0, "ten years are a day");
    desk.queue.age(at(25 * HOUR, stop + 10 * YEAR_MS));
    assert_eq!(desk.queue.expire().expect("a good disk").segments, 5);
}
