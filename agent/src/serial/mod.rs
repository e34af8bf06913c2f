//! Serial lines: found by polling, one task per line, opened again when they come back.
//!
//! Guarantees: whatever a line sends, its task lives and its memory is one frame; a line that vanishes is
//! looked for again; a line that does not take what is written to it is closed, not waited for.

mod line;
pub mod listing;
mod pattern;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_protocol::time::WallClock;

use crate::counters::Counters;
use crate::intake::task::Handle;

pub use line::open;
pub use pattern::matches;

/// Which lines to read.
#[derive(Clone, Debug)]
pub struct SerialOptions {
    /// A path or a pattern.
    pub pattern: String,
    /// Bits per second.
    pub baud: u32,
    /// Time between two looks.
    pub poll: Duration,
}

/// What every line works with.
#[derive(Clone)]
pub struct Lines {
    /// Where messages go.
    pub intake: Handle,
    /// For time synchronisation.
    pub clock: Arc<dyn WallClock>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Dropped to stop.
    pub stop: watch::Receiver<()>,
}

/// Reads every line that fits the pattern, for as long as it is there, until stopped.
pub async fn run(options: SerialOptions, mut lines: Lines) {
    let mut running: BTreeMap<PathBuf, JoinHandle<()>> = BTreeMap::new();
    loop {
        running.retain(|_, line| !line.is_finished());
        for path in matches(&options.pattern) {
            let start = |path: &PathBuf| tokio::spawn(line::run(path.clone(), options.baud, lines.clone()));
            running.entry(path).or_insert_with_key(start);
        }
        tokio::select! {
            _ = lines.stop.changed() => break,
            () = tokio::time::sleep(options.poll) => {}
        }
    }
    // Lines wait for the intake to end, which waits for every handle.
    drop(lines);
    for (_, line) in running {
        // A line that panicked has nothing left to say.
        let _ = line.await;
    }
}
