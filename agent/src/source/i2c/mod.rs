//! Sensors on the I2C buses of this machine (`/dev/i2c-*`, the kernel's i2c-dev).
//!
//! Guarantees: a bus that is stuck holds one thread and nothing else; a sensor that does not answer is named with its
//! address, tried again, and takes no other with it.

mod bus;
mod sensor;
pub(crate) mod settings;

use std::time::Duration;

use linux_embedded_hal::I2cdev;
use weir_protocol::Value;

use super::feed::Sample;
use super::worker::{Thread, Worker};
use super::{Context, LifeError};
pub(super) use bus::Answer;
use bus::measure;
pub use sensor::Kind;
pub use settings::I2cConfig;

/// Measures until it must stop, or until a measurement fails.
pub(super) async fn run(settings: I2cConfig, thread: Thread<Answer>, context: Context) -> Result<(), LifeError> {
    let feed = context.feed(settings.device)?;
    let (of_thread, mut open) = (settings.clone(), None::<I2cdev>);
    let worker = Worker::of(&thread, move || measure(&of_thread, &mut open))?;
    let mut polls = context.polls(Duration::ZERO, settings.interval.get_ref().0);
    while polls.next().await {
        let measured = tokio::select! {
            () = context.stopped() => return Ok(()),
            measured = worker.ask() => measured??,
        };
        let at = context.now();
        let names: Vec<String> = measured.iter().map(|measured| settings.channel(measured.quantity)).collect();
        let samples: Vec<Sample<'_>> = measured
            .iter()
            .zip(&names)
            .map(|(m, name)| Sample { name, unit: m.unit, resolution: m.resolution, value: Value::Float(m.value), at })
            .collect();
        // What is refused is counted and said there.
        feed.put_all(&samples);
    }
    Ok(())
}
