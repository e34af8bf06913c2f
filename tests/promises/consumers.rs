//! Consumers, over the Kafka protocol.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_lab::binaries::{Binaries, Plant};
use weir_lab::deployment::{Aim, Deployment, Target};
use weir_lab::kafka::consumer::{Book, consume};
use weir_lab::kafka::log::{Log, Place, Reach};
use weir_lab::kafka::member::{Group, Member, Standing, offsets_of};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{Clock, Timestamp};
use weir_tests::sender::Sender;
use weir_tests::{PATIENCE, binaries, deployment, expect_to_hold, plan, soak_slice};

/// Partitions of the topic.
const PARTITIONS: i32 = 4;
/// How long a member may be silent.
const SESSION: Duration = Duration::from_secs(2);
/// A rebalance is over when the others have beaten once more; beyond the session that takes no time, and the machine
/// that runs the test may be busy.
const BUSY: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

fn group(id: &str) -> Group {
    Group { id: id.to_owned(), topic: "readings".to_owned(), partitions: PARTITIONS, session: SESSION }
}

/// Waits for what no event tells.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("after {PATIENCE:?} still not: {what}"));
}

/// Offset to key, time and value of the records of a partition.
type Seen = BTreeMap<(Place, i64), (Option<Vec<u8>>, i64, Option<Vec<u8>>)>;

