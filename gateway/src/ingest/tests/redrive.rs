//! Stories of dead letters that are tried again, on the real threads, and one with seeds: the power goes in between.
//!
//! `WEIR_SEED=17` replays one run; `WEIR_SEEDS=1000` makes that many, else there are 40.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc::{channel, unbounded_channel};
use weir_protocol::batch::{Refusal, Section, SetAside};
use weir_protocol::time::WallClock;
use weir_protocol::{AgentId, Tenant, Timestamp};
use weir_storage::{FaultyFs, LogOptions};

use super::super::{Body, Event, Ingest, IngestOptions, Limits, Message, Outcome, Reason, Sender, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{ARRIVAL, Gateway};
use crate::redrive::{Choice, Ending, Place, Redrive, RedriveError, Tried};
use crate::topics::Topics;

struct Noon;

impl WallClock for Noon {
    fn now(&self) -> Timestamp {
        ARRIVAL
    }
}

fn options() -> IngestOptions {
    IngestOptions {
        partitions: 2,
        full_retry: Duration::from_millis(1),
        // What is not described is a dead letter at once.
        describe_wait: Duration::ZERO,
        log: LogOptions { segment_bytes: 2048, ..IngestOptions::default().log },
        ..IngestOptions::default()
    }
}

/// A gateway with its threads.
struct Running {
    fs: FaultyFs,
    ingest: Ingest,
    topics: Topics,
    redrive: Redrive,
}

impl Running {
    fn start(fs: FaultyFs, options: IngestOptions) -> Self {
        let shared = Arc::new(fs.clone());
        let (ingest, topics, _) = Ingest::start(shared.clone(), Path::new("/data"), options, Arc::new(Noon)).unwrap();
        let redrive = Redrive::open(shared, Path::new("/data"), ingest.clone(), topics.clone()).unwrap();
        Self { fs, ingest, topics, redrive }
    }

    /// Publishes everything on a connection of `agent`; the verdicts.
    async fn send(&self, agent: &str, payloads: Vec<(Body, Vec<u8>)>) -> Vec<Verdict> {
        let sender = Sender::from((Tenant::DEFAULT, AgentId::new(agent).unwrap()));
        let (events, mut told) = unbounded_channel();
        let connection = self.ingest.connect(sender, events);
        let message = |(ticket, (body, payload))| Message { ticket, body, payload: Bytes::from(payload) };
        let messages: Vec<_> = (0..).zip(payloads).map(message).collect();
        let count = messages.len();
        connection.submit(messages).await;
        let mut verdicts = Vec::new();
        while verdicts.len() < count {
            if let Event::Outcomes(outcomes) = told.recv().await.unwrap() {
                verdicts.extend(outcomes.into_iter().map(|outcome| outcome.verdict));
            }
        }
        verdicts
    }

    async fn send_batch(&self, agent: &str, batch: Vec<u8>) -> Verdict {
        self.send(agent, vec![(Body::Batch, batch)]).await[0]
    }

    async fn describe(&self, name: &str) -> Verdict {
        self.send("agent", vec![(Body::Describe, description(device(name)))]).await[0]
    }

    async fn try_again(&self, choice: Choice) -> (Vec<Tried>, Result<(), RedriveError>) {
        self.tried(choice, false).await
    }

    async fn tried(&self, choice: Choice, is_dry: bool) -> (Vec<Tried>, Result<(), RedriveError>) {
        let (tell, mut told) = channel(1 << 10);
        let turn = self.redrive.turn().expect("nobody else");
        let ended = self.redrive.run(&turn, &choice, is_dry, &tell).await;
        drop(tell);
        let mut all = Vec::new();
        while let Some(tried) = told.recv().await {
            all.push(tried);
        }
        (all, ended)
    }

    /// Cuts the power, whatever is under way, and starts again with what survived.
    async fn power_cut(self, options: IngestOptions) -> Self {
        let survivor = self.fs.power_cut();
        survivor.set_capacity(None);
        self.ingest.stop().await;
        Self::start(survivor, options)
    }

    fn content(&self) -> LogContent {
        LogContent::read(&self.topics)
    }
}

fn all() -> Choice {
    Choice::new(Vec::new(), None, None, true).unwrap()
}

fn endings(tried: &[Tried]) -> Vec<(Ending, u64, u64)> {
    tried.iter().map(|tried| (tried.result, tried.stored, tried.left)).collect()
}

#[tokio::test]
async fn readings_of_an_unknown_schema_are_stored_once_it_is_described_and_twice_is_harmless() {
    let gateway = Running::start(FaultyFs::new(1), options());
    let unknown = Verdict::DeadLettered(Reason::UnknownSchema);
    assert_eq!(gateway.send_batch("agent", batch(device("probe"), 1, 0..5)).await, unknown);
    assert_eq!(gateway.send_batch("agent", batch(device("probe"), 1, 5..12)).await, unknown);

    let (tried, _) = gateway.try_again(all()).await;
    assert_eq!(endings(&tried), [(Ending::Refused, 0, 5), (Ending::Refused, 0, 7)], "nobody described it");
    assert_eq!(tried[0].reason, "unknown-schema");
    assert_eq!(gateway.content().letters.len(), 2, "and nothing is buried twice");

    gateway.describe("probe").await;
    let (tried, _) = gateway.tried(all(), true).await;
    assert_eq!(endings(&tried), [(Ending::Due, 0, 5), (Ending::Due, 0, 7)]);
    assert!(gateway.content().readings.is_empty(), "a dry run stores nothing");
    let (tried, _) = gateway.try_again(all()).await;
    assert_eq!(endings(&tried), [(Ending::Stored, 5, 0), (Ending::Stored, 7, 0)]);
    let content = gateway.content();
    content.assert_conserved();
    assert!(content.readings.values().all(|(_, heals)| *heals));
    assert_eq!(LogContent::sequences(&content.readings, device("probe"), 1), (0..12).collect::<Vec<_>>());

    let (tried, _) = gateway.try_again(all()).await;
    assert_eq!(endings(&tried), [(Ending::AlreadyStored, 0, 0); 2]);
    assert_eq!(gateway.content().readings.len(), 12);
    gateway.ingest.stop().await;
}

#[tokio::test]
async fn what_is_still_poison_stays_where_it_is() {
    let gateway = Running::start(FaultyFs::new(1), options());
    gateway.describe("probe").await;
    let mixed = run_with(device("probe"), 1, 0..6, |sequence| (sequence == 2).then(|| not_a_number(sequence)));
    gateway.send_batch("agent", batch_of(&[mixed.section()])).await;
    gateway.send_batch("agent", damaged_body(batch(device("probe"), 1, 6..9))).await;
    let mut bad = description(device("gauge"));
    bad[9] ^= 1;
    gateway.send("agent", vec![(Body::Describe, bad)]).await;
    let before = gateway.content();

    let (tried, ended) = gateway.try_again(all()).await;
    ended.unwrap();
    let mut left: Vec<_> = tried.iter().map(|tried| (tried.reason.as_str(), tried.left)).collect();
    left.sort_unstable();
    assert_eq!(left, [("not-finite", 1), ("unreadable-body", 3), ("unreadable-description", 1)]);
    assert!(tried.iter().all(|tried| tried.result == Ending::Refused && tried.stored == 0));
    let after = gateway.content();
    assert_eq!((after.letters.len(), after.readings.len()), (before.letters.len(), before.readings.len()));
    after.assert_conserved();
    gateway.ingest.stop().await;
}

/// Whoever redrives what an agent's rules refused decides against the rule.
#[tokio::test]
async fn what_rules_refused_is_stored_when_it_is_redriven() {
    let gateway = Running::start(FaultyFs::new(1), options());
    gateway.describe("probe").await;
    let run = run_with(device("probe"), 1, 0..4, |_| None);
    let refused = SetAside { refusal: Refusal::OutOfRange, expected: "0 to 1", run: run.run() };
    let aside = batch_of(&[Section::SetAside(refused)]);
    assert_eq!(gateway.send_batch("agent", aside.clone()).await, Verdict::Stored);

    let by_reason = |reason: &str| Choice::new(Vec::new(), Some(reason.to_owned()), None, false).unwrap();
    assert_eq!(endings(&gateway.try_again(by_reason("out-of")).await.0), [], "no such reason");
    let (tried, _) = gateway.try_again(by_reason("out-of-range")).await;
    assert_eq!(endings(&tried), [(Ending::Stored, 4, 0)]);
    let content = gateway.content();
    assert!(content.readings.values().all(|(_, heals)| *heals));
    assert_eq!(gateway.send_batch("agent", aside).await, Verdict::Stored);
    assert_eq!(gateway.content().letters.len(), 1, "what is stored is not refused once more");
    gateway.content().assert_conserved();
    gateway.ingest.stop().await;
}

/// Too many schemas is cured by a higher limit; its readings wait for the description, which goes first.
#[tokio::test]
async fn a_description_is_stored_and_remembered_by_its_place() {
    let few = IngestOptions { limits: Limits { schemas_per_device: 0, ..Limits::default() }, ..options() };
    let gateway = Running::start(FaultyFs::new(1), few);
    assert_eq!(gateway.describe("probe").await, Verdict::DeadLettered(Reason::TooManySchemas));
    gateway.send_batch("agent", batch(device("probe"), 1, 0..4)).await;
    let gateway = gateway.power_cut(options()).await;

    let (tried, _) = gateway.try_again(all()).await;
    assert_eq!(endings(&tried), [(Ending::Stored, 1, 0), (Ending::Stored, 4, 0)], "the description, then its readings");
    let gateway = gateway.power_cut(options()).await;
    let (tried, _) = gateway.try_again(all()).await;
    assert_eq!(endings(&tried), [(Ending::AlreadyStored, 0, 0); 2]);
    let content = gateway.content();
    assert_eq!((content.descriptions, content.readings.len()), (1, 4));
    content.assert_conserved();
    gateway.ingest.stop().await;
}

#[tokio::test]
async fn only_what_was_chosen_is_tried() {
    let gateway = Running::start(FaultyFs::new(1), options());
    gateway.send_batch("agent", batch(device("probe"), 1, 0..3)).await;
    gateway.send_batch("agent", batch(device("gauge"), 1, 0..4)).await;
    gateway.send_batch("agent", damaged_body(batch(device("gauge"), 2, 0..2))).await;
    gateway.describe("probe").await;
    gateway.describe("gauge").await;

    let (of_gauge, _) = gateway.tried(Choice::new(Vec::new(), None, Some(device("gauge")), false).unwrap(), true).await;
    assert_eq!(of_gauge.len(), 2);
    let reason = Choice::new(Vec::new(), Some("unreadable-body".to_owned()), None, false).unwrap();
    assert_eq!(endings(&gateway.try_again(reason).await.0), [(Ending::Refused, 0, 2)]);
    let place = of_gauge.iter().find(|tried| tried.left == 4).unwrap().place;
    let nowhere = Place { partition: 9, offset: 0 };
    let places = Choice::new(vec![place, nowhere], None, None, false).unwrap();
    assert_eq!(endings(&gateway.try_again(places).await.0), [(Ending::Stored, 4, 0), (Ending::Missing, 0, 0)]);
    assert_eq!(gateway.content().readings.len(), 4);
    assert!(Choice::new(Vec::new(), None, None, false).is_err(), "nothing was chosen");
    gateway.ingest.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let gateway = Running::start(FaultyFs::new(1), options());
    gateway.send_batch("agent", batch(device("probe"), 1, 0..500)).await;
    gateway.describe("probe").await;
    gateway.fs.set_capacity(Some(gateway.fs.used_bytes()));
    let waiting = async {
        while !gateway.ingest.stats().paused {
            tokio::task::yield_now().await;
        }
        gateway.fs.set_capacity(None);
    };
    let ((tried, ended), ()) = tokio::join!(gateway.try_again(all()), waiting);
    ended.unwrap();
    assert_eq!(endings(&tried), [(Ending::Stored, 500, 0)]);
    gateway.ingest.stop().await;
}

#[tokio::test]
async fn whatever_cuts_a_redrive_off_each_letter_is_stored_once_by_the_next() {
    for seed in super::property::seeds(40) {
        println!("WEIR_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut gateway = Running::start(FaultyFs::new(seed), options());
        let mut expected = 0;
        for _ in 0..random.random_range(1..12) {
            let (name, agent) =
                (["probe", "gauge", "meter"][random.random_range(0..3)], ["a", "b"][random.random_range(0..2)]);
            let start = random.random_range(0..200_u64);
            gateway.send_batch(agent, batch(device(name), 1, start..start + random.random_range(1..40))).await;
            expected = gateway.content().dead.len();
        }
        for name in ["probe", "gauge", "meter"] {
            gateway.describe(name).await;
        }
        for _ in 0..random.random_range(1..4) {
            gateway.fs.fail_power_after(random.random_range(0..30));
            let _ = gateway.try_again(all()).await;
            gateway = gateway.power_cut(options()).await;
            gateway.content().assert_conserved();
        }
        let (tried, ended) = gateway.try_again(all()).await;
        ended.unwrap();
        assert!(tried.iter().all(|tried| tried.left == 0), "{tried:?}");
        let content = gateway.content();
        content.assert_conserved();
        assert_eq!(content.readings.len(), expected, "every one of them, once");
        assert_eq!(content.readings.keys().collect::<Vec<_>>(), content.dead.keys().collect::<Vec<_>>());
        gateway.ingest.stop().await;
    }
}

#[test]
fn nobody_is_asked_for_a_description_and_nothing_is_waited_for() {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, batch(device("probe"), 1, 0..5));
    gateway.pass(Duration::from_secs(10));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnknownSchema)]);
    let (sender, format, original) = gateway.content().origins.remove(0);
    let mut retry = gateway.connect_retry(sender);
    gateway.retry(&mut retry, format, original);
    let refused = Outcome { ticket: 0, verdict: Verdict::DeadLettered(Reason::UnknownSchema) };
    assert_eq!(retry.events(), [Event::Outcomes(vec![refused])], "at once, without a question");
    assert_eq!(gateway.content().letters.len(), 1);
}

/// The gateway remembers so many buried descriptions and no more; a redrive buries none of those that it forgot.
#[test]
fn a_description_that_the_gateway_forgot_is_not_buried_twice() {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    for number in 0..4200_u32 {
        gateway.describe(&mut agent, number.to_be_bytes().to_vec());
    }
    gateway.settle();
    assert_eq!(gateway.content().letters.len(), 4200);
    let (sender, format, original) = gateway.content().origins.remove(0);
    let mut retry = gateway.connect_retry(sender);
    gateway.retry(&mut retry, format, original);
    gateway.settle();
    assert_eq!(retry.verdicts(), [Verdict::DeadLettered(Reason::UnreadableDescription)]);
    assert_eq!(gateway.content().letters.len(), 4200);
}
