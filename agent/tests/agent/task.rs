//! The intake as a task, on a disk that fails for a while.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use weir_agent::counters::{Counters, Event};
use weir_agent::intake::Intake;
use weir_agent::intake::task::{Handle, LinkHandle, Task};
use weir_agent::queue::{ClassId, Entries, Incarnation, Policy, Queue, QueueOptions};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::serial::{Down, Up};
use weir_protocol::{Restart, Sequence, items};
use weir_storage::fs::Fault;
use weir_storage::{Batch, FaultyFs, Fs};

use crate::support::StoppedClock;
use crate::support::device::Talker;
use crate::support::kept::{Kept, records};
use crate::support::wait::until;

const R: Restart = Restart::from_boot(1, 1);

async fn says(link: &LinkHandle, up: &Up<'_>) {
    let mut bytes = Vec::new();
    items::push(&mut bytes, up);
    link.send(bytes).await;
}

/// The next answer for which `wanted` holds.
async fn hears(answers: &mut mpsc::Receiver<Down>, wanted: impl Fn(&Down) -> bool) -> Down {
    let heard = async {
        loop {
            let down = answers.recv().await.expect("a running task");
            if wanted(&down) {
                return down;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("an answer")
}

/// A task with its queue on a disk in memory.
struct Office {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    room: Arc<Notify>,
    committed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Office {
    fn open(disk: &FaultyFs) -> (Self, Handle) {
        Self::with_policy(disk, Policy::Block)
    }

    fn with_policy(disk: &FaultyFs, policy: Policy) -> (Self, Handle) {
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let options = QueueOptions { cap: 1 << 20, policy, ..QueueOptions::default() };
        let (queue, _) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(1)).expect("it opens");
        let (queue, counters, room) = (Arc::new(queue), Arc::new(Counters::default()), Arc::new(Notify::new()));
        let random = StdRng::seed_from_u64(1);
        let intake =
            Intake::new(queue.state(), queue.policies(), Arc::new(StoppedClock), random, Arc::clone(&counters));
        let (task, handle, committed) = Task::new(intake, Arc::clone(&queue), Arc::clone(&counters), Arc::clone(&room));
        (Self { queue, counters, room, committed, task: tokio::spawn(task.run()) }, handle)
    }
}

#[tokio::test]
async fn a_disk_that_comes_back_is_used_again_and_every_line_is_told_when_all_is_done() {
    let disk = FaultyFs::new(1);
    let (office, handle) = Office::open(&disk);
    let (link, mut answers) = handle.attach().await;
    let mut talker = Talker::new("board-1", Ring::Durable);
    says(&link, &talker.hello(&[(R, 0, 4)])).await;
    hears(&mut answers, |down| matches!(down, Down::Credit { .. })).await;
    disk.set_capacity(Some(0));
    says(&link, &talker.readings(R, (0, 4), 0, 4)).await;
    until("a failed commit", || (office.counters.get(Event::CommitsFailed) > 0).then_some(())).await;
    disk.set_capacity(None);
    disk.fail_once(Fault::Sync);
    // The device hears nothing and says it again, as devices do.
    let acked = Down::Ack { restart: R, accepted: Sequence(4) };
    loop {
        says(&link, &talker.readings(R, (0, 4), 0, 4)).await;
        let soon = tokio::time::timeout(Duration::from_millis(50), hears(&mut answers, |down| *down == acked));
        if soon.await.is_ok() {
            break;
        }
    }
    assert!(office.counters.get(Event::CommitsFailed) >= 2);
    assert_eq!(*office.committed.borrow(), office.queue.reader(ClassId::DEFAULT).end_offset());
    // What is on its way when the line's owner stops is still committed and acknowledged.
    says(&link, &talker.readings(R, (4, 9), 4, 9)).await;
    drop((link, handle));
    hears(&mut answers, |down| *down == Down::Ack { restart: R, accepted: Sequence(9) }).await;
    office.task.await.expect("a good end");
    let kept: Vec<Kept> = records(&office.queue).into_values().collect();
    assert_eq!(kept, [Kept::Readings(talker.device, R, 0..4), Kept::Readings(talker.device, R, 4..9)]);
}

#[tokio::test]
async fn a_device_that_obeys_its_credit_fills_the_queue_without_a_failure_and_goes_on_when_there_is_room() {
    let (office, handle) = Office::open(&FaultyFs::new(2));
    let (link, mut answers) = handle.attach().await;
    let mut talker = Talker::new("board-1", Ring::Durable);
    says(&link, &talker.hello(&[(R, 0, 0)])).await;
    let upto = |down: &Down| match down {
        Down::Credit { upto, .. } => Some(upto.0),
        _ => None,
    };
    let (mut sent, mut acked, mut credit) = (0, 0, 0);
    // An acknowledgement comes with the credit that goes with it.
    while sent == 0 || credit > acked {
        let ack = |down: &Down| matches!(down, Down::Ack { .. });
        if sent > 0
            && let Down::Ack { accepted, .. } = hears(&mut answers, ack).await
        {
            acked = accepted.0;
        }
        credit = upto(&hears(&mut answers, |down| upto(down).is_some()).await).unwrap_or(0);
        while sent < credit {
            let end = credit.min(sent + 40);
            says(&link, &talker.readings(R, (sent, end), sent, end)).await;
            sent = end;
        }
    }
    let accepted = office.queue.state().lock().restarts.get(&(talker.device, R)).map(|progress| progress.accepted);
    assert!(accepted >= Some(Sequence(acked)), "what was acknowledged is on disk");
    // The last credit is an estimate: a few readings of it may not have been taken, and come again.
    assert!(sent - acked < 128, "{sent} sent, {acked} taken");
    assert_eq!(office.counters.get(Event::CommitsFailed), 0);
    assert!(
        office.queue.room(ClassId::DEFAULT) < office.queue.options().cap / 8,
        "{} bytes of room",
        office.queue.room(ClassId::DEFAULT)
    );
    // The gateway takes all of it.
    let end = office.queue.reader(ClassId::DEFAULT).end_offset();
    office.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.insert(0..end);
    office.queue.trim().expect("a good disk");
    office.room.notify_one();
    let more = hears(&mut answers, |down| upto(down).is_some_and(|upto| upto > acked)).await;
    assert!(upto(&more).is_some());
}

/// A thread that commits can die, and then nothing is ever acknowledged again: the task ends, so that the process
/// ends with an error and whoever watches it starts it again. It used to wait for ever.
#[tokio::test]
async fn an_intake_whose_committer_died_ends_instead_of_waiting_for_ever() {
    let (office, handle) = Office::open(&FaultyFs::new(3));
    let (link, mut answers) = handle.attach().await;
    let mut talker = Talker::new("board-1", Ring::Durable);
    says(&link, &talker.hello(&[(R, 0, 4)])).await;
    hears(&mut answers, |down| matches!(down, Down::Credit { .. })).await;
    let mut batch = Batch::new();
    batch.push(0, None, Some(b"the last one"), &[]).expect("a small record");
    office
        .queue
        .submit(Entries::of(batch), |_| panic!("planted: the commit thread dies"))
        .expect("a running committer");
    says(&link, &talker.readings(R, (0, 4), 0, 4)).await;
    tokio::time::timeout(Duration::from_secs(20), office.task).await.expect("an end").expect("no panic here");
    assert!(!answers.try_recv().is_ok_and(|down| matches!(down, Down::Ack { .. })), "nothing was acknowledged");
}
