//! A queue that is damaged: what is gone is unaccounted, exactly, and nothing else is lost.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_agent::queue::records::Found;
use weir_agent::queue::{ClassId, Examination, Incarnation, Key, Policy, repair};
use weir_agent::uplink::spool::{LaneId, Spool};
use weir_protocol::batch::{Envelope, LossKind, RunBuilder, Section};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{ChannelId, Clock, DeviceId, RangeSet, Reading, Restart, SchemaHash, Sequence, Value, items};
use weir_storage::{Batch, FaultyFs, Fs, Log, LogOptions, Mode, ReadError, durable};

use crate::seeds::for_each_seed;
use crate::support::NOON;
use crate::support::books::Books;
use crate::support::desk::Desk;
use crate::support::device::Talker;
use crate::support::kept::{Kept, records};

const R: Restart = Restart::from_boot(1, 1);
const R2: Restart = Restart::from_boot(2, 2);
const QUEUE: &str = "/agent/queue";
/// Small enough that it has segments.
const CAP: u64 = 128 << 10;

/// A queue with a few segments of one board, closed, its state on disk; its readings are `0..` the number.
fn filled(seed: u64) -> (FaultyFs, Key, u64) {
    let disk = FaultyFs::new(seed);
    let mut desk = Desk::with_cap(&disk, Policy::Block, CAP);
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    desk.hears(&talker.describe());
    let mut next = 0;
    while desk.queue.reader(ClassId::DEFAULT).segments().len() < 5 {
        desk.hears(&talker.readings(R, (next, next + 50), next, next + 50));
        assert!(desk.commits());
        next += 50;
    }
    desk.queue.save().expect("a good disk");
    (disk, (talker.device, R), next)
}

fn segments(disk: &FaultyFs) -> Vec<PathBuf> {
    let mut names = disk.list(Path::new(QUEUE)).expect("a directory");
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names.into_iter().map(|name| Path::new(QUEUE).join(name)).collect()
}

/// Damages a closed segment somewhere.
fn damage(disk: &FaultyFs, random: &mut StdRng) {
    let segments = segments(disk);
    let segment = &segments[random.random_range(1..segments.len() - 1)];
    assert!(disk.flip_bit(segment, random.random_range(0..3000), random.random_range(0..8)));
}

/// Everything that the books must say of the board: what is not stored is unaccounted and nothing else.
fn is_exact(books: &Books, key: Key, next: u64) {
    let mut gone: RangeSet = [0..next].into_iter().collect();
    books.stored(key).into_iter().for_each(|range| gone.remove(range));
    assert_eq!(books.lost(key, LossKind::Unaccounted), gone.iter().collect::<Vec<_>>());
    assert!(books.balances(key, 0..next));
}

#[test]
fn one_flipped_bit_in_the_middle_costs_its_frame_which_is_unaccounted_exactly() {
    for_each_seed("one_flipped_bit_in_the_middle", 20, |seed| {
        let (disk, key, next) = filled(seed);
        damage(&disk, &mut StdRng::seed_from_u64(seed));
        let desk = Desk::with_cap(&disk, Policy::Block, CAP);
        let mut books = Books::default();
        books.ship(&desk.queue);
        is_exact(&books, key, next);
        let lost = next - books.stored[&key].len();
        assert!(lost <= 50, "{lost} readings for one bit");
    });
}

#[test]
fn a_segment_that_was_removed_by_hand_is_unaccounted_exactly() {
    for at in [0, 2] {
        let (disk, key, next) = filled(3);
        disk.remove(&segments(&disk)[at]).expect("a file");
        let desk = Desk::with_cap(&disk, Policy::Block, CAP);
        let mut books = Books::default();
        books.ship(&desk.queue);
        is_exact(&books, key, next);
        assert!(!books.lost(key, LossKind::Unaccounted).is_empty());
    }
}

/// The state remembers what was acknowledged; the device has it no more.
#[test]
fn a_queue_that_was_wiped_is_unaccounted_and_what_the_device_still_has_is_not() {
    let (disk, key, next) = filled(4);
    segments(&disk).iter().for_each(|segment| disk.remove(segment).expect("a file"));
    let mut desk = Desk::with_cap(&disk, Policy::Block, CAP);
    let mut talker = Talker::new("board-1", Ring::Durable);
    // The acknowledgement of the last ten was lost on the line.
    desk.hears(&talker.hello(&[(R, next - 10, next + 5)]));
    desk.hears(&talker.readings(R, (next - 10, next + 5), next - 10, next + 5));
    assert!(desk.commits());
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.stored(key), [next - 10..next + 5]);
    is_exact(&books, key, next + 5);
}

