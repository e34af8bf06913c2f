//! The rules towards devices, one story each.

use weir_agent::counters::Event;
use weir_agent::intake::LinkId;
use weir_agent::queue::ClassId;
use weir_protocol::batch::LossKind;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::serial::{Down, Up};
use weir_protocol::{Restart, Sequence};
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use crate::support::NOON;
use crate::support::desk::{Desk, LINE, OTHER_LINE};
use crate::support::device::Talker;
use crate::support::kept::Kept;

const R: Restart = Restart::from_boot(1, 0xabcd);
const R2: Restart = Restart::from_boot(2, 0x1234);

fn ack(accepted: u64) -> Down {
    Down::Ack { restart: R, accepted: Sequence(accepted) }
}

fn resend(from: u64) -> Down {
    Down::Resend { restart: R, from: Sequence(from) }
}

/// A desk with a device on the line that said Hello with nothing in its ring, and described itself.
fn greeted(disk: &FaultyFs) -> (Desk, Talker) {
    let mut desk = Desk::open(disk);
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    desk.hears(&talker.describe());
    desk.answers();
    (desk, talker)
}

fn credit(answers: &[Down]) -> Option<u64> {
    answers.iter().rev().find_map(|down| match down {
        Down::Credit { upto, .. } => Some(upto.0),
        _ => None,
    })
}

#[test]
fn a_reading_is_acknowledged_after_its_commit_and_not_before() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(1));
    desk.hears(&talker.readings(R, (0, 3), 0, 3));
    assert_eq!(desk.answers(), [], "nothing is on disk yet");
    assert!(desk.commits());
    assert!(desk.answers().contains(&ack(3)));
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..3)]);
}

#[test]
fn a_failed_commit_acknowledges_nothing_and_the_same_readings_are_taken_again() {
    let disk = FaultyFs::new(2);
    let (mut desk, mut talker) = greeted(&disk);
    desk.hears(&talker.readings(R, (0, 3), 0, 3));
    disk.fail_once(Fault::Sync);
    assert!(!desk.commits());
    assert_eq!(desk.answers(), []);
    assert_eq!(desk.kept(), []);
    desk.hears(&talker.readings(R, (0, 5), 0, 5));
    assert!(desk.commits());
    assert!(desk.answers().contains(&ack(5)));
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..5)]);
}

#[test]
fn what_was_staged_on_top_of_a_failed_commit_is_void_too() {
    let disk = FaultyFs::new(3);
    let (mut desk, mut talker) = greeted(&disk);
    desk.hears(&talker.readings(R, (0, 6), 0, 3));
    disk.fail_once(Fault::Sync);
    assert!(!desk.commits());
    // The device had sent these before it heard of nothing.
    desk.hears(&talker.readings(R, (0, 6), 3, 6));
    assert!(desk.commits());
    assert!(desk.answers().contains(&resend(0)), "the first three are not here");
    assert_eq!(desk.kept(), []);
}

#[test]
fn what_came_twice_is_clipped_and_acknowledged_again() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(4));
    desk.hears(&talker.readings(R, (0, 4), 0, 4));
    desk.commits();
    desk.answers();
    desk.hears(&talker.readings(R, (0, 6), 2, 6));
    desk.commits();
    assert!(desk.answers().contains(&ack(6)));
    desk.hears(&talker.readings(R, (0, 6), 0, 4));
    assert!(desk.answers().contains(&ack(6)), "the acknowledgement was lost on the line");
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..4), Kept::Readings(talker.device, R, 4..6)]);
    assert_eq!(desk.count(Event::ReadingsRepeated), 6);
}

#[test]
fn what_does_not_follow_on_is_asked_for_and_is_not_loss() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(5));
    desk.hears(&talker.readings(R, (0, 9), 4, 9));
    assert!(desk.answers().contains(&resend(0)));
    desk.commits();
    assert_eq!(desk.kept(), []);
}

