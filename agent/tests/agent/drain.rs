//! An outage of hours, and what comes after it: the backlog goes, memory stays as it was, and fresh readings do not wait.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rustix::process::Signal;
use weir_agent::queue::{ClassId, Entries, Incarnation, Queue, QueueOptions};
use weir_protocol::batch::RunBuilder;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{ChannelId, Clock, RangeSet, Reading, Restart, SchemaHash, Sequence, Value, items};
use weir_storage::{Batch, Fs, RealFs};

use crate::process::Place;
use crate::support::board::Board;
use crate::support::device::Talker;
use crate::support::gateway::Gateway;
use crate::support::kept::Kept;
use crate::support::{NOON, device};

const R: Restart = Restart::from_boot(1, 7);
/// A slice of a day at 1,000 readings a second: 15 minutes.
const BACKLOG: u64 = 900_000;
const RUN: u64 = 500;
/// What came in the moment before the connection, and is as fresh as what comes on it: 256 records.
const MOMENT: u64 = 256 * RUN;
/// Bytes a second of the backlog, as it goes on the wire.
const RATE: usize = 256 << 10;
/// What two seconds of it are: more must not come between a fresh reading and its arrival.
const TWO_SECONDS: usize = 2 * RATE;
const MEMORY_KIB: u64 = 24 << 10;

/// Readings of a board that an agent took while it had no gateway.
fn outage(data: &Path) {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (queue, _) = Queue::open(&fs, data, QueueOptions::default(), Incarnation(1)).expect("a queue");
    let key = (device("board-0"), R);
    for first in (0..BACKLOG).step_by(RUN as usize * 100) {
        let mut batch = Batch::new();
        let end = (first + RUN * 100).min(BACKLOG);
        for start in (first..end).step_by(RUN as usize) {
            let mut run = RunBuilder::new(key.0, R, SchemaHash(1), Sequence(start));
            for sequence in start..start + RUN {
                let time = NOON.plus_micros(sequence as i64 * 1000);
                let value = Value::Integer(sequence as i64);
                run.push(&Reading { channel: ChannelId(0), time, clock: Clock::Synchronised, value });
            }
            let mut encoded = Vec::new();
            items::push(&mut encoded, &run.section());
            batch.push(NOON.as_millis(), None, Some(&encoded), &[]).expect("a small record");
        }
        let (sender, done) = mpsc::channel();
        let submitted = queue.submit(Entries::of(batch), move |committed| sender.send(committed).expect("a listener"));
        submitted.expect("a running committer");
        for part in done.recv().expect("an answer").parts {
            let (offsets, began) = part.result.expect("a good disk");
            let named = BTreeMap::from([(key, RangeSet::from_iter([first..end]))]);
            queue.state().lock().of_mut(ClassId::DEFAULT).note(&offsets, began, &named);
        }
        queue.state().lock().restarts.accept(key, Sequence(0), Sequence(end), false);
    }
    queue.save().expect("a good disk");
}

/// Anonymous memory of a process, at its most now: what it allocated, and not its program.
fn allocated_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a kernel that says it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn after_an_outage_the_backlog_drains_in_flat_memory_and_what_is_fresh_comes_within_two_seconds_of_it() {
    let gateway = Gateway::open().await;
    let place = Place::with_line(gateway.port());
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    let paced = format!("[uplink]\nbacklog_rate = \"{RATE} B\"\nbacklog_delay = \"0ms\"\n");
    std::fs::write(place.config(), settings.replace("[uplink]\n", &paced)).expect("a file");
    outage(&place.data());
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let agent = place.start();
    let mut peer = gateway.accept(100).await;
    board.hears(|down| matches!(down, Down::HelloRequest).then_some(())).await;
    board.says(&talker.hello(&[(R, 0, 0)])).await;
    board.says(&talker.describe()).await;
    let of_the_board = talker.device;
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel::<u64>();
    let (on_disk, was_acknowledged) = tokio::sync::watch::channel(0);
    // Beside the gateway, as a device is: it says a reading and hears that the agent has it on disk.
    let board = tokio::spawn(async move {
        while let Some(fresh) = said.recv().await {
            board.says(&talker.readings(R, (fresh, fresh + 1), fresh, fresh + 1)).await;
            let accepted = |down| match down {
                Down::Ack { accepted, .. } if accepted.0 > fresh => Some(accepted.0),
                _ => None,
            };
            on_disk.send_replace(board.hears(accepted).await);
        }
    });
    let (mut stored, mut fresh, mut most_kib) = (RangeSet::new(), 0, 0);
    let mut old: [Vec<Range<u64>>; 2] = Default::default();
    while !stored.contains_all(0..BACKLOG) {
        say.send(fresh).expect("a board");
        let mut between = 0;
        loop {
            let (came, bytes) = peer.batch_with_size().await;
            peer.answer(came.packet, PubAckReason::Success).await;
            most_kib = most_kib.max(allocated_kib(agent.pid()));
            let is_fresh = |kept: &Kept| matches!(kept, Kept::Readings(of, _, range) if *of == of_the_board && range.contains(&fresh));
            let has_come = came.sections.iter().any(is_fresh);
            for kept in came.sections {
                if let Kept::Readings(of, _, range) = kept
                    && of != of_the_board
                {
                    old[usize::from(range.start >= BACKLOG - MOMENT)].push(range);
                }
            }
            if has_come {
                break;
            }
            // How long the disk takes is not the order of lanes.
            if *was_acknowledged.borrow() > fresh {
                between += bytes;
            }
            assert!(between < TWO_SECONDS, "{between} bytes of backlog before reading {fresh}");
        }
        for lane in &mut old {
            assert!(lane.windows(2).all(|pair| pair[0].end == pair[1].start), "each goes in its order, once");
            lane.drain(..lane.len().saturating_sub(1)).for_each(|range| stored.insert(range));
            lane.last().cloned().into_iter().for_each(|range| stored.insert(range));
        }
        fresh += 1;
    }
    assert!(fresh > 3, "{fresh} fresh readings came while it went");
    assert!(most_kib < MEMORY_KIB, "{most_kib} KiB");
    agent.signal(Signal::TERM);
    drop((peer, say));
    board.await.expect("a board that heard everything");
}
