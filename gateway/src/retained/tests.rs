//! Retained messages over a filesystem that fails and a clock that is paused, against what was acknowledged.
//!
//! `WEIR_SEED=17` replays one run; `WEIR_SEEDS=3000` makes that many, else there are 150.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::Timestamp;
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use super::*;

struct Wall;

impl WallClock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(1_767_225_600_000_000)
    }
}

fn start(fs: &FaultyFs) -> Retained {
    start_with(fs, Options::default())
}

fn start_with(fs: &FaultyFs, options: Options) -> Retained {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    // Small segments: something to compact.
    let log = LogOptions { segment_bytes: 1000, ..keyed_log::options() };
    Retained::new(Opened::open_with(&fs, Path::new("/data"), log).expect("opens"), options, &Wall)
}

fn message(payload: &str) -> Message {
    Message {
        topic: Bytes::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        properties: Properties::default(),
        publisher: ClientId::new("pump").expect("a client id"),
        clock_ms: 0,
    }
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).expect("a name")
}

async fn set(retained: &Retained, topic: &str, payload: &str) {
    let written = retained.set(Tenant::DEFAULT, topic.as_bytes(), Some(message(payload))).expect("room");
    written.await.expect("written");
}

fn all(retained: &Retained, filter: &str) -> Vec<String> {
    let (mut matching, mut all) = (retained.matching(Tenant::DEFAULT, filter), Vec::new());
    while let Some(page) = matching.next_page() {
        all.extend(page.iter().map(|message| String::from_utf8_lossy(&message.topic).into_owned()));
    }
    all
}

#[tokio::test]
async fn the_last_message_of_a_topic_is_there_after_a_power_cut_and_one_that_was_taken_out_is_not() {
    let fs = FaultyFs::new(1);
    let retained = start(&fs);
    set(&retained, "a", "1").await;
    set(&retained, "a", "2").await;
    set(&retained, "b", "1").await;
    set(&retained, "b", "").await;
    let other = retained.set(tenant("mill"), b"a", Some(message("theirs"))).expect("room");
    other.await.expect("written");
    let retained = start(&fs.power_cut());
    let payload = |tenant, topic: &str| retained.get(tenant, topic.as_bytes()).map(|found| found.payload.clone());
    assert_eq!(payload(Tenant::DEFAULT, "a").expect("retained"), "2");
    assert_eq!(payload(Tenant::DEFAULT, "b"), None);
    assert_eq!(payload(tenant("mill"), "a").expect("retained"), "theirs");
    assert_eq!(all(&retained, "#"), ["a"], "those of other tenants are for others");
}

#[tokio::test]
async fn a_filter_gets_what_it_matches_and_nothing_else() {
    let retained = start(&FaultyFs::new(1));
    let topics = ["a", "a!", "a/", "a/b", "a/b/c", "a/c", "ab", "b/b", "$SYS/a", "/a"];
    for topic in topics {
        set(&retained, topic, "x").await;
    }
    for filter in ["a", "a/#", "a/+", "+/b", "#", "+", "+/+", "a/b/#", "$SYS/#", "/+", "a/+/c", "b", "c/#"] {
        let mut expected: Vec<_> = topics
            .iter()
            .filter(|name| crate::mqtt::topic::matches(name, filter))
            .map(|name| (*name).to_owned())
            .collect();
        expected.sort_unstable();
        assert_eq!(all(&retained, filter), expected, "{filter}");
    }
}

#[tokio::test]
async fn many_messages_come_page_by_page() {
    let retained = start(&FaultyFs::new(1));
    let mut writes = Vec::new();
    for number in 0..5000 {
        let topic = format!("{number:04}/{}", number % 2);
        writes.push(retained.set(Tenant::DEFAULT, topic.as_bytes(), Some(message("x"))).expect("room"));
    }
    for written in writes {
        written.await.expect("written");
    }
    let mut matching = retained.matching(Tenant::DEFAULT, "+/1");
    let mut topics = BTreeSet::new();
    while let Some(page) = matching.next_page() {
        assert!(page.len() <= 64);
        topics.extend(page.iter().map(|message| message.topic.clone()));
    }
    assert_eq!(topics.len(), 2500);
    // Nothing matches, and one look is still short.
    let mut nothing = retained.matching(Tenant::DEFAULT, "+/2");
    assert_eq!(nothing.next_page(), Some(Vec::new()));
}