/// Each frame that was on the way when one was missing used to be answered alike, and the device sent everything behind
/// the gap as many times.
#[test]
fn what_is_on_the_way_behind_a_gap_is_asked_for_once() {
    let asked = |desk: &mut Desk| -> Vec<Down> {
        desk.answers().into_iter().filter(|answer| matches!(answer, Down::Resend { .. })).collect()
    };
    let (mut desk, mut talker) = greeted(&FaultyFs::new(5));
    for first in [2, 4, 6] {
        desk.hears(&talker.readings(R, (0, 8), first, first + 2));
    }
    assert_eq!(asked(&mut desk), [resend(0)]);
    // It went back, and the line lost the same frame again.
    desk.hears(&talker.readings(R, (0, 8), 2, 4));
    desk.hears(&talker.readings(R, (0, 8), 4, 8));
    assert_eq!(asked(&mut desk), [resend(0)]);
    // It lost all of it, and the device says where it stands after a silence.
    desk.hears(&talker.readings(R, (0, 8), 4, 4));
    assert_eq!(asked(&mut desk), [resend(0)]);
    desk.hears(&talker.readings(R, (0, 8), 0, 8));
    assert!(desk.commits());
    assert!(desk.answers().contains(&ack(8)));
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..8)]);
    // The next gap is another one.
    desk.hears(&talker.readings(R, (0, 12), 10, 12));
    assert_eq!(asked(&mut desk), [resend(8)]);
    assert_eq!((desk.count(Event::Resends), desk.count(Event::ReadingsRepeated)), (4, 0));
}

#[test]
fn credit_is_for_no_more_than_can_be_staged() {
    let ahead = |others: u64| {
        let (mut desk, mut talker) = greeted(&FaultyFs::new(5));
        // Two lines are there already.
        (2..others).for_each(|line| desk.intake.attach(LinkId(100 + line)));
        desk.hears(&talker.readings(R, (0, 8), 0, 8));
        assert!(desk.commits());
        let credit = desk.answers().into_iter().find_map(|answer| match answer {
            Down::Credit { upto, .. } => Some(upto.0),
            _ => None,
        });
        credit.expect("credit") - 8
    };
    // A quarter of a mebibyte for all of them, 40 bytes a reading; and a device that is alone in being busy goes on.
    assert_eq!([2, 10, 25, 50].map(ahead), [1024, 655, 262, 256]);
}

#[test]
fn what_a_full_ring_evicted_is_claimed_exactly() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(6));
    desk.hears(&talker.readings(R, (0, 2), 0, 2));
    desk.hears(&talker.readings(R, (7, 20), 9, 12));
    assert!(desk.answers().contains(&resend(7)), "claimed up to the ring's base, the rest is asked for");
    desk.hears(&talker.readings(R, (7, 20), 7, 9));
    desk.commits();
    assert!(desk.answers().contains(&ack(9)));
    assert_eq!(
        desk.kept(),
        [
            Kept::Readings(talker.device, R, 0..2),
            Kept::Claim(talker.device, R, LossKind::Ring, 2..7),
            Kept::Readings(talker.device, R, 7..9)
        ]
    );
}

#[test]
fn history_from_before_this_agent_is_claimed_as_unknown() {
    let mut desk = Desk::open(&FaultyFs::new(7));
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 40, 60)]));
    desk.commits();
    assert!(desk.answers().contains(&ack(40)));
    assert_eq!(desk.kept(), [Kept::Claim(talker.device, R, LossKind::UnknownHistory, 0..40)]);
    let state = desk.queue.state();
    let from = state.lock().restarts.get(&(talker.device, R)).map(|progress| progress.from);
    assert_eq!(from, Some(Sequence(40)));
}

#[test]
fn a_reading_that_cannot_be_decoded_is_claimed_and_does_not_come_for_ever() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(8));
    let Up::Readings(mut readings) = talker.readings(R, (0, 3), 0, 1) else { unreachable!() };
    let mut bytes = readings.readings.as_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 99]);
    readings.readings = weir_protocol::Items::new(&bytes);
    desk.hears(&Up::Readings(readings));
    desk.commits();
    assert!(desk.answers().contains(&ack(2)));
    let lost = Kept::Claim(talker.device, R, LossKind::Rejected, 1..2);
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..1), lost]);
}

#[test]
fn a_line_whose_device_is_unknown_is_asked_who_is_there() {
    let mut desk = Desk::open(&FaultyFs::new(9));
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.readings(R, (0, 2), 0, 2));
    assert_eq!(desk.answers(), [Down::HelloRequest]);
    desk.commits();
    assert_eq!(desk.kept(), []);
}

#[test]
fn an_unknown_schema_is_asked_for_once_it_is_seen_and_never_again_once_it_is_known() {
    let disk = FaultyFs::new(10);
    let mut desk = Desk::open(&disk);
    let mut talker = Talker::new("board-1", Ring::Durable);
    let schema = talker.schema();
    desk.hears(&talker.hello(&[(R, 0, 0)]));
    assert!(desk.answers().contains(&Down::DescribeRequest { schema }));
    desk.hears(&talker.describe());
    desk.hears(&talker.readings(R, (0, 1), 0, 1));
    desk.commits();
    assert!(!desk.answers().contains(&Down::DescribeRequest { schema }));
    desk.queue.save().expect("a good disk");
    let mut desk = Desk::open(&disk.power_cut());
    desk.hears(&talker.hello(&[(R, 0, 1)]));
    assert!(!desk.answers().contains(&Down::DescribeRequest { schema }), "it survives a power cut");
}

