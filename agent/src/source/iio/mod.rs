//! Sensors that the kernel drives and shows as Industrial I/O devices: accelerometers, converters, light, pressure,
//! humidity, and many more, with the names and units of its ABI.
//!
//! What cannot be read is named in health and in the log when it begins, and takes no other with it; a sensor that is
//! plugged in later is read from then on. [`quantity`] has the units, [`tree`] the files.

mod quantity;
pub(crate) mod settings;
mod tree;

use std::time::Duration;

use weir_protocol::Value;

use super::failures::Failures;
use super::feed::Sample;
use super::worker::{Thread, Worker};
use super::{Context, LifeError};
pub use settings::IioConfig;
pub use tree::{Measured, Sampled, sample};

/// Measures until it must stop, or until no sensor is there.
pub async fn run(settings: IioConfig, thread: Thread<Sampled>, context: Context) -> Result<(), LifeError> {
    let feed = context.feed(*settings.device.get_ref())?;
    let (root, patterns) = (settings.root, settings.sensors.into_inner());
    let worker = Worker::of(&thread, move || sample(&root, &patterns))?;
    let mut failures = Failures::default();
    let mut polls = context.polls(Duration::ZERO, settings.interval.get_ref().0);
    while polls.next().await {
        let at = context.now();
        let sampled = tokio::select! {
            () = context.stopped() => return Ok(()),
            sampled = worker.ask() => sampled?,
        };
        let samples: Vec<Sample<'_>> = sampled
            .measured
            .iter()
            .map(|m| Sample {
                name: &m.name,
                unit: m.unit,
                resolution: m.resolution,
                value: Value::Double(m.value),
                at,
            })
            .collect();
        // What is refused is counted and said there.
        feed.put_all(&samples);
        failures.note(&context, sampled.failed);
        if sampled.sensors == 0 {
            return Err("no such sensor; see which there are: grep . /sys/bus/iio/devices/*/name".into());
        }
    }
    Ok(())
}
