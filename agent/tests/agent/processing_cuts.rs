//! Rules under power cuts and failing syncs, against what was sampled.
//!
//! A sensor with several channels samples, sends and sends again; rules out of a few tables, two classes, windows that
//! close by time and by the samples' own; the gateway takes what it likes of the queue, the keeper removes it; syncs
//! fail; the power goes at any moment, and the rules may be others afterwards. What must hold in the end: every sequence
//! that the sensor was acknowledged for is with the gateway as a reading, as refused, or as reduced; a sequence is in one
//! summary at most, and never under two; what a summary says is what its own raw readings say; no restart of the agent's
//! own says two things at one sequence, and its sequences have no hole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_agent::queue::records::Found;
use weir_protocol::batch::LossKind;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{RangeSet, Reading, Restart, Sequence, Value};
use weir_storage::fs::Fault;
use weir_storage::{FaultyFs, ReadError};

use crate::seeds::for_each_seed;
use crate::support::desk::Desk;
use crate::support::sensor::{COUNT, DOOR, Fates, PRESSURE, Sensor, Summarised, TEMPERATURE, at};

const R: Restart = Restart::from_boot(1, 1);

/// The channels are scaled alike in all of them, so that a summary can be told to be right.
const TABLES: [&str; 4] = [
    r#"
        [[process]]
        channel = "temperature"
        scale = 2
        range = [-100, 100]
        window = "1s"
        take = ["min", "max", "mean", "last", "count"]
        [[process]]
        channel = "count"
        deadband = 2
        class = "alarm"
    "#,
    r#"
        [[process]]
        channel = "temperature"
        scale = 2
        range = [-100, 100]
        window = "300ms"
        take = ["min", "max", "count"]
        class = "alarm"
        [[process]]
        channel = "pressure"
        window = "300ms"
        take = ["last", "mean", "count"]
        [[process]]
        channel = "door"
        drop = true
    "#,
    r#"
        [[process]]
        channel = "p*"
        window = "2s"
        take = ["min", "max", "mean", "count"]
        class = "alarm"
        [[process]]
        channel = "t*"
        scale = 2
        range = [-100, 100]
        window = "2s"
        take = ["mean", "last", "count"]
        [[process]]
        channel = "count"
        window = "2s"
        take = ["min", "max", "mean", "last", "count"]
        class = "alarm"
        [[process]]
        class = "alarm"
    "#,
    r#"
        [[process]]
        channel = "temperature"
        scale = 2
        deadband = 0
        heartbeat = "500ms"
    "#,
];
const CLASSES: &str = r#"
    [[queue.class]]
    name = "alarm"
    cap = "1 MiB"
"#;

struct World {
    random: StdRng,
    disk: FaultyFs,
    desk: Desk,
    sensor: Sensor,
    samples: Vec<Reading<'static>>,
    /// The first sample that the sensor still has.
    base: u64,
    /// The highest acknowledgement that it ever saw.
    acked: u64,
    now: Duration,
    /// Descriptions up to this revision are durable.
    described: u64,
    gateway: Books,
}

/// What the gateway has.
#[derive(Default)]
struct Books {
    passed: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    reduced: RangeSet,
    /// By restart and first sequence.
    summaries: BTreeMap<(Restart, u64), Summarised>,
}