#[test]
fn every_life_of_a_device_without_numbers_gets_one_that_no_other_ever_had() {
    let mut desk = Desk::open(&FaultyFs::new(11));
    let mut talker = Talker::new("bare", Ring::Volatile);
    let assigned = |desk: &mut Desk| {
        desk.answers().into_iter().find_map(|down| match down {
            Down::AssignRestart { restart } => Some(restart),
            _ => None,
        })
    };
    desk.hears(&talker.hello(&[(Restart::UNBOUND, 0, 0)]));
    let first = assigned(&mut desk).expect("a number");
    assert!(first.is_from_agent());
    // It took the number, sampled, and lost its power before a word of that arrived.
    desk.hears(&talker.hello(&[(Restart::UNBOUND, 0, 0)]));
    let second = assigned(&mut desk).expect("a number");
    assert_ne!(second, first, "what the first life sampled is not what the second one does");
    desk.hears(&talker.hello(&[(second, 0, 4)]));
    assert_eq!(assigned(&mut desk), None);
}

#[test]
fn two_restarts_that_take_turns_are_two_devices_of_one_name() {
    let mut desk = Desk::open(&FaultyFs::new(12));
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 5)]));
    desk.hears(&talker.hello(&[(R, 0, 9)]));
    // The newest is the last: an older one that is still held is lawful.
    desk.hears(&talker.hello(&[(R, 0, 9), (R2, 0, 1)]));
    assert_eq!(desk.count(Event::CloneAlarm), 0);
    desk.hears_on(OTHER_LINE, &talker.hello(&[(R, 0, 12)]));
    assert_eq!(desk.count(Event::CloneAlarm), 1);
}

#[test]
fn a_volatile_ring_that_vanished_ends_its_restart_with_an_unknown_tail_once() {
    let mut desk = Desk::open(&FaultyFs::new(13));
    let mut talker = Talker::new("board-1", Ring::Volatile);
    desk.hears(&talker.hello(&[(R, 0, 2)]));
    desk.hears(&talker.readings(R, (0, 2), 0, 2));
    desk.commits();
    for _ in 0..2 {
        desk.hears(&talker.hello(&[(R2, 0, 0)]));
        desk.commits();
    }
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..2), Kept::End(talker.device, R, 2)]);
}

/// A device says Hello once and has nothing to add when a disk fails: the end went with the commit, and the restart stayed
/// open for ever. Found by seeds 879 and 940 of the simulation.
#[test]
fn the_end_of_a_restart_outlives_failed_commits_though_its_device_says_no_more() {
    let disk = FaultyFs::new(18);
    let mut desk = Desk::open(&disk);
    let mut talker = Talker::new("board-1", Ring::Volatile);
    desk.hears(&talker.hello(&[(R, 0, 4)]));
    desk.hears(&talker.readings(R, (0, 4), 0, 2));
    assert!(desk.commits());
    // Two more are in the commit that fails, and gone with the ring.
    desk.hears(&talker.readings(R, (0, 4), 2, 4));
    desk.hears(&talker.hello(&[(R2, 0, 0)]));
    for _ in 0..2 {
        disk.fail_once(Fault::Sync);
        assert!(!desk.commits());
    }
    // Nobody is on the line any more who could say it.
    desk.intake.detach(LINE);
    assert!(desk.commits());
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..2), Kept::End(talker.device, R, 2)]);
    assert!(!desk.intake.has_staged());
}

#[test]
fn a_durable_ring_ends_nothing_by_not_listing_it() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(14));
    desk.hears(&talker.readings(R, (0, 2), 0, 2));
    desk.commits();
    desk.hears(&talker.hello(&[(R2, 0, 0)]));
    desk.commits();
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..2)]);
}

#[test]
fn a_question_for_the_time_is_answered_at_once() {
    let mut desk = Desk::open(&FaultyFs::new(15));
    desk.hears(&Up::TimeRequest { sent: 1234 });
    assert_eq!(desk.answers(), [Down::TimeSync { sent: 1234, time: NOON }]);
}

