//! What of a window is durable and when, and what becomes of it where there is no room.

#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::ops::Range;
use std::time::Duration;

use weir_agent::counters::Event;
use weir_agent::processing::MAX_WINDOWS;
use weir_agent::queue::{ClassId, Standing};
use weir_agent::uplink::spool::Spool;
use weir_protocol::batch::Envelope;
use weir_protocol::serial::Down;
use weir_protocol::{Restart, Sequence, Value};
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use super::{R, ruled, ruled_on, temperatures};
use crate::support::desk::Desk;
use crate::support::sensor::{COUNT, Fates, Sensor, TEMPERATURE, at};

/// A summary goes into the log of another class than what it stands for is held in.
const ALARM: &str = r#"
    [[queue.class]]
    name = "alarm"
    [[process]]
    channel = "temperature"
    window = "10s"
    take = ["count"]
    class = "alarm"
"#;
const LENGTH: Duration = Duration::from_secs(10);

/// Closes what is due at `now`, and commits it.
fn passes(desk: &mut Desk, now: Duration) {
    desk.intake.tick(now);
    assert!(desk.commits());
}

/// Were a summary durable before what it stands for, a device that was not acknowledged would send it again, into a
/// second summary.
#[test]
fn a_summary_waits_until_what_it_stands_for_is_durable() {
    let disk = FaultyFs::new(1);
    let (mut desk, mut sensor) = ruled_on(&disk, ALARM);
    let readings = temperatures(&[1.0, 2.0]);
    desk.hears(&sensor.says(R, (0, 2), 0, &readings));
    desk.intake.tick(LENGTH);
    disk.fail_once(Fault::Sync);
    assert!(!desk.commits());
    assert!(!desk.answers().iter().any(|down| matches!(down, Down::Ack { .. })));
    desk.intake.close_windows();
    assert!(!desk.intake.has_staged() && Fates::of(&desk.queue).summaries.is_empty(), "nothing is held");
    desk.hears(&sensor.says(R, (0, 2), 0, &readings));
    passes(&mut desk, LENGTH);
    assert_eq!(Fates::of(&desk.queue).summaries, [], "the window began anew");
    passes(&mut desk, 2 * LENGTH);
    let fates = Fates::of(&desk.queue);
    let [summary] = &fates.summaries[..] else { panic!("{:?}", fates.summaries) };
    assert_eq!(summary.ranges.iter().collect::<Vec<_>>(), [0..2]);
}

/// Its device was acknowledged long ago and has nothing left: until the summary is durable the window is all there is.
#[test]
fn a_window_is_kept_until_its_summary_is_durable() {
    let disk = FaultyFs::new(1);
    let (mut desk, mut sensor) = ruled_on(&disk, ALARM);
    desk.hears(&sensor.says(R, (0, 2), 0, &temperatures(&[1.0, 2.0])));
    assert!(desk.commits());
    assert!(desk.answers().contains(&Down::Ack { restart: R, accepted: Sequence(2) }));
    desk.intake.tick(LENGTH);
    assert!(desk.intake.has_staged(), "its summary is on the way");
    desk.queue.trim().expect("a good disk");
    disk.fail_once(Fault::Sync);
    assert!(!desk.commits());
    assert!(desk.queue.standings().iter().all(|stands| stands.held.contains_all(0..2)), "the gateway hears of it");
    drop(desk);
    let (mut desk, _) = ruled_on(&disk.power_cut(), ALARM);
    desk.intake.close_windows();
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    let [summary] = &fates.summaries[..] else { panic!("{:?}", fates.summaries) };
    assert_eq!(summary.ranges.iter().collect::<Vec<_>>(), [0..2]);
    assert!(desk.queue.state().lock().held.windows().next().is_none());
    let is_told = |stands: &Standing| stands.key.1 == summary.under && stands.upto == summary.readings.len() as u64;
    assert!(desk.queue.standings().iter().any(is_told), "the gateway hears of its own restart, too");
}