fn settings(random: &mut StdRng) -> String {
    format!("{CLASSES}{}", TABLES[random.random_range(0..TABLES.len())])
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = FaultyFs::new(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let desk = Desk::with_rules(&disk, &settings(&mut random), random.random());
        let sensor = Sensor::new("board-1");
        let (samples, gateway) = Default::default();
        let mut world =
            Self { random, disk, desk, sensor, samples, base: 0, acked: 0, now: Duration::ZERO, described: 0, gateway };
        world.says_hello();
        world
    }

    fn next(&self) -> u64 {
        self.samples.len() as u64
    }

    fn says_hello(&mut self) {
        let next = self.next();
        self.desk.hears(&self.sensor.hello(Ring::Durable, &[(R, self.base, next)]));
        self.desk.hears(&self.sensor.describe());
    }

    fn samples(&mut self) {
        for _ in 0..self.random.random_range(1..30) {
            let millis = self.next() as i64 * 20;
            let number = i64::from(self.random.random_range(-60..60));
            self.samples.push(match self.random.random_range(0..4) {
                0 => at(millis, TEMPERATURE, Value::Float(number as f32)),
                1 => at(millis, COUNT, Value::Integer(number)),
                2 => at(millis, PRESSURE, Value::Double(number as f64)),
                _ => at(millis, DOOR, Value::Text(["open", "ajar"][number as usize % 2])),
            });
        }
    }

    fn sends(&mut self) {
        let next = self.next();
        let first = if self.random.random_bool(0.8) { self.base } else { self.random.random_range(self.base..=next) };
        let end = next.min(first + self.random.random_range(0..40));
        self.desk.intake.set_rooms(self.desk.queue.rooms());
        let readings = &self.samples[first as usize..end as usize];
        self.desk.hears(&self.sensor.says(R, (self.base, next), first, readings));
    }

    /// As the task does it: descriptions are durable before what they describe.
    fn commits(&mut self) {
        let revision = self.desk.queue.state().lock().descriptions.revision();
        if revision != self.described {
            if self.desk.queue.save().is_err() {
                return self.desk.intake.failed();
            }
            self.described = revision;
        }
        self.desk.commits();
        for down in self.desk.answers() {
            if let Down::Ack { restart: R, accepted: Sequence(accepted) } = down
                && self.random.random_bool(0.8)
            {
                self.acked = self.acked.max(accepted);
                self.base = self.base.max(accepted);
            }
        }
    }

    fn goes_by(&mut self) {
        self.now += Duration::from_millis(self.random.random_range(0..600));
        self.desk.intake.tick(self.now);
    }

    /// The gateway takes some records, of any class and in any order.
    fn ships(&mut self, odds: f64) {
        let mut taken = Vec::new();
        for class in self.desk.queue.ids() {
            let (random, queue, gateway) = (&mut self.random, &self.desk.queue, &mut self.gateway);
            let walked = queue.log(class).walk(0..u64::MAX, |found| -> Result<(), ReadError> {
                let Found::Entry(entry) = found else { return Ok(()) };
                if random.random_bool(odds) {
                    let mut fates = Fates::default();
                    fates.take(queue, &entry.section);
                    gateway.take(fates);
                    taken.push((class, entry.offset));
                }
                Ok(())
            });
            walked.expect("a readable queue");
        }
        let state = self.desk.queue.state();
        for (class, offset) in taken {
            state.lock().of_mut(class).shipped.insert(offset..offset + 1);
        }
        if self.random.random_bool(odds) {
            // A disk that fails now keeps more than it must, no less.
            let _ = self.desk.queue.trim();
        }
    }

    fn loses_power_while_writing(&mut self) {
        self.disk.fail_power_after(self.random.random_range(0..10));
        self.sends();
        self.commits();
        self.goes_by();
        self.commits();
        let _ = self.desk.queue.trim();
        self.loses_power();
    }

    fn loses_power(&mut self) {
        for fault in [Fault::Sync, Fault::Write] {
            self.disk.fail_sometimes(fault, 0);
        }
        let disk = self.disk.power_cut();
        let settings = settings(&mut self.random);
        self.desk = Desk::with_rules(&disk, &settings, self.random.random());
        self.disk = disk;
        // Monotonic time of another life.
        self.now = Duration::ZERO;
        self.described = self.desk.queue.state().lock().descriptions.revision();
        self.desk.answers();
        self.says_hello();
    }

    /// Everything arrives.
    fn settles(&mut self) {
        self.loses_power();
        while self.base < self.next() {
            let (base, next) = (self.base, self.next());
            self.desk.intake.set_rooms(self.desk.queue.rooms());
            let end = next.min(base + 40);
            let readings = &self.samples[base as usize..end as usize];
            self.desk.hears(&self.sensor.says(R, (base, next), base, readings));
            self.desk.queue.save().expect("a good disk");
            assert!(self.desk.commits());
            for down in self.desk.answers() {
                if let Down::Ack { restart: R, accepted } = down {
                    self.base = self.base.max(accepted.0);
                }
            }
            assert!(self.base > base, "stuck at {base}");
        }
        while self.desk.queue.state().lock().held.windows().next().is_some() {
            self.desk.intake.close_windows();
            assert!(self.desk.intake.has_staged() && self.desk.commits());
        }
        self.ships(1.0);
    }

    fn check(&self) {
        let Books { passed, refused, reduced, summaries } = &self.gateway;
        let mut summarised: BTreeMap<u64, (Restart, u64)> = BTreeMap::new();
        let mut issued: BTreeMap<Restart, RangeSet> = BTreeMap::new();
        for (id, summary) in summaries {
            assert!(summary.under.is_from_agent() && summary.of == R);
            issued.entry(summary.under).or_default().insert(id.1..id.1 + summary.readings.len() as u64);
            for sequence in summary.ranges.iter().flatten() {
                if let Some(other) = summarised.insert(sequence, *id) {
                    panic!("{sequence} is in two summaries: {other:?} and {id:?}");
                }
            }
            self.check_values(summary);
        }
        for (restart, sequences) in &issued {
            let all: Vec<_> = sequences.iter().collect();
            assert!(matches!(&all[..], [all] if all.start == 0), "restart {restart} has holes: {all:?}");
        }
        for sequence in 0..self.next() {
            let fates = [
                passed.contains(&sequence),
                refused.contains(&sequence),
                reduced.contains(sequence) || summarised.contains_key(&sequence),
            ];
            assert!(fates.contains(&true), "{sequence} is nowhere; {} samples", self.next());
        }
        let missing: Vec<_> = self.desk.queue.standings().iter().map(|stands| stands.key.1).collect();
        assert!(missing.contains(&R));
    }

    /// What a summary says of a channel is what those of its raw readings say that are of that channel.
    fn check_values(&self, summary: &Summarised) {
        let mut count = 0;
        for seen in &summary.readings {
            let words: Vec<&str> = seen.split(' ').collect();
            let (channel, take) = words[0].rsplit_once('.').expect("a take");
            let (number, scale) = match channel {
                "temperature" => (TEMPERATURE, 2.0),
                "count" => (COUNT, 1.0),
                "pressure" => (PRESSURE, 1.0),
                other => panic!("{other} has no window"),
            };
            let own = summary.ranges.iter().flatten().map(|sequence| &self.samples[sequence as usize]);
            let values: Vec<f64> = own
                .filter(|reading| reading.channel.0 == number)
                .map(|reading| match reading.value {
                    Value::Float(value) => f64::from(value) * scale,
                    Value::Double(value) => value,
                    Value::Integer(value) => value as f64,
                    _ => panic!("no number"),
                })
                .collect();
            let expected = match take {
                "min" => values.iter().copied().fold(f64::MAX, f64::min),
                "max" => values.iter().copied().fold(f64::MIN, f64::max),
                "mean" => values.iter().sum::<f64>() / values.len() as f64,
                "last" => *values.last().expect("a value"),
                _ => {
                    count += values.len();
                    values.len() as f64
                }
            };
            let got: f64 = words[2].parse().expect("a number");
            assert!((got - expected).abs() < 1e-4, "{seen}: {expected} of {values:?}");
        }
        assert_eq!(count as u64, summary.ranges.len(), "every sequence is a reading of one of the channels");
    }
}

