//! This machine as a device: processor, memory, disks, network and sensors from `/proc` and `/sys`.
//!
//! What cannot be read is named in health and in the log when it begins, counted each time, and takes nothing else
//! of the machine with it.

mod disks;
mod network;
mod proc;
mod sample;
mod sensors;
pub(crate) mod settings;

use std::time::Duration;

use super::failures::Failures;
use super::feed::{Feed, Sample};
use super::worker::{Thread, Worker};
use super::{Context, LifeError};
pub use sample::{Measurement, Sampled, Sampler};
pub use settings::SystemConfig;

/// The first sample comes after this or the interval, whichever is shorter.
const FIRST_SAMPLE: Duration = Duration::from_millis(250);

/// Samples until it must stop.
pub async fn run(settings: SystemConfig, thread: Thread<Sampled>, context: Context) -> Result<(), LifeError> {
    let feed = context.feed_with(settings.device, *settings.ring.get_ref() as usize)?;
    let interval = settings.interval.get_ref().0;
    let mut sampler = Sampler::new(settings.root, settings.disks.into_inner());
    let worker = Worker::of(&thread, move || sampler.sample())?;
    // Finds the channels, and what processor use is compared with; not a sample.
    for channel in worker.ask().await?.measured {
        // A channel too many is refused with its first value, and counted then.
        let _ = feed.declare(&channel.name, channel.unit, channel.kind, channel.resolution);
    }
    let mut failures = Failures::default();
    let mut polls = context.polls(interval.min(FIRST_SAMPLE), interval);
    while polls.next().await {
        let sampled = tokio::select! {
            () = context.stopped() => return Ok(()),
            sampled = worker.ask() => sampled?,
        };
        put(&feed, &context, &sampled.measured);
        failures.note(&context, sampled.failed);
    }
    Ok(())
}

fn put(feed: &Feed, context: &Context, measured: &[Measurement]) {
    let at = context.now();
    let samples: Vec<Sample<'_>> = measured.iter().filter_map(|measurement| measurement.sample(at)).collect();
    // What is refused is counted and said there.
    feed.put_all(&samples);
}
