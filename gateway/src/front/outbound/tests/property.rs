//! Random lives of one durable subscriber against what the log has.
//!
//! Whatever happens, the client gets exactly the records that its subscription matches, from its beginning on, at least
//! once each: in each partition no record is heard before the one in front of it was.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::delivery::Unfinished;
use crate::mqtt::topic::matches;

const FILTER: &str = "site/+/x";
const NAMES: [&str; 4] = ["site/1/x", "site/2/x", "site/1/y", "site/9/alarm"];

/// Reads a number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_subscriber_gets_every_record_that_matches_whatever_happens() {
    let first = setting("WEIR_SEED", 1);
    for seed in first..first + setting("WEIR_SEEDS", 10) {
        let life = tokio::spawn(live(seed));
        if let Err(error) = life.await {
            panic!("WEIR_SEED={seed} WEIR_SEEDS=1: {error}");
        }
    }
}

/// The client, what is kept of its session, and everything it heard.
struct Life {
    world: Option<World>,
    client: Option<Client>,
    kept: Kept,
    out: Vec<Got>,
    heard: Vec<Got>,
}

async fn live(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    // So few bytes that the router drops what is not taken at once.
    let router = LiveOptions { buffer: 4 << 10, ..LiveOptions::default() };
    let mut world = World::open(Arc::new(FaultyFs::new(seed)), options(), router);
    let mut kept = Kept::default();
    let mut counter = 0;
    let before = random.random_range(0..20);
    for _ in 0..before {
        counter += 1;
        world
            .publish(NAMES[counter as usize % NAMES.len()], numbers(counter..counter + 1), Properties::default())
            .await;
    }
    let mut client = world.attach(&kept);
    client.subscribe(&mut kept, FILTER, QoS::AtLeastOnce);
    let begun = counter;
    let mut life = Life { world: Some(world), client: Some(client), kept, out: Vec::new(), heard: Vec::new() };
    for _ in 0..random.random_range(20..60) {
        match random.random_range(0..12) {
            0..4 => {
                let count = random.random_range(1..60);
                let name = NAMES[random.random_range(0..NAMES.len())];
                let world = life.world.as_mut().unwrap();
                world.publish(name, numbers(counter + 1..counter + 1 + count), Properties::default()).await;
                counter += count;
            }
            4..7 => life.hear(Duration::from_millis(random.random_range(0..3))).await,
            7..9 => life.acknowledge(&mut random),
            9 => life.save(),
            10 => life.reconnect(),
            11 if random.random_bool(0.3) => life.power_cut(router),
            _ if random.random_bool(0.9) => (),
            _ => life.world.as_ref().unwrap().live.plant_panic(),
        }
    }
    life.finish(begun).await;
}

impl Life {
    async fn hear(&mut self, patience: Duration) {
        let got = self.client.as_mut().unwrap().hear(patience).await;
        self.heard.extend(got.iter().cloned());
        self.out.extend(got);
    }

    /// Acknowledges some of what is out, in any order.
    fn acknowledge(&mut self, random: &mut StdRng) {
        for _ in 0..random.random_range(0..=self.out.len()) {
            let at = random.random_range(0..self.out.len());
            let got = self.out.swap_remove(at);
            self.client.as_mut().unwrap().acknowledge(&[got]);
        }
    }

    /// The positions come to disk, as they do now and then.
    fn save(&mut self) {
        self.kept.resumed.positions = self.client.as_mut().unwrap().outbound.positions();
    }

    fn reconnect(&mut self) {
        self.client.take().unwrap().detach(&mut self.kept);
        self.out.clear();
        self.client = Some(self.world.as_ref().unwrap().attach(&self.kept));
    }

    fn power_cut(&mut self, router: LiveOptions) {
        self.client = None;
        self.out.clear();
        self.kept.resumed.unfinished = Unfinished::default();
        let world = self.world.take().unwrap().power_cut(options(), router);
        self.client = Some(world.attach(&self.kept));
        self.world = Some(world);
    }

    /// Hears everything that is left, and compares.
    async fn finish(mut self, begun: u32) {
        let logged = self.world.as_ref().unwrap().logged();
        let is_wanted = |topic: &str, payload: &str| matches(topic, FILTER) && payload.parse::<u32>().unwrap() > begun;
        let mut expected: Vec<Vec<String>> = Vec::new();
        for messages in logged.values() {
            let wanted = messages.iter().filter(|(topic, payload)| is_wanted(topic, payload));
            expected.push(wanted.map(|(_, payload)| payload.clone()).collect());
        }
        let all: BTreeSet<&str> = expected.iter().flatten().map(|payload| &**payload).collect();
        let is_complete = |heard: &[Got]| heard.iter().map(|got| &*got.payload).collect::<BTreeSet<_>>() == all;
        while !is_complete(&self.heard) {
            let out = std::mem::take(&mut self.out);
            self.client.as_mut().unwrap().acknowledge(&out);
            let before = self.heard.len();
            self.hear(PATIENCE).await;
            assert!(self.heard.len() > before, "{} of {} came", self.heard.len(), all.len());
        }
        for partition in &expected {
            let mut next = 0;
            for got in &self.heard {
                if let Some(at) = partition.iter().position(|payload| *payload == got.payload) {
                    assert!(at <= next, "{} came before {}", got.payload, partition[next]);
                    next = next.max(at + 1);
                }
            }
        }
    }
}