impl Books {
    fn take(&mut self, fates: Fates) {
        self.passed.extend(fates.passed.keys().map(|(_, sequence)| *sequence));
        self.refused.extend(fates.refused.keys().map(|(_, sequence)| *sequence));
        for ((_, kind), ranges) in fates.claimed {
            assert_eq!(kind, LossKind::Reduced, "nothing is lost here");
            self.reduced.union(&ranges);
        }
        for summary in fates.summaries {
            let id = (summary.under, summary.first);
            let known = self.summaries.entry(id).or_insert_with(|| summary.clone());
            assert_eq!(*known, summary, "one sequence says two things");
        }
    }
}

#[test]
fn no_sequence_is_lost_or_counted_twice_whatever_the_rules_and_whenever_the_power_goes() {
    for_each_seed("no_sequence_is_lost_or_counted_twice", 150, |seed| {
        let mut world = World::new(seed);
        for _ in 0..80 {
            match world.random.random_range(0..100) {
                0..25 => world.samples(),
                25..50 => world.sends(),
                50..72 => world.commits(),
                72..82 => world.goes_by(),
                82..88 => world.ships(0.3),
                88..92 => {
                    let _ = world.desk.queue.save();
                }
                92..95 => world.disk.fail_sometimes(Fault::Sync, 20),
                95..98 => world.loses_power_while_writing(),
                _ => world.loses_power(),
            }
        }
        world.settles();
        world.check();
    });
}