#[test]
fn a_full_queue_takes_nothing_and_gives_no_credit_until_there_is_room() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(16));
    desk.intake.set_rooms(vec![100]);
    desk.hears(&talker.readings(R, (0, 50), 0, 50));
    desk.commits();
    let answers = desk.answers();
    let Some(Down::Ack { accepted, .. }) = answers.iter().find(|down| matches!(down, Down::Ack { .. })) else {
        panic!("what fits is taken: {answers:?}")
    };
    assert!(accepted.0 < 50, "{accepted}");
    desk.intake.set_rooms(vec![0]);
    desk.hears(&talker.readings(R, (accepted.0, 50), accepted.0, 50));
    assert_eq!(credit(&desk.answers()), Some(accepted.0), "no credit");
    assert!(desk.count(Event::QueueFull) > 0);
    desk.intake.set_rooms(vec![1 << 20]);
    assert!(credit(&desk.answers()).is_some_and(|upto| upto > accepted.0), "credit as soon as there is room");
}

#[test]
fn a_claim_gets_into_a_queue_that_is_full_for_readings() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(17));
    desk.intake.set_rooms(vec![0]);
    desk.hears(&talker.readings(R, (30, 90), 30, 60));
    desk.commits();
    assert_eq!(desk.kept(), []);
    assert_eq!(desk.claimed(), [Kept::Claim(talker.device, R, LossKind::UnknownHistory, 0..30)]);
    assert!(desk.answers().contains(&ack(30)));
}

#[test]
fn recovery_knows_what_was_accepted_without_any_checkpoint() {
    let disk = FaultyFs::new(18);
    let (mut desk, mut talker) = greeted(&disk);
    desk.hears(&talker.readings(R, (0, 8), 0, 8));
    desk.commits();
    let mut desk = Desk::open(&disk.power_cut());
    assert_eq!(desk.recovered.replayed, 1);
    desk.hears(&talker.hello(&[(R, 0, 8)]));
    assert!(desk.answers().contains(&ack(8)));
}

#[test]
fn a_damaged_state_file_costs_repeats_and_no_reading() {
    let disk = FaultyFs::new(19);
    let (mut desk, mut talker) = greeted(&disk);
    desk.hears(&talker.readings(R, (0, 8), 0, 8));
    desk.commits();
    desk.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.insert(0..1);
    desk.queue.save().expect("a good disk");
    drop(desk);
    assert!(disk.flip_bit("/agent/state".as_ref(), 40, 3));
    let desk = Desk::open(&disk.power_cut());
    assert!(desk.recovered.state_damage.is_some());
    assert_eq!(desk.kept(), [Kept::Readings(talker.device, R, 0..8)]);
    assert!(desk.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.is_empty(), "everything is shipped again");
}

/// A log holds sequences below 2^63, and a gateway refuses a batch that names others. One such claim in the queue
/// would be refused for ever, and everything of all devices would wait behind it.
#[test]
fn sequences_that_no_log_can_hold_do_not_get_into_the_queue() {
    let (mut desk, mut talker) = greeted(&FaultyFs::new(20));
    let end = Sequence::END.0;
    desk.hears(&talker.hello(&[(R2, end + 1, end + 2)]));
    desk.hears(&talker.readings(R2, (end, end + 5), end, end + 1));
    desk.commits();
    assert_eq!(desk.kept(), []);
    assert_eq!(desk.count(Event::Inconsistent), 2);
    desk.hears(&talker.hello(&[(R2, end, end)]));
    desk.commits();
    assert_eq!(desk.kept(), [Kept::Claim(talker.device, R2, LossKind::UnknownHistory, 0..end)]);
}

#[test]
fn random_messages_are_counted_and_harm_nobody() {
    use rand::{RngCore, SeedableRng};
    crate::seeds::for_each_seed("random_messages", 3, |seed| {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let (mut desk, mut talker) = greeted(&FaultyFs::new(seed));
        let mut bytes = [0; 64];
        for _ in 0..2000 {
            random.fill_bytes(&mut bytes);
            // Small first bytes reach the messages that exist.
            bytes[0] %= 6;
            let length = 1 + random.next_u32() as usize % bytes.len();
            desk.intake.receive(LinkId(1 + u64::from(random.next_u32() % 3)), &bytes[..length]);
        }
        assert!(desk.count(Event::FrameBadMessage) > 0);
        desk.commits();
        desk.hears_on(LINE, &talker.hello(&[(R2, 0, 0)]));
        desk.hears(&talker.readings(R2, (0, 4), 0, 4));
        assert!(desk.commits());
        assert!(desk.kept().contains(&Kept::Readings(talker.device, R2, 0..4)));
    });
}
