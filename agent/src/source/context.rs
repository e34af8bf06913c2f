//! What every source works with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use weir_protocol::DeviceId;

use super::clock::{Clocks, SampleTime};
use super::feed::{Feed, Feeds, PutError, RING, Recorded, TooManyDevices};
use crate::counters::Counters;
use crate::health::Report;

/// What a source works with: where readings go, what time it is, where to say how it is, and when to stop.
#[derive(Clone)]
pub struct Context {
    /// Where readings go.
    pub feeds: Feeds,
    /// What samples are timed by.
    pub clocks: Clocks,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Where the source says how it is.
    pub report: Arc<Report>,
    /// Its sender is dropped to stop the source; nothing is ever sent.
    pub stop: watch::Receiver<()>,
}

impl Context {
    /// The feed of a device, the same for every life of the source and for every source that names the device.
    pub fn feed(&self, device: DeviceId) -> Result<Feed, TooManyDevices> {
        self.feed_with(device, RING)
    }

    /// The feed of a device, with room for at least `ring` readings.
    pub fn feed_with(&self, device: DeviceId, ring: usize) -> Result<Feed, TooManyDevices> {
        let (counters, report) = (Arc::clone(&self.counters), Arc::clone(&self.report));
        Feed::open(&self.feeds, device, ring, counters, report, self.clocks.clone())
    }

    /// Brings readings that their source keeps on disk itself; returns once the queue has them.
    ///
    /// # Errors
    /// [`PutError`]; some of them may be there.
    pub async fn bring(&self, recorded: Recorded<'_>) -> Result<(), PutError> {
        recorded.bring(self.feeds.intake().ok_or(PutError::Stopping)?).await?;
        self.report.gave(recorded.samples.len() as u64, self.clocks.wall.now());
        Ok(())
    }

    /// The time of a sample that is taken now.
    pub fn now(&self) -> SampleTime {
        self.clocks.now()
    }

    /// Waits until the source must stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        while stop.changed().await.is_ok() {}
    }

    /// Whether the source must stop; for threads of its own.
    pub fn is_stopping(&self) -> bool {
        self.stop.has_changed().is_err()
    }

    /// Times to poll at: the first after `first`.
    pub fn polls(&self, first: Duration, interval: Duration) -> Polls {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Polls { ticks, context: self.clone() }
    }
}

/// Times to poll at.
pub struct Polls {
    ticks: Interval,
    context: Context,
}

impl Polls {
    /// Waits for the next time; false once the source must stop.
    pub async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.context.stopped() => false,
            _ = self.ticks.tick() => true,
        }
    }
}
