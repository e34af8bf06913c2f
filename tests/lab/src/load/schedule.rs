//! When each reading is due: fixed in advance by the plan, and never shifted by what happens.
//!
//! All readings of a load stand in one line, by number: turn `t` of device `d` of `D` is number `t * D + d`. The line of one
//! connection is every number of its devices, which are `c`, `c + C`, `c + 2C` and so on of `C` connections; position `i` of
//! it is turn `i / n` of its `n` devices. Due times rise along both lines, so that what is due and not sent, and what is sent
//! and not acknowledged, is a range of positions, however much it is: nothing is kept of a reading.
//!
//! Times are nanoseconds since the load began. Each is computed from its number alone, in whole numbers, so that no error
//! adds up.

use std::ops::Range;
use std::time::Duration;

use super::{LoadPlan, Pattern};

/// Within this time the whole fleet is due in a burst.
const BURST: u128 = 10_000_000;
const SECOND: u128 = 1_000_000_000;
/// Rates are counted in millionths of a reading a second.
const PARTS: u128 = 1_000_000;

/// Due times of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    devices: u64,
    connections: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Evenly, in millionths of a reading a second.
    Even(u128),
    /// So many turns of all devices in [`BURST`], each so often (in nanoseconds).
    Burst { every: u128, turns: u128 },
}

/// Readings of one device: its number, and a range of its sequences.
pub(crate) type Run = (u32, Range<u64>);

impl Schedule {
    /// Of a plan that was checked.
    pub(crate) fn new(plan: &LoadPlan) -> Self {
        let kind = match plan.pattern {
            Pattern::Burst { every } => {
                let turns = plan.rate * every.as_secs_f64() / f64::from(plan.devices);
                Kind::Burst { every: every.as_nanos().max(BURST), turns: turns.round().max(1.0) as u128 }
            }
            Pattern::Steady | Pattern::Storm { .. } | Pattern::Drip => {
                Kind::Even(((plan.rate * PARTS as f64).round() as u128).max(1))
            }
        };
        Self { devices: plan.devices.into(), connections: plan.connections.into(), kind }
    }

    /// How many devices a connection has.
    pub(crate) fn devices_of(&self, connection: u32) -> u64 {
        (self.devices - u64::from(connection)).div_ceil(self.connections)
    }

    /// The device that is number `slot` of a connection.
    pub(crate) fn device(&self, connection: u32, slot: u64) -> u32 {
        (u64::from(connection) + slot * self.connections) as u32
    }

    /// Where a sequence of a device stands: its connection, and the position there.
    pub(crate) fn place(&self, device: u32, sequence: u64) -> (u32, u64) {
        let (slot, connection) = (u64::from(device) / self.connections, u64::from(device) % self.connections);
        (connection as u32, sequence * self.devices_of(connection as u32) + slot)
    }

    /// When a position of a connection is due.
    pub(crate) fn due(&self, connection: u32, position: u64) -> u64 {
        let of = self.devices_of(connection);
        let device = u64::from(self.device(connection, position % of));
        self.due_of_all(position / of * self.devices + device)
    }

    /// How many positions of a connection are due at a time: all below.
    pub(crate) fn count(&self, connection: u32, time: u64) -> u64 {
        let all = self.count_of_all(time);
        let begun = (all % self.devices).saturating_sub(connection.into()).div_ceil(self.connections);
        all / self.devices * self.devices_of(connection) + begun
    }

    /// When a number of the line of all is due.
    fn due_of_all(&self, number: u64) -> u64 {
        let number = u128::from(number);
        let due = match self.kind {
            Kind::Even(rate) => number * SECOND * PARTS / rate,
            Kind::Burst { every, turns } => {
                let each = turns * u128::from(self.devices);
                number / each * every + number % each * BURST / each
            }
        };
        due as u64
    }

    /// How many numbers of the line of all are due at a time.
    pub(crate) fn count_of_all(&self, time: u64) -> u64 {
        let time = u128::from(time);
        let count = match self.kind {
            Kind::Even(rate) => ((time + 1) * rate - 1) / (SECOND * PARTS) + 1,
            Kind::Burst { every, turns } => {
                let each = turns * u128::from(self.devices);
                let within = (((time % every + 1) * each - 1) / BURST + 1).min(each);
                time / every * each + within
            }
        };
        count as u64
    }

