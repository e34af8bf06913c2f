//! The intake as a task, on a disk that fails for a while.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc};
use weir_agent::counters::{Counters, Event};
use weir_agent::intake::Intake;
use weir_agent::intake::task::{LinkHandle, Task};
use weir_agent::queue::{Incarnation, Queue, QueueOptions};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::serial::{Down, Up};
use weir_protocol::{Restart, Sequence, items};
use weir_storage::fs::Fault;
use weir_storage::{FaultyFs, Fs};

use crate::support::StoppedClock;
use crate::support::device::Talker;
use crate::support::kept::{Kept, records};

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

#[tokio::test]
async fn a_disk_that_comes_back_is_used_again_and_every_line_is_told_when_all_is_done() {
    let disk = FaultyFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let options = QueueOptions { cap: 1 << 20, commit_interval: Duration::ZERO };
    let (queue, _) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(1)).expect("it opens");
    let (queue, counters) = (Arc::new(queue), Arc::new(Counters::default()));
    let random = StdRng::seed_from_u64(1);
    let intake = Intake::new(queue.state(), Arc::new(StoppedClock), random, Arc::clone(&counters));
    let (task, handle, committed) =
        Task::new(intake, Arc::clone(&queue), Arc::clone(&counters), Arc::new(Notify::new()));
    let task = tokio::spawn(task.run());

    let (link, mut answers) = handle.attach().await;
    let mut talker = Talker::new("board-1", Ring::Durable);
    says(&link, &talker.hello(&[(R, 0, 4)])).await;
    hears(&mut answers, |down| matches!(down, Down::Credit { .. })).await;
    disk.set_capacity(Some(0));
    says(&link, &talker.readings(R, (0, 4), 0, 4)).await;
    while counters.get(Event::CommitsFailed) == 0 {
        tokio::task::yield_now().await;
    }
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
    assert!(counters.get(Event::CommitsFailed) >= 2);
    assert_eq!(*committed.borrow(), queue.reader().end_offset());
    // What is on its way when the line's owner stops is still committed and acknowledged.
    says(&link, &talker.readings(R, (4, 9), 4, 9)).await;
    drop((link, handle));
    hears(&mut answers, |down| *down == Down::Ack { restart: R, accepted: Sequence(9) }).await;
    task.await.expect("a good end");
    let kept: Vec<Kept> = records(&queue).into_values().collect();
    assert_eq!(kept, [Kept::Readings(talker.device, R, 0..4), Kept::Readings(talker.device, R, 4..9)]);
}