#[tokio::test]
async fn what_is_retained_is_bounded_in_number_and_in_bytes() {
    let options = Options { messages: 2, bytes: 1500 };
    let retained = start_with(&FaultyFs::new(1), options);
    set(&retained, "a", "1").await;
    set(&retained, "b", "1").await;
    assert_eq!(retained.set(Tenant::DEFAULT, b"c", Some(message("1"))).err(), Some(Full));
    set(&retained, "b", "2").await;
    assert_eq!(retained.set(Tenant::DEFAULT, b"b", Some(message(&"x".repeat(1500)))).err(), Some(Full));
    set(&retained, "b", "").await;
    set(&retained, "c", &"x".repeat(900)).await;
    let stats = retained.stats();
    assert_eq!((stats.messages, stats.refused), (2, 2));
    assert!(stats.bytes <= 1500, "{stats:?}");
    // As many at once as nobody has been told of yet count too.
    set(&retained, "c", "").await;
    let first = retained.set(Tenant::DEFAULT, b"d", Some(message("1"))).expect("room");
    assert_eq!(retained.set(Tenant::DEFAULT, b"e", Some(message("1"))).err(), Some(Full));
    first.await.expect("written");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_expired_is_not_seen_and_goes_and_its_age_goes_on_over_a_restart() {
    let fs = FaultyFs::new(1);
    let retained = start(&fs);
    for (topic, expiry) in [("short", Some(10)), ("long", Some(100)), ("ever", None)] {
        let message = Message { properties: Properties { expiry, ..Properties::default() }, ..message("x") };
        retained.set(Tenant::DEFAULT, topic.as_bytes(), Some(message)).expect("room").await.expect("written");
    }
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(all(&retained, "#"), ["ever", "long"]);
    assert!(retained.get(Tenant::DEFAULT, b"short").is_none());
    let long = retained.get(Tenant::DEFAULT, b"long").expect("retained");
    assert_eq!(retained.expiry_left(&long), Some(70));
    assert_eq!(retained.stats().messages, 3);
    retained.sweep(None);
    set(&retained, "now", "x").await;
    assert_eq!((retained.stats().messages, retained.stats().expired), (3, 1));

    let retained = start(&fs.power_cut());
    assert_eq!(retained.expiry_left(&retained.get(Tenant::DEFAULT, b"long").expect("retained")), Some(70));
    tokio::time::advance(Duration::from_secs(71)).await;
    assert_eq!(all(&retained, "#"), ["ever", "now"]);
}

#[tokio::test]
async fn a_message_that_could_not_be_written_is_refused_and_the_one_before_it_stays() {
    let fs = FaultyFs::new(1);
    let retained = start(&fs);
    set(&retained, "a", "1").await;
    for fault in [Fault::Sync, Fault::Write] {
        fs.fail_once(fault);
        let written = retained.set(Tenant::DEFAULT, b"a", Some(message("2"))).expect("room");
        assert_eq!(written.await, Err(NotWritten));
        assert_eq!(retained.get(Tenant::DEFAULT, b"a").expect("retained").payload, "1");
    }
    assert_eq!(retained.stats().failed, 2);
}

#[test]
fn whatever_fails_an_acknowledged_message_is_never_replaced_by_an_earlier_one() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(150)).collect(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in seeds {
        println!("WEIR_SEED={seed}");
        runtime.block_on(run(seed));
    }
}

async fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut fs, mut next) = (FaultyFs::new(seed), 0);
    // What a topic may have: one message, or several while the power went over one.
    let mut lawful: BTreeMap<String, BTreeSet<Option<String>>> =
        (0..4).map(|topic| (format!("t/{topic}"), BTreeSet::from([None]))).collect();
    for _ in 0..6 {
        let retained = start(&fs);
        let goes = random.random_bool(0.7);
        for step in 0..random.random_range(1..40) {
            if step > 10 && goes {
                // It goes at any moment of what comes now.
                fs.fail_power_after(random.random_range(0..20));
            } else if random.random_bool(0.1) {
                fs.fail_once(if random.random() { Fault::Sync } else { Fault::Write });
            }
            if random.random_bool(0.1) {
                retained.compact();
            }
            next += 1;
            let topic = format!("t/{}", random.random_range(0..4));
            let payload = random.random_bool(0.8).then(|| next.to_string());
            let written = retained.set(Tenant::DEFAULT, topic.as_bytes(), payload.as_deref().map(message));
            let found = lawful.get_mut(&topic).expect("a topic");
            match written.expect("room").await {
                Ok(()) => *found = BTreeSet::from([payload]),
                Err(NotWritten) if goes && step > 10 => drop(found.insert(payload)),
                Err(NotWritten) => (),
            }
        }
        fs = fs.power_cut();
        let retained = start(&fs);
        for (topic, lawful) in &mut lawful {
            let found = retained.get(Tenant::DEFAULT, topic.as_bytes());
            let found = found.map(|found| String::from_utf8_lossy(&found.payload).into_owned());
            assert!(lawful.contains(&found), "{topic}: got {found:?}, expected one of {lawful:?}");
            *lawful = BTreeSet::from([found]);
        }
        drop(retained);
    }
}
