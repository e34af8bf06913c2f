//! Random lives of several subscribers against a set: what each had a filter for, and what it was told to be missing.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::mqtt::topic::matches;

const DEVICES: [&str; 3] = ["pump-1", "pump-2", "pump-3"];
const FILTERS: [&str; 5] = ["#", "pump-1/#", "pump-2/+", "+/level%2Fnow", "pump-3/other"];

/// Reads a number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_subscribes_hears_what_its_filters_match_once_and_in_order_or_learns_that_something_is_missing() {
    let first = setting("WEIR_SEED", 1);
    for seed in first..first + setting("WEIR_SEEDS", 12) {
        if let Err(error) = tokio::spawn(live(seed)).await {
            panic!("WEIR_SEED={seed} WEIR_SEEDS=1: {error}");
        }
    }
}

/// A message: device and sequence.
type Said = (&'static str, u64);

/// A subscriber, and what the model knows of it.
struct Listener {
    subscriber: Subscriber,
    filters: BTreeSet<&'static str>,
    /// Those that it ever had: what was on its way when one ended may still come.
    ever: BTreeSet<&'static str>,
    /// What has to come, unless a gap does: committed while it had a filter for it, and ever since.
    owed: BTreeSet<Said>,
    /// The last sequence that it heard of each device.
    last: BTreeMap<&'static str, u64>,
}

fn whole(filter: &str) -> String {
    format!("weir/1/default/live/{filter}")
}

fn is_for<'a>(mut filters: impl Iterator<Item = &'a &'static str>, device: &str) -> bool {
    filters.any(|filter| matches(&whole(&format!("{device}/level%2Fnow")), &whole(filter)))
}

impl Listener {
    fn new(world: &World) -> Self {
        let subscriber = world.live.subscriber(Tenant::DEFAULT).unwrap();
        let (filters, ever) = (BTreeSet::new(), BTreeSet::new());
        Self { subscriber, filters, ever, owed: BTreeSet::new(), last: BTreeMap::new() }
    }

    fn subscribe(&mut self, filter: &'static str) {
        self.subscriber.subscribe(&whole(filter)).unwrap();
        self.filters.insert(filter);
        self.ever.insert(filter);
    }

    fn unsubscribe(&mut self, filter: &'static str) {
        assert_eq!(self.subscriber.unsubscribe(&whole(filter)), self.filters.remove(filter));
        self.owed.retain(|(device, _)| is_for(self.filters.iter(), device));
    }

    fn committed(&mut self, device: &'static str, sequences: std::ops::Range<u64>) {
        if is_for(self.filters.iter(), device) {
            self.owed.extend(sequences.map(|sequence| (device, sequence)));
        }
    }

    fn take(&mut self, delivered: Delivered) {
        let message = match delivered {
            // Whatever was committed before it is heard may be missing, and nothing behind it.
            Delivered::Gap => return self.owed.clear(),
            Delivered::Message(message) => message,
        };
        let (topic, sequence) = said(&message);
        let device = DEVICES.into_iter().find(|device| topic.contains(device)).unwrap();
        assert!(is_for(self.ever.iter(), device), "{topic} was never asked for");
        let last = self.last.insert(device, sequence);
        assert!(last.is_none_or(|last| last < sequence), "{device}: {sequence} behind {last:?}");
        self.owed.remove(&(device, sequence));
    }
}

async fn live(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    // So little room that who does not take at once loses something, now and then.
    let buffer = if random.random_bool(0.5) { 16 << 10 } else { 1 << 20 };
    let mut world = World::with(LiveOptions { buffer, ..LiveOptions::default() }).await;
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let mut listeners = vec![Listener::new(&world)];
    for _ in 0..random.random_range(30..80) {
        let count = listeners.len();
        let filter = FILTERS[random.random_range(0..FILTERS.len())];
        match random.random_range(0..20) {
            0..6 => {
                let device = DEVICES[random.random_range(0..DEVICES.len())];
                // In many small commits now and then, more than wait for one subscriber.
                let (commits, most) = if random.random_bool(0.05) { (200, 2) } else { (1, 60) };
                for _ in 0..commits {
                    let first = *next.get(device).unwrap_or(&0);
                    let sequences = first..first + random.random_range(1..most);
                    world.store(device, sequences.clone()).await;
                    next.insert(device, sequences.end);
                    listeners.iter_mut().for_each(|listener| listener.committed(device, sequences.clone()));
                }
            }
            6..10 => listeners[random.random_range(0..count)].subscribe(filter),
            10..12 => listeners[random.random_range(0..count)].unsubscribe(filter),
            12..17 => {
                let listener = &mut listeners[random.random_range(0..count)];
                for _ in 0..random.random_range(0..50) {
                    let Some(delivered) = listener.subscriber.try_next() else { break };
                    listener.take(delivered);
                }
            }
            17 if count < 6 => listeners.push(Listener::new(&world)),
            18 if count > 1 => drop(listeners.swap_remove(random.random_range(0..count))),
            19 if random.random_bool(0.2) => world.live.plant_panic(),
            _ => (),
        }
    }
    for listener in &mut listeners {
        while !listener.owed.is_empty() {
            let delivered = timeout(PATIENCE, listener.subscriber.next()).await;
            listener.take(delivered.unwrap_or_else(|_| panic!("never came: {:?}", listener.owed)));
        }
        while let Some(delivered) = listener.subscriber.try_next() {
            listener.take(delivered);
        }
    }
    let stats = world.live.stats();
    assert_eq!(stats.subscribers, listeners.len() as u64);
    let filters: BTreeSet<_> = listeners.iter().flat_map(|listener| &listener.filters).collect();
    assert_eq!(stats.filters, filters.len() as u64);
    drop(listeners);
    assert_eq!((world.live.stats().subscribers, world.live.stats().filters), (0, 0));
}
