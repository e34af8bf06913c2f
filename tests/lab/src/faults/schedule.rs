//! When what goes wrong: drawn from a seed.
//!
//! Faults stand in lanes, such as the gateway's process or the network. A lane has one fault at a time and then a pause;
//! lanes overlap as they come. So a power cut may hit while the network is a black hole, but nobody is killed twice at once.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Fault, Means};
use crate::deployment::{Aim, Target};

/// One fault: it begins so long after the start of the schedule, and lasts so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts; nothing for what is over at once.
    pub lasting: Duration,
    /// What it is.
    pub fault: Fault,
}

/// All faults of a run, by their beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The faults.
    pub events: Vec<Event>,
}

/// What is broken one at a time.
#[derive(Clone, Copy, Debug)]
enum Lane {
    Process(Target),
    Network,
    Boards,
    Clock,
}

const LANES: [Lane; 5] =
    [Lane::Process(Target::Gateway), Lane::Process(Target::Agent), Lane::Network, Lane::Boards, Lane::Clock];
/// The first this long is without faults, so that there is something to lose.
const CALM: Duration = Duration::from_secs(2);
/// From one kill to the next where a planted fault is hunted.
const BETWEEN: Duration = Duration::from_millis(1200);
/// How long cables are out there.
const UNPLUGGED: Duration = Duration::from_secs(3);
/// Pauses of a lane, and how long a fault lasts, in milliseconds.
const PAUSE: std::ops::Range<u64> = 500..6000;
const LASTING: std::ops::Range<u64> = 200..3000;
/// Pauses are shorter by this factor where nothing but the network can be broken.
const ALONE: u32 = 4;
/// Seconds of a year.
const YEAR: i64 = 365 * 24 * 3600;

impl Schedule {
    /// Of this seed: what `means` allows, and over within `lasting`.
    pub fn of(seed: u64, lasting: Duration, means: &Means) -> Self {
        let mut events = Vec::new();
        let shorter = if means.processes { 1 } else { ALONE };
        for (number, lane) in LANES.into_iter().enumerate() {
            // Each lane draws for itself, so that what is possible in one does not shift the others.
            let mut random = StdRng::seed_from_u64(seed.wrapping_mul(LANES.len() as u64).wrapping_add(number as u64));
            let mut at = CALM + millis(&mut random, 0..PAUSE.end) / shorter;
            loop {
                let fault = lane.draw(&mut random);
                let long = millis(&mut random, LASTING);
                let pause = millis(&mut random, PAUSE);
                let fault_lasts = if fault.lasts() { long } else { Duration::ZERO };
                if at + fault_lasts > lasting {
                    break;
                }
                if means.allow(&fault) {
                    events.push(Event { at, lasting: fault_lasts, fault });
                }
                at += fault_lasts + pause / shorter;
            }
        }
        events.sort_by_key(|event| event.at);
        Self { events }
    }

    /// Kills, close behind acknowledgements, where a promise that was given too early shows. The agent first: one that was
    /// killed sends again what it does not know to be stored, and would heal what the gateway lost.
    pub fn hunt(lasting: Duration) -> Self {
        let aims = [Aim::BehindPromise, Aim::BehindLostAnswer, Aim::BehindPromise, Aim::Blind];
        let kills = (0..).map(|number| CALM + number * BETWEEN).take_while(|at| *at <= lasting);
        let events = kills.zip(aims.into_iter().cycle()).map(|(at, aim)| {
            let target = if at < lasting / 2 { Target::Agent } else { Target::Gateway };
            Event { at, lasting: Duration::ZERO, fault: Fault::Kill(target, aim, 0) }
        });
        let mut events: Vec<_> = events.collect();
        // What runs over meanwhile is claimed lost.
        let unplugged = Event { at: lasting * 2 / 3, lasting: UNPLUGGED, fault: Fault::Unplug };
        events.insert(events.partition_point(|event| event.at <= unplugged.at), unplugged);
        Self { events }
    }

    /// When the last fault is over.
    pub fn end(&self) -> Duration {
        self.events.iter().map(|event| event.at + event.lasting).max().unwrap_or_default()
    }
}

