//! Serial lines: found by polling, one task per line, opened again when they come back.
//!
//! Guarantees: whatever a line sends, its task lives and its memory is one frame; a line that vanishes is
//! looked for again, and one that cannot be opened is tried again after a growing pause; a line that does not take
//! what is written to it is closed, not waited for.

mod line;
pub mod listing;
mod pattern;
pub(crate) mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_protocol::time::WallClock;

use super::{Context, LifeError};
use crate::backoff::Backoff;
use crate::counters::Counters;
use crate::health::Report;
use crate::intake::task::Handle;

pub use line::open;
pub use pattern::matches;
pub use settings::SerialConfig;

/// The longest pause before a line that cannot be opened is tried again. The first is the time between two looks.
const LONGEST: Duration = Duration::from_secs(60);

/// What every line works with.
#[derive(Clone)]
pub struct Lines {
    /// Where messages go.
    intake: Handle,
    /// For time synchronisation.
    clock: Arc<dyn WallClock>,
    /// What happened.
    counters: Arc<Counters>,
    /// How the lines are.
    report: Arc<Report>,
    /// How many are open.
    open: Arc<AtomicUsize>,
    /// Dropped to stop.
    stop: watch::Receiver<()>,
}

impl Lines {
    pub(super) fn of(intake: Handle, context: Context) -> Self {
        let Context { clocks, counters, report, stop, .. } = context;
        Self { intake, clock: clocks.wall, counters, report, open: Arc::default(), stop }
    }
}

/// A line that was seen.
struct Seen {
    task: Option<JoinHandle<bool>>,
    backoff: Backoff,
    not_before: Instant,
}

/// Reads every line that fits the pattern, for as long as it is there, until stopped.
pub async fn run(settings: SerialConfig, mut lines: Lines, mut random: StdRng) -> Result<(), LifeError> {
    let poll = settings.poll.get_ref().0;
    let mut seen: BTreeMap<PathBuf, Seen> = BTreeMap::new();
    loop {
        let present = matches(settings.path.get_ref());
        for line in seen.values_mut() {
            line.look().await;
        }
        seen.retain(|path, line| line.task.is_some() || present.contains(path));
        for path in present {
            let line = seen.entry(path.clone()).or_insert_with(|| Seen {
                task: None,
                backoff: Backoff::new(poll, LONGEST.max(poll), StdRng::from_seed(random.random())),
                not_before: Instant::now(),
            });
            if line.task.is_none() && line.not_before <= Instant::now() {
                line.task = Some(tokio::spawn(line::run(path, *settings.baud.get_ref(), lines.clone())));
            }
        }
        if seen.is_empty() || lines.open.load(Ordering::Relaxed) == 0 {
            lines.report.waiting();
        }
        tokio::select! {
            _ = lines.stop.changed() => break,
            () = tokio::time::sleep(poll) => {}
        }
    }
    // Lines wait for the intake to end, which waits for every handle.
    drop(lines);
    for task in seen.into_values().filter_map(|line| line.task) {
        // A line that panicked has nothing left to say.
        let _ = task.await;
    }
    Ok(())
}

impl Seen {
    /// Notes the end of its task, if it ended.
    async fn look(&mut self) {
        let Some(task) = self.task.take_if(|task| task.is_finished()) else { return };
        if matches!(task.await, Ok(true)) {
            self.backoff.reset();
        } else {
            self.not_before = Instant::now() + self.backoff.next();
        }
    }
}