#[test]
fn a_summary_that_finds_no_room_waits_for_it_and_stands_for_the_same() {
    let (mut desk, mut sensor) = ruled(ALARM);
    desk.hears(&sensor.says(R, (0, 2), 0, &temperatures(&[1.0, 2.0])));
    assert!(desk.commits());
    let rooms = desk.queue.rooms();
    // The class of the summaries is full, the other one is not.
    desk.intake.set_rooms(vec![rooms[0], 0]);
    for second in [10, 20] {
        passes(&mut desk, Duration::from_secs(second));
        assert_eq!((Fates::of(&desk.queue).summaries.len(), desk.count(Event::WindowsSummarised)), (0, 0));
        assert!(desk.queue.standings().iter().all(|stands| stands.held.contains_all(0..2)), "it is still held");
    }
    desk.intake.set_rooms(rooms);
    passes(&mut desk, Duration::from_secs(21));
    let fates = Fates::of(&desk.queue);
    let [summary] = &fates.summaries[..] else { panic!("{:?}", fates.summaries) };
    assert_eq!(summary.ranges.iter().collect::<Vec<_>>(), [0..2]);
    assert_eq!(desk.queue.reader(ClassId(1)).end_offset(), 1);
}

/// The class of the summaries is full for as long as it likes: what is held is bounded all the same.
#[test]
fn windows_are_bounded_what_finds_none_passes_as_it_is_and_summaries_make_room() {
    let disk = FaultyFs::new(1);
    let (mut desk, mut sensor) = ruled_on(&disk, ALARM);
    // Each reading is in a window of its own, and no summary is asked for.
    let sends = |desk: &mut Desk, sensor: &mut Sensor, sequences: Range<u64>| {
        for first in sequences.clone().step_by(100) {
            let end = sequences.end.min(first + 100);
            let reading = |sequence| at(sequence as i64 * 10_000, TEMPERATURE, Value::Float(1.0));
            let readings: Vec<_> = (first..end).map(reading).collect();
            desk.hears(&sensor.says(R, (0, end), first, &readings));
            assert!(desk.commits());
        }
    };
    let most = MAX_WINDOWS as u64;
    sends(&mut desk, &mut sensor, 0..most + 3);
    assert_eq!(desk.queue.state().lock().held.windows().count(), MAX_WINDOWS);
    let passed = |desk: &Desk| Fates::of(&desk.queue).passed.keys().map(|(_, sequence)| *sequence).collect::<Vec<_>>();
    assert_eq!(passed(&desk), [most, most + 1, most + 2]);
    // After a restart they are as many.
    drop(desk);
    let (mut desk, mut sensor) = ruled_on(&disk.power_cut(), ALARM);
    sends(&mut desk, &mut sensor, most + 3..most + 4);
    assert_eq!(passed(&desk).last(), Some(&(most + 3)));
    desk.intake.close_windows();
    assert!(desk.commits());
    sends(&mut desk, &mut sensor, most + 4..most + 5);
    assert_eq!(passed(&desk).len(), 4, "there is room again");
    desk.intake.close_windows();
    assert!(desk.commits());
    let summarised: u64 = Fates::of(&desk.queue).summaries.iter().map(|summary| summary.ranges.len()).sum();
    assert_eq!(summarised, most + 1);
}

/// What the next batch of a spool names, if there is one; the gateway takes it.
fn shipped(spool: &mut Spool) -> Option<Vec<(Restart, Range<u64>)>> {
    let batch = spool.lanes().find_map(|lane| {
        spool.fill(lane, usize::MAX).expect("a good disk");
        spool.take(lane)
    })?;
    spool.shipped(&batch);
    let envelope = Envelope::open(&batch.payload).expect("readable");
    Some(envelope.manifest().map(|span| (span.restart, span.start.0..span.end.0)).collect())
}

/// Records can be read from the moment they are durable, which is a moment before the agent has noted what they are.
#[test]
fn what_is_held_does_not_leave_in_the_moment_before_it_is_noted() {
    let (mut desk, mut sensor) = ruled(ALARM);
    let mut spool = Spool::new(&desk.queue, 1 << 16, false);
    let readings =
        [at(0, TEMPERATURE, Value::Float(1.0)), at(1, COUNT, Value::Integer(7)), at(2, TEMPERATURE, Value::Float(2.0))];
    desk.hears(&sensor.says(R, (0, 3), 0, &readings));
    let staged = desk.intake.take_stage(Vec::new()).expect("readings");
    let committed = desk.writes(staged.entries);
    assert_eq!(shipped(&mut spool), Some(vec![(R, 1..2)]));
    assert_eq!(shipped(&mut spool), None);
    desk.intake.committed(&staged.covered, &committed).expect("a good disk");
    assert_eq!(shipped(&mut spool), None);
    passes(&mut desk, LENGTH);
    let own = Fates::of(&desk.queue).summaries[0].under;
    assert_eq!(shipped(&mut spool), Some(vec![(own, 0..1), (R, 0..1), (R, 2..3)]));
    assert!(desk.queue.is_empty());
}
