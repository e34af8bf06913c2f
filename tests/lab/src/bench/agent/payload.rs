//! What every agent is given: line protocol as a collector of machine data writes it, 200 points of 5 fields a request.

use std::fmt::Write as _;

/// Readings of a point: its fields.
pub(super) const FIELDS: u64 = 5;
/// Points of a request.
pub(super) const POINTS: u64 = 200;
/// Readings of a request.
pub(super) const READINGS: u64 = FIELDS * POINTS;
/// Nanoseconds between two points.
const APART: u64 = 100_000_000;

/// Values that wander as a machine's do, the same from each seed.
pub(super) struct Payload {
    time: u64,
    state: u64,
    hundredths: [i64; FIELDS as usize],
}

impl Payload {
    /// Points from now on.
    pub(super) fn new(seed: u64) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { time: now.as_nanos() as u64, state: seed | 1, hundredths: [2150, 101_325, 4520, 1200, 35] }
    }

    /// The body of the next request.
    pub(super) fn body(&mut self, points: u64) -> String {
        let mut body = String::new();
        for _ in 0..points {
            for value in &mut self.hundredths {
                // xorshift64: quick, and good enough for a walk.
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                *value += (self.state % 21) as i64 - 10;
            }
            let [temperature, pressure, humidity, speed, current] = self.hundredths.map(|value| value as f64 / 100.0);
            self.time += APART;
            // Writing to a string cannot fail.
            let _ = writeln!(
                body,
                "press,host=edge-1,line=4 temperature={temperature},pressure={pressure},humidity={humidity},\
                 speed={speed},current={current} {}",
                self.time
            );
        }
        body
    }
}
