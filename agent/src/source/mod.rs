//! Sources: what the agent reads.
//!
//! Each is a module of the same shape: `settings` is its section of the settings file, `run` is one life of it,
//! which ends when it is told to stop, or with an error. What it reads it puts into the [`feed`] of a device; a serial
//! line, which has a device at its other end, is attached to the intake as it is.
//!
//! Guarantees: a source that fails, or panics, is started again after a pause and takes nothing else down
//! ([`supervise`]); what each does and what went wrong stands in [`crate::health`]; a source never waits for the disk
//! and holds a bounded number of readings.

pub mod clock;
mod configured;
mod context;
pub mod exec;
mod failures;
pub mod feed;
pub mod i2c;
pub mod iio;
pub mod line_protocol;
pub mod modbus;
pub mod mqtt;
mod name;
mod number;
pub mod probe;
pub mod serial;
mod supervise;
mod sysfs;
pub mod system;
mod units;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Environment;
use crate::config::Config;
use crate::counters::Counters;
use crate::health::Health;
use crate::intake::task::Handle;
use clock::Clocks;
use feed::Feeds;
use serial::Lines;

pub use configured::{Source, configured};
pub use context::{Context, Polls};
pub use supervise::{LifeError, supervise};

/// How long a source that was told to stop may take before it is cut off.
const STOP: Duration = Duration::from_secs(2);

/// Every source that runs.
pub struct Sources {
    /// Those with feeds.
    fed: JoinSet<()>,
    /// Those with lines, which end after the intake.
    lines: JoinSet<()>,
    feeds: Feeds,
    /// Dropped to stop them all.
    stop: Option<watch::Sender<()>>,
}

impl Sources {
    /// Starts every source that is configured, and `own`, which needs no section of the settings. Health knows these sources and no others from now on.
    pub fn start(
        config: &Config,
        environment: &mut Environment,
        intake: &Handle,
        counters: &Arc<Counters>,
        health: &Health,
        own: Option<Source>,
    ) -> Self {
        health.clear_sources();
        let (stop, stopped) = watch::channel(());
        let clocks = Clocks { wall: Arc::clone(&environment.clock), is_synchronised: environment.is_synchronised };
        let feeds = Feeds::new(intake.clone(), environment.fork_random());
        let (mut fed, mut lines) = (JoinSet::new(), JoinSet::new());
        let context = |kind, name: &str| Context {
            feeds: feeds.clone(),
            clocks: clocks.clone(),
            counters: Arc::clone(counters),
            report: health.source(kind, name),
            stop: stopped.clone(),
        };
        for settings in &config.serial {
            let settings = settings.clone();
            let context = context("serial", &settings.name());
            let intake = intake.clone();
            let mut random = environment.fork_random();
            let live = move |context| {
                let lines = Lines::of(intake.clone(), context);
                serial::run(settings.clone(), lines, StdRng::from_seed(random.random()))
            };
            lines.spawn(supervise(context, environment.fork_random(), live));
        }
        for source in configured(config).into_iter().chain(own) {
            let context = context(source.kind(), source.name());
            fed.spawn(supervise(context, environment.fork_random(), move |context| source.live(context)));
        }
        Self { fed, lines, feeds, stop: Some(stop) }
    }

    /// Stops every source and waits until what they gave is acknowledged, or given up. The intake must run, and end
    /// when nobody can reach it any more.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        let ended = async { while self.fed.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP, ended).await.is_err() {
            self.fed.shutdown().await;
        }
        self.feeds.finish().await;
        while self.lines.join_next().await.is_some() {}
    }

    /// Cuts off what has not stopped.
    pub async fn shutdown(&mut self) {
        self.fed.shutdown().await;
        self.lines.shutdown().await;
        self.feeds.shutdown().await;
    }
}
