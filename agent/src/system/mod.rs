//! This machine as a device: processor, memory, disks, network and sensors from `/proc` and `/sys`.
//!
//! It is a device like any other, behind a line that happens to be in memory: it has a restart, which is new
//! with every start of the agent, sequences, a bounded ring of what was not acknowledged, and it is given
//! credit or none. Its samples say by which [`clock`] they were taken. A restart whose agent was killed ends with an unknown tail; a clean stop ends it exactly.

pub mod clock;
mod device;
mod disks;
mod network;
mod proc;
mod sample;
mod sensors;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_protocol::time::WallClock;
use weir_protocol::{DeviceId, Restart};

use crate::counters::Counters;
use crate::intake::task::Handle;
use device::Device;
pub use sample::{Measurement, Sampler};

/// What to sample, and how often.
#[derive(Clone, Debug)]
pub struct SystemOptions {
    /// The name of this machine as a device.
    pub device: DeviceId,
    /// Time between two samples.
    pub interval: Duration,
    /// Readings kept while they are not acknowledged.
    pub ring: usize,
    /// What `/proc` and `/sys` are below.
    pub root: PathBuf,
    /// Filesystems to measure.
    pub disks: Vec<PathBuf>,
}

/// What samples are timed by.
#[derive(Clone)]
pub struct Clocks {
    /// The wall clock.
    pub wall: Arc<dyn WallClock>,
    /// Whether to believe it.
    pub is_synchronised: fn() -> bool,
}

/// The first sample comes after this or the interval, whichever is shorter.
const FIRST_SAMPLE: Duration = Duration::from_millis(250);
/// How long a stopping source waits for the last acknowledgement.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Silence after which unacknowledged readings are sent again.
const RESEND: Duration = Duration::from_secs(1);

/// Samples until `stop` is dropped, then says what is left and ends the restart.
pub async fn run(
    options: SystemOptions,
    restart: Restart,
    intake: Handle,
    clocks: Clocks,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<()>,
) {
    let (link, mut answers) = intake.attach().await;
    drop(intake);
    let mut sampler = Sampler::new(options.root, options.disks);
    let mut device = Device::new(options.device, restart, options.ring);
    // Finds the channels, and what processor use is compared with; not a sample.
    sampler.sample(&counters);
    device.describe(&sampler);
    link.send(device.hello()).await;
    let first = tokio::time::Instant::now() + options.interval.min(FIRST_SAMPLE);
    let mut ticks = tokio::time::interval_at(first, options.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut stopped_at = None;
    loop {
        // Bounded by the credit, and by what fits into a frame.
        while let Some(frame) = device.next_frame() {
            link.send(frame).await;
        }
        if stopped_at.is_some() && device.is_empty() {
            link.finish((options.device, restart)).await;
            return;
        }
        let silence = tokio::time::sleep(RESEND);
        tokio::select! {
            _ = ticks.tick(), if stopped_at.is_none() => {
                let (now, by) = clock::sample_time(&*clocks.wall, (clocks.is_synchronised)());
                let measured = sampler.sample(&counters);
                device.describe(&sampler);
                measured.iter().for_each(|measurement| device.push(measurement, now, by));
            }
            answer = answers.recv() => match answer {
                Some(down) => {
                    if let Some(message) = device.take(&down) {
                        link.send(message).await;
                    }
                }
                None => return,
            },
            () = silence, if !device.is_empty() => device.rewind(),
            _ = stop.changed(), if stopped_at.is_none() => stopped_at = Some(tokio::time::Instant::now()),
        }
        if stopped_at.is_some_and(|at| at.elapsed() > LAST_WORDS) {
            return;
        }
    }
}