#[test]
fn a_repaired_queue_is_good_keeps_the_damaged_files_and_what_is_gone_is_unaccounted() {
    for_each_seed("a_repaired_queue_is_good", 20, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let (disk, key, next) = filled(seed);
        damage(&disk, &mut random);
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let examine =
            |fs: &Arc<dyn Fs>| Examination::read(fs, Path::new("/agent"), &Arc::default()).expect("a readable disk");
        assert!(!examine(&fs).is_good());
        let repaired = repair(&fs, Path::new("/agent"), &Arc::default(), Incarnation(1)).expect("a good disk");
        assert_eq!(repaired.kept.len(), 1, "{repaired:?}");
        assert!(disk.exists(&repaired.kept[0]).expect("a good disk"));
        let disk = disk.power_cut();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        assert!(examine(&fs).is_good(), "{:?}", examine(&fs));
        let desk = Desk::with_cap(&disk, Policy::Block, CAP);
        let sequences =
            records(&desk.queue).into_values().filter_map(|kept| kept.sequences()).map(|(_, range)| range.start);
        assert!(sequences.is_sorted(), "the order is kept");
        let mut books = Books::default();
        books.ship(&desk.queue);
        is_exact(&books, key, next);
    });
}

#[test]
fn a_repair_that_power_cuts_short_loses_nothing_more() {
    for_each_seed("a_repair_that_power_cuts_short", 20, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let (disk, key, next) = filled(seed);
        damage(&disk, &mut random);
        let lost = {
            let desk = Desk::with_cap(&disk, Policy::Block, CAP);
            let mut books = Books::default();
            books.ship(&desk.queue);
            next - books.stored[&key].len()
        };
        disk.fail_power_after(random.random_range(0..25));
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let _ = repair(&fs, Path::new("/agent"), &Arc::default(), Incarnation(1));
        let disk = disk.power_cut();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        repair(&fs, Path::new("/agent"), &Arc::default(), Incarnation(1)).expect("a good disk");
        let desk = Desk::with_cap(&disk, Policy::Block, CAP);
        let mut books = Books::default();
        books.ship(&desk.queue);
        is_exact(&books, key, next);
        assert_eq!(next - books.stored[&key].len(), lost);
    });
}

#[test]
fn a_state_file_and_claims_that_cannot_be_believed_are_kept_aside_by_a_repair() {
    let (disk, key, next) = filled(5);
    let mut claims = weir_agent::queue::Claims::default();
    claims.add((DeviceId::new("old").expect("a name"), R), LossKind::Queue, 0..4);
    let desk = Desk::with_cap(&disk, Policy::Block, CAP);
    desk.queue.claim(&claims).expect("a good disk");
    drop(desk);
    for file in ["/agent/state", "/agent/claims"] {
        assert!(disk.flip_bit(file.as_ref(), 20, 1));
    }
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let repaired = repair(&fs, Path::new("/agent"), &Arc::default(), Incarnation(1)).expect("a good disk");
    assert_eq!(repaired.kept.len(), 2, "{repaired:?}");
    assert!(Examination::read(&fs, Path::new("/agent"), &Arc::default()).expect("a readable disk").is_good());
    let desk = Desk::with_cap(&disk, Policy::Block, CAP);
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.stored(key), [0..next]);
}

/// No agent writes such records, but a disk may hold anything: a batch with one of them could not be read by any gateway,
/// and it was formed again and again.
#[test]
fn records_that_name_nothing_or_more_than_one_thing_are_passed_over_and_all_others_are_shipped() {
    let (device, fs) = (crate::support::device("board-1"), FaultyFs::new(1));
    let encoded = |range: std::ops::Range<u64>| {
        let mut run = RunBuilder::new(device, R, SchemaHash(7), Sequence(range.start));
        for sequence in range {
            let value = Value::Integer(sequence as i64);
            run.push(&Reading { channel: ChannelId(0), time: NOON, clock: Clock::Synchronised, value });
        }
        let mut encoded = Vec::new();
        items::push(&mut encoded, &run.section());
        encoded
    };
    let two = [encoded(0..1), encoded(1..2)].concat();
    let queue = Path::new(QUEUE);
    durable::create_dir_all(&fs, queue).expect("a good disk");
    let (mut log, _) = Log::open(Arc::new(fs.clone()), queue, LogOptions::default()).expect("an empty log");
    for value in [encoded(0..3), encoded(3..3), two, encoded(3..5)] {
        let mut batch = Batch::new();
        batch.push(0, None, Some(&value), &[]).expect("a small record");
        log.commit(&mut batch).expect("a good disk");
    }
    drop(log);
    let desk = Desk::open(&fs);
    let mut spool = Spool::new(&desk.queue, 1, false);
    let mut shipped = Vec::new();
    let lane = LaneId { class: ClassId::DEFAULT, backlog: false };
    loop {
        spool.fill(lane, usize::MAX).expect("a good disk");
        let Some(batch) = spool.take(lane) else { break };
        let envelope = Envelope::open(&batch.payload).expect("what any gateway can read");
        shipped.extend(envelope.manifest().map(|span| (span.start.0, span.end.0)));
        spool.shipped(&batch);
    }
    assert_eq!((shipped, spool.take_damaged()), (vec![(0, 3), (3, 5)], 2));
    desk.queue.trim().expect("a good disk");
    assert!(desk.queue.is_empty(), "nothing is left to send");
}

