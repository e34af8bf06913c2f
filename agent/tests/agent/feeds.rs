//! Feeds: what sources put arrives in the queue, or is claimed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_agent::counters::Event;
use weir_agent::queue::ClassId;
use weir_agent::source::clock::SampleTime;
use weir_agent::source::feed::{Feed, PutError, Sample};
use weir_protocol::batch::{LossKind, Section};
use weir_protocol::{Clock, DeviceId, Items, Restart, Value, ValueKind};
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use crate::seeds::for_each_seed;
use crate::support::kept::Kept;
use crate::support::office::Office;
use crate::support::sources::Bench;
use crate::support::{NOON, device};

/// The sample that gets this sequence.
fn sample(sequence: u64) -> Sample<'static> {
    named("count", sequence)
}

fn named(name: &str, sequence: u64) -> Sample<'_> {
    let at = SampleTime { time: NOON, clock: Clock::Synchronised };
    Sample { name, unit: "1", resolution: 1.0, value: Value::Integer(sequence as i64), at }
}

fn puts(feed: &Feed, sequences: std::ops::Range<u64>) {
    sequences.for_each(|sequence| feed.put(&sample(sequence)).expect("it is taken"));
}

/// The restart and what is there of it, runs joined.
fn joined(kept: &[Kept], of: DeviceId) -> (Restart, Vec<Kept>) {
    let mut joined: Vec<Kept> = Vec::new();
    for kept in kept {
        match (joined.last_mut(), kept) {
            (Some(Kept::Readings(_, _, run)), Kept::Readings(device, _, more)) if run.end == more.start => {
                assert_eq!(*device, of);
                run.end = more.end;
            }
            _ => joined.push(kept.clone()),
        }
    }
    match joined[0] {
        Kept::Readings(_, restart, _) | Kept::Claim(_, restart, ..) | Kept::End(_, restart, _) => (restart, joined),
    }
}

#[tokio::test]
async fn what_is_put_is_on_disk_when_the_feed_says_so_and_a_stop_leaves_nothing_behind() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("plc-1");
    let feed = bench.context("modbus", "plc-1").feed(name).expect("a feed");
    let taken = feed.put_all(&[sample(0), sample(1)]);
    assert_eq!((taken.sequences.clone(), taken.refused.len()), (0..2, 0));
    assert!(feed.kept(taken.sequences).await);
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 2);
    puts(&feed, 2..3000);
    bench.feeds.finish().await;
    assert_eq!(feed.put(&sample(3000)), Err(PutError::Stopping));
    let queue = std::sync::Arc::clone(&office.queue);
    let (restart, kept) = joined(&office.closes().await, name);
    assert_eq!(kept, [Kept::Readings(name, restart, 0..3000)]);
    let state = queue.state();
    let progress = *state.lock().restarts.get(&(name, restart)).expect("a known restart");
    assert!(progress.ended && progress.accepted.0 == 3000, "{progress:?}");
}

#[tokio::test]
async fn a_feed_that_is_filled_without_pause_sends_again_what_a_failing_disk_did_not_take() {
    // It used to wait for a silence that never came while samples came more often than that.
    let disk = FaultyFs::new(2);
    let (office, handle) = Office::open(&disk);
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("plc-1");
    let feed = bench.context("modbus", "plc-1").feed(name).expect("a feed");
    disk.set_capacity(Some(0));
    let mut next = 0;
    // As many as credit goes, so that nothing that follows could show that something is missing.
    while next < 1024 || office.counters.get(Event::CommitsFailed) == 0 {
        puts(&feed, next..next + 1);
        next += 1;
        tokio::task::yield_now().await;
    }
    let failing = office.queue.failing().expect("why nothing is taken");
    assert!(failing.contains("cannot write"), "{failing}");
    disk.set_capacity(None);
    // Samples come more often than a silence is long.
    let (all, mut samples) = (feed.kept(0..next), tokio::time::interval(Duration::from_millis(5)));
    let mut all = std::pin::pin!(all);
    let is_kept = loop {
        tokio::select! {
            is_kept = &mut all => break is_kept,
            _ = samples.tick(), if feed.room() > 0 => {
                puts(&feed, next..next + 1);
                next += 1;
            }
        }
    };
    assert!(is_kept, "everything is on disk");
    assert_eq!(office.queue.failing(), None);
    bench.feeds.finish().await;
    let (restart, kept) = joined(&office.closes().await, name);
    assert_eq!(kept, [Kept::Readings(name, restart, 0..next)]);
}