    /// The readings at a range of positions of a connection, device by device.
    pub(crate) fn runs(&self, connection: u32, positions: Range<u64>) -> impl Iterator<Item = Run> + use<> {
        let of = self.devices_of(connection);
        let (schedule, first) = (*self, positions.start);
        // Each device comes once within its number of positions.
        let slots = of.min(positions.end.saturating_sub(first));
        (first..first + slots).map(move |position| {
            let slot = position % of;
            let before = |end: u64| end.saturating_sub(slot).div_ceil(of);
            (schedule.device(connection, slot), before(first)..before(positions.end))
        })
    }

    /// The time of a number of nanoseconds since the load began.
    pub(crate) fn time(since: Duration) -> u64 {
        since.as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn plan(pattern: Pattern, devices: u32, connections: u32, rate: f64) -> LoadPlan {
        LoadPlan { pattern, devices, connections, rate, ..LoadPlan::new(1) }
    }

    /// Plans of every kind, even ones and odd ones.
    fn plans() -> Vec<LoadPlan> {
        let burst = Pattern::Burst { every: Duration::from_millis(700) };
        vec![
            plan(Pattern::Steady, 1, 1, 1.0),
            plan(Pattern::Steady, 10, 3, 7.3),
            plan(Pattern::Storm { every: Duration::from_secs(1) }, 1000, 16, 9_999.9),
            plan(Pattern::Drip, 17, 17, 17.0 / 60.0),
            plan(burst, 10, 4, 1.0),
            plan(burst, 7, 3, 50.0),
        ]
    }

    #[test]
    fn what_is_due_on_all_connections_together_is_what_is_due_at_all_and_no_reading_is_there_twice() {
        for plan in plans() {
            let schedule = Schedule::new(&plan);
            for time in [0, 1, 9_999_999, 10_000_000, 699_999_999, 700_000_000, 3_600_000_000_000] {
                let each = (0..plan.connections).map(|connection| schedule.count(connection, time));
                assert_eq!(each.sum::<u64>(), schedule.count_of_all(time), "{plan:?} at {time}");
            }
            let mut sequences: BTreeMap<u32, u64> = BTreeMap::new();
            for connection in 0..plan.connections {
                // In pieces, as batches are.
                for piece in 0..20 {
                    let positions = piece * 7..(piece + 1) * 7;
                    for (device, run) in schedule.runs(connection, positions.clone()) {
                        let places = run.clone().map(|sequence| schedule.place(device, sequence));
                        assert!(
                            places.into_iter().all(|(of, at)| of == connection && positions.contains(&at)),
                            "{plan:?}"
                        );
                        let next = sequences.entry(device).or_default();
                        assert_eq!(run.start, *next, "{plan:?}: device {device}");
                        *next = run.end;
                    }
                }
            }
            assert_eq!(sequences.values().sum::<u64>(), u64::from(plan.connections) * 140, "{plan:?}");
        }
    }

    #[test]
    fn a_reading_is_due_exactly_when_it_is_counted() {
        for plan in plans() {
            let schedule = Schedule::new(&plan);
            for connection in 0..plan.connections {
                let mut last = 0;
                for position in (0..40).chain(1_000_000..1_000_040) {
                    let due = schedule.due(connection, position);
                    assert!(due >= last, "{plan:?}: position {position} is due before the one in front of it");
                    last = due;
                    assert!(schedule.count(connection, due) > position, "{plan:?}: {position} at {due}");
                    if due > 0 {
                        assert!(schedule.count(connection, due - 1) <= position, "{plan:?}: {position} before {due}");
                    }
                }
            }
        }
    }

    #[test]
    fn devices_have_phases_of_their_own_and_none_drifts() {
        let schedule = Schedule::new(&plan(Pattern::Steady, 100, 10, 30.0));
        let phases: std::collections::BTreeSet<u64> = (0..100).map(|number| schedule.due_of_all(number)).collect();
        assert_eq!(phases.len(), 100);
        // A device of these is due each 10/3 s: its reading 3,000,000 is due after exactly 10,000,000 s.
        let first = schedule.due_of_all(42);
        assert_eq!(schedule.due_of_all(42 + 3_000_000 * 100) - first, 10_000_000 * 1_000_000_000);
    }

    #[test]
    fn in_a_burst_all_devices_are_due_within_10_ms_and_then_nobody_is() {
        let every = Duration::from_secs(5);
        // Three readings of each device a burst.
        let schedule = Schedule::new(&plan(Pattern::Burst { every }, 1000, 10, 600.0));
        assert_eq!(schedule.count_of_all(9_999_999), 3000);
        assert_eq!(schedule.count_of_all(4_999_999_999), 3000);
        assert_eq!(schedule.count_of_all(5_000_000_000), 3001);
        assert_eq!(schedule.count_of_all(5_009_999_999), 6000);
    }
}