fn millis(random: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

impl Lane {
    fn draw(self, random: &mut StdRng) -> Fault {
        match self {
            Self::Process(target) => match random.random_range(0..22) {
                0..6 => Fault::Kill(target, aim(random), 0),
                6..8 => Fault::Restart(target),
                8..10 => Fault::Freeze(target),
                10..13 => Fault::PowerCut(target),
                13..15 => Fault::SyncError(target),
                15..17 => Fault::SlowSync(target, millis(random, 20..500)),
                17 => Fault::DiskFull(target),
                18 => Fault::ReadOnly(target),
                19 => Fault::FlippedBits(target),
                20 => Fault::Reload(target),
                _ => Fault::Certificates,
            },
            Self::Network => match random.random_range(0..9) {
                0..2 => Fault::Cut,
                2..4 => Fault::BlackHole,
                4 => Fault::LostAnswers,
                5 => Fault::HalfOpen,
                6 => Fault::Delay(millis(random, 5..200)),
                _ => Fault::Throttle(random.random_range(2_000..100_000)),
            },
            Self::Boards => match random.random_range(0..3) {
                0 => Fault::Unplug,
                _ => Fault::Kill(Target::Board, Aim::Blind, random.random_range(0..64)),
            },
            // A day is what a restarted gateway believes in; a year is what it must not.
            Self::Clock => Fault::Clock([-YEAR, -3600, -1, 1, 3600, 10 * YEAR][random.random_range(0..6)]),
        }
    }
}

fn aim(random: &mut StdRng) -> Aim {
    [Aim::Blind, Aim::BehindPromise, Aim::BehindLostAnswer][random.random_range(0..3)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Means {
        let all = true;
        Means { processes: all, boards: all, strace: all, images: all, clock: all, tls: false, damage: all }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_breaks_the_same_things_at_the_same_moments() {
        assert_eq!(Schedule::of(7, MINUTE, &everything()), Schedule::of(7, MINUTE, &everything()));
        assert_ne!(Schedule::of(7, MINUTE, &everything()), Schedule::of(8, MINUTE, &everything()));
    }

    #[test]
    fn all_is_over_when_the_time_is() {
        for seed in 0..200 {
            let schedule = Schedule::of(seed, MINUTE, &everything());
            assert!(schedule.end() <= MINUTE, "seed {seed}");
            assert!(schedule.events.iter().all(|event| event.at >= CALM), "seed {seed}");
        }
    }

    #[test]
    fn every_kind_of_fault_comes_up() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..50 {
            for event in Schedule::of(seed, MINUTE, &everything()).events {
                kinds.insert(format!("{:?}", event.fault).split('(').next().unwrap_or_default().to_owned());
            }
            let with_tls = Means { tls: true, ..everything() };
            let events = Schedule::of(seed, MINUTE, &with_tls).events;
            kinds.extend(
                events.iter().filter(|event| event.fault == Fault::Certificates).map(|_| "Certificates".into()),
            );
        }
        assert_eq!(kinds.len(), 19, "{kinds:?}");
    }

    #[test]
    fn a_process_has_one_trouble_at_a_time() {
        for seed in 0..200 {
            let mut free = Duration::ZERO;
            for event in Schedule::of(seed, MINUTE, &everything()).events {
                let hits = format!("{:?}", event.fault).contains("Gateway");
                if hits {
                    assert!(event.at >= free, "seed {seed}: {event:?}");
                    free = event.at + event.lasting;
                }
            }
        }
    }

    #[test]
    fn of_a_deployment_of_somebody_else_the_network_is_broken_often_and_nothing_else_is() {
        for seed in 0..50 {
            let events = Schedule::of(seed, MINUTE, &Means::network()).events;
            assert!(events.len() >= 12, "seed {seed}: {} faults", events.len());
            let is_of_network = |fault: &Fault| {
                use Fault::{BlackHole, Cut, Delay, HalfOpen, LostAnswers, Throttle};
                matches!(fault, Cut | BlackHole | LostAnswers | HalfOpen | Delay(_) | Throttle(_))
            };
            assert!(events.iter().all(|event| is_of_network(&event.fault)), "seed {seed}: {events:?}");
        }
    }

    #[test]
    fn without_root_there_is_the_rest() {
        let poor = Means { processes: true, boards: true, ..Means::network() };
        for seed in 0..50 {
            let (all, some) = (Schedule::of(seed, MINUTE, &everything()), Schedule::of(seed, MINUTE, &poor));
            assert!(
                some.events.iter().all(|event| all.events.contains(event) && poor.allow(&event.fault)),
                "seed {seed}"
            );
        }
    }
}