/// Every reading used to be sent again each second for as long as a commit took, and with commits that are seconds apart
/// all of them were.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_twice_while_a_commit_takes_long() {
    // No time passes here but what somebody waits for, so that this is many silences.
    let (office, handle) = Office::with_rules(&FaultyFs::new(7), "[queue]\ncommit_interval = \"50ms\"\n");
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("plc-1");
    let feed = bench.context("modbus", "plc-1").feed(name).expect("a feed");
    puts(&feed, 0..100);
    assert!(feed.kept(0..100).await);
    let before = tokio::time::Instant::now();
    puts(&feed, 100..3000);
    assert!(feed.kept(100..3000).await);
    assert!(before.elapsed() > Duration::from_secs(5), "the disk was slow");
    assert_eq!((office.counters.get(Event::ReadingsRepeated), office.counters.get(Event::Resends)), (0, 0));
    bench.feeds.finish().await;
    let (restart, kept) = joined(&office.closes().await, name);
    assert_eq!(kept, [Kept::Readings(name, restart, 0..3000)]);
}

#[tokio::test]
async fn a_full_ring_evicts_the_oldest_which_is_claimed_and_never_said_to_be_kept() {
    let disk = FaultyFs::new(3);
    let (office, handle) = Office::open(&disk);
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("plc-1");
    disk.set_capacity(Some(0));
    let feed = bench.context("modbus", "plc-1").feed_with(name, 256).expect("a feed");
    puts(&feed, 0..256);
    office.sees(Event::CommitsFailed).await;
    assert_eq!(feed.room(), 0);
    puts(&feed, 256..300);
    disk.set_capacity(None);
    assert!(!feed.kept(0..300).await);
    assert!(feed.kept(256..300).await);
    assert_eq!(office.counters.get(Event::ReadingsEvicted), 44);
    bench.feeds.finish().await;
    let (restart, kept) = joined(&office.closes().await, name);
    // Nothing of this restart was ever on disk, so what is gone is history that nobody knew.
    let claim = Kept::Claim(name, restart, LossKind::UnknownHistory, 0..44);
    assert_eq!(kept, [claim, Kept::Readings(name, restart, 44..300)]);
}

#[tokio::test]
async fn every_reading_in_the_queue_has_its_description_there_however_channels_come() {
    let (office, handle) = Office::open(&FaultyFs::new(4));
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("plc-1");
    let feed = bench.context("mqtt", "lan").feed(name).expect("a feed");
    for sequence in 0..200 {
        feed.put(&named(&format!("channel-{sequence}"), sequence)).expect("it is taken");
        // Sometimes the feed speaks in between, sometimes not.
        if sequence % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(feed.kept(0..200).await);
    let reader = office.queue.reader(ClassId::DEFAULT);
    let state = office.queue.state();
    let mut at = reader.start_offset();
    while at < reader.end_offset() {
        let chunk = reader.read(at, 4096).expect("a readable queue");
        for record in chunk.records() {
            let record = record.expect("a good record");
            for section in Items::<Section<'_>>::new(record.value.expect("a value")) {
                let Section::Readings(run) = section.expect("a good section") else { panic!("only readings") };
                let described = state.lock().descriptions.get(name, run.schema).is_some();
                assert!(described, "{} of {}", run.schema, run.first);
            }
        }
        at = chunk.next_offset;
    }
}

