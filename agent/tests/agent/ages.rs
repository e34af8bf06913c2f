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
    assert_eq!(desk.queue.expire().expect("a good disk").readings, 0);
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.stored(key).last().map(|range| range.end), Some(next));
    assert!(books.lost(key, LossKind::Expired).is_empty());
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
