//! The state file and its queue: written from two sides, and a queue whose files were removed, or damaged at their
//! end, while its state file stayed.

use std::path::Path;

use weir_agent::queue::ClassId;
use weir_protocol::batch::LossKind;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{Restart, Sequence};
use weir_storage::{FaultyFs, Fs};

use crate::support::desk::Desk;
use crate::support::device::Talker;
use crate::support::kept::Kept;

const R: Restart = Restart::from_boot(1, 1);

/// A desk with three readings of the board in three records, all of them with the gateway, and a state that says
/// so; then somebody removes the segments.
fn without_segments(seed: u64) -> (FaultyFs, Talker) {
    let disk = FaultyFs::new(seed);
    let mut talker = Talker::new("board-1", Ring::Durable);
    let mut desk = Desk::open(&disk);
    desk.hears(&talker.hello(&[(R, 0, 3)]));
    desk.hears(&talker.describe());
    for sequence in 0..3 {
        desk.hears(&talker.readings(R, (0, 3), sequence, sequence + 1));
        assert!(desk.commits());
    }
    desk.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.insert(0..3);
    desk.queue.save().expect("a good disk");
    drop(desk);
    let queue = Path::new("/agent/queue");
    for name in disk.list(queue).expect("a directory") {
        if name.ends_with(".log") {
            disk.remove(&queue.join(name)).expect("a file");
        }
    }
    disk.sync_dir(queue).expect("a good disk");
    (disk, talker)
}

/// The old state says that offsets 0 to 2 are shipped. It was forgotten in memory only, so that a kill before the
/// next checkpoint brought it back, and three new readings passed for shipped.
#[test]
fn readings_that_take_the_offsets_of_removed_ones_are_shipped_even_after_a_kill() {
    let (disk, mut talker) = without_segments(1);
    let mut desk = Desk::open(&disk);
    assert!(desk.recovered.state_damage.is_some(), "it is told");
    desk.hears(&talker.hello(&[(R, 3, 8)]));
    for sequence in 3..8 {
        desk.hears(&talker.readings(R, (3, 8), sequence, sequence + 1));
        assert!(desk.commits());
    }
    drop(desk);
    let desk = Desk::open(&disk.power_cut());
    let state = desk.queue.state();
    assert_eq!(state.lock().of(ClassId::DEFAULT).first_unshipped(0), 0, "nothing that is here was shipped");
    assert!(desk.kept().contains(&Kept::Readings(talker.device, R, 7..8)));
}

/// An acknowledgement that stands for nothing would make the device forget what it alone still has.
#[test]
fn what_is_gone_is_not_acknowledged_again_and_what_the_device_no_longer_has_is_claimed() {
    let (disk, mut talker) = without_segments(2);
    let mut desk = Desk::open(&disk);
    desk.hears(&talker.hello(&[(R, 1, 5)]));
    desk.commits();
    let answers = desk.answers();
    assert!(answers.contains(&Down::Ack { restart: R, accepted: Sequence(1) }), "{answers:?}");
    desk.hears(&talker.readings(R, (1, 5), 1, 5));
    assert!(desk.commits());
    let claim = Kept::Claim(talker.device, R, LossKind::Unaccounted, 0..1);
    assert_eq!(desk.kept(), [claim, Kept::Readings(talker.device, R, 1..5)]);
}

/// The intake saves descriptions while the keeper notes what was shipped. Both wrote the same temporary file, so that
/// one renamed what the other was still writing.
#[test]
fn the_state_is_saved_from_two_sides_without_harm() {
    let disk = FaultyFs::new(3);
    let desk = Desk::open(&disk);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..500 {
                    desk.queue.save().expect("nobody is in the way");
                    desk.queue.trim().expect("nobody is in the way");
                }
            });
        }
    });
    drop(desk);
    assert!(Desk::open(&disk).recovered.state_damage.is_none());
}