#[tokio::test]
async fn sources_that_name_one_device_put_into_one_feed() {
    let (office, handle) = Office::open(&FaultyFs::new(5));
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("box-1");
    let one = bench.context("i2c", "1-48").feed(name).expect("a feed");
    let other = bench.context("iio", "box-1").feed(name).expect("a feed");
    puts(&one, 0..1);
    other.put(&named("other", 1)).expect("it is taken");
    bench.feeds.finish().await;
    let (restart, kept) = joined(&office.closes().await, name);
    assert_eq!(kept, [Kept::Readings(name, restart, 0..2)], "one restart, one sequence");
    assert_eq!(bench.health.sources().iter().map(|source| source.readings).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn a_sample_that_its_channel_cannot_carry_is_refused_by_name_and_the_others_are_taken() {
    let bench = Bench::unlinked();
    let feed = bench.context("exec", "ups").feed(device("ups")).expect("a feed");
    feed.declare("state", "1", ValueKind::Text, 0.0).expect("a channel");
    let long = "x".repeat(129);
    let taken = feed.put_all(&[
        sample(0),
        Sample { unit: "Cel", ..sample(1) },
        Sample { name: "state", ..sample(1) },
        Sample { name: "state", value: Value::Text(&long), ..sample(1) },
        Sample { name: "state", value: Value::Text("on line"), ..sample(1) },
        Sample { name: "coun t", unit: "", ..sample(2) },
        Sample { name: "coun t", ..sample(2) },
        Sample { name: "coun_t", ..sample(2) },
    ]);
    assert_eq!(taken.sequences, 0..3);
    let said: Vec<(usize, String)> = taken.refused.iter().map(|(at, error)| (*at, error.to_string())).collect();
    let expected = [
        (1, "channel count: got unit \"Cel\", expected \"1\" as before; give it another name"),
        (2, "channel state: got a value of kind Integer, expected Text as before; give it another name"),
        (3, "channel state: got a text of 129 bytes, expected at most 128"),
        (5, "channel coun t: got unit \"\", expected a UCUM code of 1 to 32 characters such as \"Cel\", or \"1\""),
        (7, "channel \"coun_t\": such a name is taken or empty; use A-Z a-z 0-9 . _ -"),
    ];
    assert_eq!(said, expected.map(|(at, text)| (at, text.to_owned())));
    assert_eq!(bench.counters.get(Event::SamplesRefused), 5);
    assert_eq!(bench.health.sources()[0].last_error.as_deref(), Some(expected[4].1));
}

#[tokio::test]
async fn channels_and_devices_are_bounded() {
    let bench = Bench::unlinked();
    let context = bench.context("mqtt", "lan");
    let feed = context.feed(device("many")).expect("a feed");
    let names: Vec<String> = (0..257).map(|number| format!("channel-{number}")).collect();
    let samples: Vec<Sample<'_>> = names.iter().map(|name| named(name, 1)).collect();
    let taken = feed.put_all(&samples);
    assert_eq!(taken.sequences, 0..256);
    assert_eq!(taken.refused, [(256, PutError::TooManyChannels { channel: "channel-256".to_owned() })]);
    let opened = (0..300).filter(|number| context.feed(device(&format!("device-{number}"))).is_ok()).count();
    assert_eq!(opened, 255, "and the one before");
}

/// The ring of a feed used to run ahead of its credit while the disk failed: nothing could be sent any more, so the agent
/// never heard that its credit was for readings that were gone, and gave no other.
#[tokio::test]
async fn a_ring_that_ran_ahead_of_its_credit_while_the_disk_failed_is_heard_of() {
    let disk = FaultyFs::new(6);
    let (office, handle) = Office::open(&disk);
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("plc-1");
    let feed = bench.context("modbus", "plc-1").feed_with(name, 256).expect("a feed");
    puts(&feed, 0..1);
    assert!(feed.kept(0..1).await);
    disk.fail_sometimes(Fault::Sync, 1000);
    puts(&feed, 1..2);
    office.sees(Event::CommitsFailed).await;
    // Credit is for a thousand readings.
    puts(&feed, 2..2000);
    disk.fail_sometimes(Fault::Sync, 0);
    assert!(feed.kept(1744..2000).await);
    bench.feeds.finish().await;
    let (restart, kept) = joined(&office.closes().await, name);
    let claim = Kept::Claim(name, restart, LossKind::Ring, 1..1744);
    assert_eq!(kept, [Kept::Readings(name, restart, 0..1), claim, Kept::Readings(name, restart, 1744..2000)]);
}

/// A disk that fails now and then, a queue that is full for a while, bursts larger than the ring: in the end every
/// sequence stands in the queue exactly once, as a reading or as a claim, in order.
#[test]
fn whatever_the_disk_does_every_sample_is_a_reading_or_a_claim() {
    for_each_seed("whatever_the_disk_does_every_sample_is_a_reading_or_a_claim", 2, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(a_life(seed));
    });
}

async fn a_life(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let disk = FaultyFs::new(seed);
    let (office, handle) = Office::open(&disk);
    let bench = Bench::feeding(handle, &office.counters);
    let name = device("plc-1");
    let feed = bench.context("modbus", "plc-1").feed_with(name, 256).expect("a feed");
    let mut next = 0;
    for _ in 0..random.random_range(5..30) {
        match random.random_range(0..5) {
            0 => disk.set_capacity(Some(0)),
            1 => disk.set_capacity(None),
            2 => disk.fail_once(if random.random() { Fault::Sync } else { Fault::Write }),
            3 => tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await,
            _ => tokio::task::yield_now().await,
        }
        let upto = next + random.random_range(0..400);
        puts(&feed, next..upto);
        next = upto;
    }
    disk.set_capacity(None);
    let newest = next.saturating_sub(256)..next;
    assert!(feed.kept(newest).await, "what is in the ring is kept once the disk works");
    bench.feeds.finish().await;
    let mut reached = 0;
    for kept in office.closes().await {
        let Some((key, sequences)) = kept.sequences() else { panic!("unexpected {kept:?}") };
        assert_eq!((key.0, sequences.start), (name, reached), "one after the other");
        reached = sequences.end;
    }
    assert_eq!(reached, next);
}
