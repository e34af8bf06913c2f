//! What rules make of readings, one story each.

mod ids;
mod room;
mod steps;
mod windows;

use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{Reading, Restart, Value};
use weir_storage::FaultyFs;

use crate::support::desk::Desk;
use crate::support::sensor::{Fates, Sensor, TEMPERATURE, at};

const R: Restart = Restart::from_boot(1, 0xabcd);

/// A desk with rules, and a sensor on the line that described itself.
fn ruled(settings: &str) -> (Desk, Sensor) {
    ruled_on(&FaultyFs::new(1), settings)
}

fn ruled_on(disk: &FaultyFs, settings: &str) -> (Desk, Sensor) {
    let mut desk = Desk::with_rules(disk, settings, 1);
    let mut sensor = Sensor::new("board-1");
    desk.hears(&sensor.hello(Ring::Durable, &[(R, 0, 0)]));
    desk.hears(&sensor.describe());
    desk.answers();
    (desk, sensor)
}

/// The sensor says these from sequence 0 on, and all is committed.
fn told(settings: &str, readings: &[Reading<'_>]) -> (Desk, Fates) {
    let (mut desk, mut sensor) = ruled(settings);
    desk.hears(&sensor.says(R, (0, readings.len() as u64), 0, readings));
    assert!(desk.commits());
    let fates = Fates::of(&desk.queue);
    (desk, fates)
}

fn temperatures(values: &[f32]) -> Vec<Reading<'static>> {
    (0..).zip(values).map(|(second, value)| at(second * 1000, TEMPERATURE, Value::Float(*value))).collect()
}