/// What the first segment holds.
fn content(disk: &FaultyFs) -> Vec<u8> {
    let file = disk.open(&segments(disk)[0], Mode::Read).expect("a file");
    let mut bytes = vec![0; file.size().expect("a good disk") as usize];
    assert_eq!(file.read_at(&mut bytes, 0).expect("a good disk"), bytes.len());
    bytes
}

/// A board wrote 50 readings that the state covers and 50 that it does not, which rotted; another one wrote behind them.
fn rotten(ring: Ring) -> (FaultyFs, Talker) {
    let disk = FaultyFs::new(6);
    let mut desk = Desk::open(&disk);
    let (mut talker, mut other) = (Talker::new("board-1", ring), Talker::new("board-2", Ring::Durable));
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    desk.hears(&talker.describe());
    desk.hears(&talker.readings(R, (0, 50), 0, 50));
    assert!(desk.commits());
    desk.queue.save().expect("a good disk");
    let before = content(&disk);
    desk.hears(&talker.readings(R, (50, 100), 50, 100));
    assert!(desk.commits());
    let at = before.iter().zip(content(&disk)).take_while(|(before, after)| *before == after).count() as u64;
    desk.hears(&other.hello(&[(R, 0, 0)]));
    desk.hears(&other.readings(R, (0, 1), 0, 1));
    assert!(desk.commits());
    assert!(disk.flip_bit(&segments(&disk)[0], at + 100, 3));
    (disk, talker)
}

/// What a queue says of the loss of a board: as claims, and as ends.
fn told(desk: &Desk, talker: &Talker) -> Vec<Kept> {
    let mut told = Vec::new();
    let walked = desk.queue.log(ClassId::DEFAULT).walk(0..u64::MAX, |found| -> Result<(), ReadError> {
        match found {
            Found::Entry(entry) if !matches!(entry.section, Section::Readings(_)) => {
                told.push(Kept::of(&entry.section))
            }
            _ => {}
        }
        Ok(())
    });
    walked.expect("a good disk");
    told.retain(|kept| matches!(kept, Kept::Claim(device, ..) | Kept::End(device, ..) if *device == talker.device));
    told
}

/// Of what rotted before the state covered it nobody else knows that the board was acknowledged for it.
#[test]
fn a_restart_that_the_device_has_left_and_of_which_records_rotted_ends_with_an_unknown_tail() {
    for is_opened_twice in [false, true] {
        let (disk, mut talker) = rotten(Ring::Durable);
        if is_opened_twice {
            let desk = Desk::open(&disk);
            desk.queue.trim().expect("a good disk");
        }
        let mut desk = Desk::open(&disk.power_cut());
        desk.hears(&talker.hello(&[(R2, 0, 3)]));
        assert!(desk.commits());
        assert_eq!(told(&desk, &talker), [Kept::End(talker.device, R, 50)]);
        desk.hears(&talker.hello(&[(R2, 0, 3)]));
        assert!(desk.commits());
        assert_eq!(told(&desk, &talker).len(), 1, "it is told once");
    }
}

#[test]
fn what_rotted_of_a_restart_that_goes_on_is_unaccounted_and_nobody_says_that_the_device_evicted_it() {
    let (disk, mut talker) = rotten(Ring::Durable);
    let mut desk = Desk::open(&disk);
    desk.hears(&talker.hello(&[(R, 100, 110)]));
    assert!(desk.commits());
    let lost = Kept::Claim(talker.device, R, LossKind::Unaccounted, 50..100);
    assert_eq!(told(&desk, &talker), std::slice::from_ref(&lost));
    // From there on it is what it always was.
    desk.hears(&talker.readings(R, (120, 130), 120, 130));
    assert!(desk.commits());
    let evicted = Kept::Claim(talker.device, R, LossKind::Ring, 100..120);
    assert_eq!(told(&desk, &talker), [lost, evicted]);
}

#[test]
fn a_restart_of_which_nothing_rotted_is_in_no_doubt_once_its_device_lists_it() {
    let (disk, mut talker) = rotten(Ring::Durable);
    let mut desk = Desk::open(&disk);
    // It was never acknowledged for what rotted, and sends it again.
    desk.hears(&talker.hello(&[(R, 50, 100)]));
    desk.hears(&talker.readings(R, (50, 100), 50, 100));
    assert!(desk.commits());
    desk.hears(&talker.hello(&[(R2, 0, 3)]));
    assert!(desk.commits());
    assert_eq!(told(&desk, &talker), []);
    // The other one was acknowledged for all of it, and it is all there.
    let mut other = Talker::new("board-2", Ring::Durable);
    desk.hears(&other.hello(&[(R, 1, 1)]));
    desk.hears(&other.hello(&[(R2, 0, 0)]));
    assert!(desk.commits());
    assert_eq!(told(&desk, &other), []);
}
