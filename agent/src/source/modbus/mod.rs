//! Modbus: registers of PLCs, meters and inverters, over TCP or a serial line (RTU).
//!
//! What it guarantees: nothing is ever written to a device; devices on one line take turns; a register that its device
//! refuses, or a request that it alone does not answer, fails alone and is named in health; a device that is silent or
//! answers wrongly ends this life of its source alone, and is tried again with growing pauses. Requests, answers and
//! the time for them are bounded.
//!
//! ```text
//! settings -> plan (neighbours in one request) -> line (one request at a time) -> value (bytes, order, scale) -> feed
//! ```

mod address;
mod line;
mod plan;
mod poll;
mod settings;
mod value;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::Value;

use super::context::Context;
use super::feed::Sample;
use super::supervise::LifeError;
use crate::counters::Event;

pub use address::{Address, Parity, Rtu};
pub use line::{Answer, Line, ReadError};
pub use plan::{Block, Place, Table, blocks};
pub use poll::{Poller, Wanted};
pub use settings::{MAX_DEVICES, ModbusConfig, RegisterConfig, check};
pub use value::{ByteOrder, Layout, Type};

/// The line of each device; those with the same address share one.
pub fn lines(devices: &[ModbusConfig]) -> Vec<Arc<Line>> {
    let mut lines: HashMap<&Address, Arc<Line>> = HashMap::new();
    let line = |device: &'_ ModbusConfig| Arc::new(Line::new(device.address.get_ref().clone()));
    devices
        .iter()
        .map(|device| Arc::clone(lines.entry(device.address.get_ref()).or_insert_with(|| line(device))))
        .collect()
}

/// Reads one device until it does not answer, or until the source must stop.
///
/// # Errors
/// The device is silent, or answers wrongly, or the line cannot be opened.
pub async fn run(config: ModbusConfig, line: Arc<Line>, context: Context) -> Result<(), LifeError> {
    let feed = context.feed_with(*config.device.get_ref(), *config.ring.get_ref() as usize)?;
    let mut poller = Poller::new(&config);
    for wanted in poller.values() {
        feed.declare(&wanted.name, &wanted.unit, wanted.layout.value_kind(), wanted.layout.resolution())?;
    }
    let mut polls = context.polls(Duration::ZERO, config.interval.get_ref().0);
    let mut failing = None;
    while polls.next().await {
        let clocks = context.clone();
        let give = |wanted: &Wanted, value: Value<'_>| {
            let (name, unit, resolution) = (&wanted.name, &wanted.unit, wanted.layout.resolution());
            // What the feed refuses it counts and names.
            let _ = feed.put(&Sample { name, unit, resolution, value, at: clocks.now() });
        };
        tokio::select! {
            biased;
            () = context.stopped() => return Ok(()),
            outcome = poller.poll(&line, give) => outcome?,
        }
        let now_failing = poller.failing();
        if let Some(why) = now_failing.as_ref().filter(|_| now_failing != failing) {
            context.report.error(why.clone());
            tracing::warn!(source = context.report.id(), "{why}");
        }
        context.counters.add(Event::RegistersFailed, poller.failures() as u64);
        failing = now_failing;
    }
    Ok(())
}