/// Follows all partitions and notes what it is served, for ever.
async fn follow(kafka: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let mut at = vec![0; PARTITIONS as usize];
    loop {
        if let Ok(mut log) = Log::connect(kafka).await {
            while let Ok(()) = follow_once(&mut log, &mut at, &seen).await {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn follow_once(log: &mut Log, at: &mut [u64], seen: &Mutex<Seen>) -> Result<(), String> {
    for (partition, at) in at.iter_mut().enumerate() {
        let place = ("readings".to_owned(), partition as i32);
        let reach = Reach { wait_ms: 5, ..Reach::default() };
        let fetched = log.fetch(&place, *at, reach).await.map_err(|error| error.to_string())?;
        // Out of range is what a consumer is told that has seen more than there is.
        let fetched = fetched.ok_or_else(|| format!("{at} is out of range"))?;
        let mut seen = seen.lock().unwrap();
        for record in &fetched.records {
            let value = (
                record.key.as_deref().map(<[u8]>::to_vec),
                record.timestamp,
                record.value.as_deref().map(<[u8]>::to_vec),
            );
            seen.insert((place.clone(), record.offset), value);
        }
        *at = fetched.next;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_served_only_after_its_commit() {
    // On this filesystem a kill loses what was not synced: what was served too early is gone, or another record.
    let forgetful = tokio::task::block_in_place(|| Binaries::prepare(true, Some(Plant::AckBeforeSync)).unwrap());
    let mut lab = Deployment::start(plan(|plan| plan.rate = 1000), &forgetful).await.unwrap();
    let seen = Arc::new(Mutex::new(Seen::new()));
    let mut following = JoinSet::new();
    following.spawn(follow(lab.kafka, Arc::clone(&seen)));
    for cut in 1..=6 {
        until("the consumer is served", || seen.lock().unwrap().len() >= cut * 300).await;
        lab.kill(Target::Gateway, Aim::Blind, 0).await.unwrap();
        lab.wait_for_gateway().await.unwrap();
    }
    following.shutdown().await;
    let mut log = Log::connect(lab.kafka).await.unwrap();
    let mut seen = seen.lock().unwrap().clone();
    let served = seen.len();
    for partition in 0..PARTITIONS {
        let place = ("readings".to_owned(), partition);
        let compare = |record: &weir_lab::kafka::log::Record| {
            if let Some((key, time, value)) = seen.remove(&(place.clone(), record.offset)) {
                let now = (record.key.as_deref(), record.timestamp, record.value.as_deref());
                assert_eq!(now, (key.as_deref(), time, value.as_deref()), "{place:?} offset {}", record.offset);
            }
            Ok(())
        };
        log.read_whole(&place, compare).await.unwrap();
    }
    assert!(seen.is_empty(), "{} of {served} records were served, and are gone: {:?}", seen.len(), seen.keys().next());
    expect_to_hold(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_offset_commit_never_goes_backwards() {
    let mut lab = deployment(|plan| plan.rate = 400).await;
    let (mut least, mut committed_by) = (BTreeMap::new(), 0);
    for _ in 0..6 {
        let mut member = timeout(PATIENCE, Member::join(lab.kafka, &group("keepers"))).await.unwrap().unwrap();
        let offsets = member.committed().await.unwrap();
        assert_eq!(offsets, least, "what the last member was told is what the next one finds");
        for _ in 0..20 {
            committed_by += 1;
            let offsets = member.partitions.iter().map(|partition| (*partition, committed_by)).collect();
            assert_eq!(member.commit(&offsets).await.unwrap(), Standing::Good);
            least = offsets;
        }
        lab.kill(Target::Gateway, Aim::Blind, 0).await.unwrap();
        lab.wait_for_gateway().await.unwrap();
        assert_eq!(offsets_of(lab.kafka, &group("keepers")).await.unwrap(), least);
    }
    expect_to_hold(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_a_silent_member_move_within_the_session_timeout() {
    let lab = deployment(|plan| plan.boards = 2).await;
    let (book, kafka) = (Book::default(), lab.kafka);
    let mut stays = JoinSet::new();
    stays.spawn(consume(kafka, group("pair"), book.clone()));
    let mut silent = timeout(PATIENCE, Member::join(kafka, &group("pair"))).await.unwrap().unwrap();
    // Until both have joined, the first one may have had all of them.
    while silent.partitions.len() != 2 || silent.beat().await.unwrap() == Standing::Rejoin {
        silent = timeout(PATIENCE, Member::join(kafka, &group("pair"))).await.unwrap().unwrap();
    }
    let theirs = silent.partitions.clone();
    let before: Vec<u64> = theirs.iter().map(|partition| book.page(*partition).delivered.len()).collect();
    let waiting = book.sums().joins;
    drop(silent);
    let moved = until("the others join again", || book.sums().joins > waiting);
    timeout(SESSION + BUSY, moved).await.expect("within the session timeout");
    // What was theirs goes on being delivered, from the first record on: nobody had committed there.
    let mut log = Log::connect(kafka).await.unwrap();
    for (partition, before) in theirs.into_iter().zip(before) {
        let end = log.bounds(&("readings".to_owned(), partition)).await.unwrap().end;
        until("all is delivered", || book.page(partition).delivered.contains_all(before.min(end)..end)).await;
    }
    assert_eq!(book.faults(), Vec::<String>::new());
    stays.shutdown().await;
    expect_to_hold(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_begin_at_any_offset_and_at_any_time() {
    let mut lab = Deployment::prepare(plan(|plan| plan.boards = 0), binaries()).await.unwrap();
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    let mut sender = Sender::connect(lab.mqtt, "replayed", "pump").await;
    // One reading a second, each in a batch of its own, the last one just now.
    let begin = SystemClock.now().plus_micros(-60_000_000);
    let times: Vec<Timestamp> = (0..60).map(|second| begin.plus_micros(second * 1_000_000)).collect();
    for (sequence, time) in times.iter().enumerate() {
        sender.readings(sequence as u64, &[(*time, Clock::Synchronised)]).await;
    }
    let mut log = Log::connect(lab.kafka).await.unwrap();
    let mut found = None;
    for partition in 0..PARTITIONS {
        let place = ("readings".to_owned(), partition);
        if log.bounds(&place).await.unwrap().end > 0 {
            found = Some(place);
        }
    }
    let place = found.expect("a partition with the readings of the device");
    for (offset, time) in (0..).zip(&times) {
        let fetched = log.fetch(&place, offset, Reach::default()).await.unwrap().expect("an offset in range");
        assert_eq!(fetched.records[0].offset as u64, offset);
        assert_eq!(fetched.records[0].timestamp, time.as_millis());
        assert_eq!(log.since(&place, time.as_millis()).await.unwrap(), Some(offset));
        assert_eq!(
            log.since(&place, time.as_millis() - 1).await.unwrap(),
            Some(offset),
            "the first one behind that time"
        );
    }
    assert_eq!(log.since(&place, times[59].as_millis() + 1).await.unwrap(), None);
    assert!(log.fetch(&place, 61, Reach::default()).await.unwrap().is_none(), "behind the end is out of range");
    lab.scratch.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_never_cuts_what_is_being_read() {
    soak_slice("consumer-retention").await;
}
