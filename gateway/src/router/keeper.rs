//! Keeps a router alive while somebody subscribes, and replaces one that fails.
//!
//! What it guarantees: one turn is on its way at a time, and what was on its way when a router failed goes through the
//! next one: a failure costs time, no message. A router that hangs leaves its thread behind until it looks at its
//! channel again; while [`MAX_LEFT_BEHIND`] of them do, no new one is started, and live subscriptions come back when
//! one of those threads has ended.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Shared;
use super::core::{Core, Failure, Gone};
use super::feed::Feed;

/// How often a router that has nothing to do shows that it lives.
const PROBE: Duration = Duration::from_secs(5);
/// How long messages are collected once there is nothing more to read: a live view is never older than this, and a
/// busy gateway reads its log a few hundred times a second instead of once for each commit.
const COLLECT: Duration = Duration::from_millis(5);
/// How long to wait before the first new life, and the longest wait.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];
/// A life of this length makes the next pause short again.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// The most threads of hanging routers that are left behind.
const MAX_LEFT_BEHIND: usize = 4;

/// Serves subscribers for ever.
pub(super) async fn keep(shared: &Arc<Shared>) {
    let [mut pause, longest] = PAUSES;
    let shared = Arc::clone(shared);
    let mut state = State { shared, core: None, feed: None, pending: None, left_behind: Vec::new() };
    loop {
        let begun = Instant::now();
        let Err(failure) = state.live().await;
        state.shared.counters.up.store(false, Relaxed);
        state.shared.counters.restarts.fetch_add(1, Relaxed);
        if let Some(core) = state.core.take() {
            let gone = core.end().await;
            state.left_behind.push(gone);
        }
        if begun.elapsed() >= LONG_LIFE {
            pause = PAUSES[0];
        }
        tracing::warn!(%failure, ?pause, "the live router failed and is replaced; what is stored is not affected");
        sleep(pause).await;
        pause = (pause * 2).min(longest);
        state.room().await;
    }
}

struct State {
    shared: Arc<Shared>,
    core: Option<Core>,
    /// What is read next, while there are subscribers; a new life goes on where the last one was.
    feed: Option<Feed>,
    /// The turn that is on its way.
    pending: Option<u64>,
    /// Routers that failed and may still be there.
    left_behind: Vec<Gone>,
}

/// A life only ends by failing.
type Never = std::convert::Infallible;

impl State {
    async fn live(&mut self) -> Result<Never, Failure> {
        loop {
            // In this order: look, then see who wants what, read as far as was looked.
            self.feed.iter_mut().for_each(Feed::look);
            let start = self.shared.registry.lock().start();
            // Without subscribers nothing is started, and a router that runs has nothing to do.
            let Some(start) = start else {
                self.rest();
                self.shared.registry.changed.notified().await;
                continue;
            };
            if self.feed.as_ref().is_none_or(|feed| feed.by != start.by) {
                self.rest();
                self.feed = Some(Feed::new(Arc::clone(&self.shared), start));
                continue;
            }
            let core = match &mut self.core {
                Some(core) => core,
                None => {
                    let core = Core::start(&self.shared, &mut self.left_behind).await?;
                    let core = self.core.insert(core);
                    core.begin(self.pending).await?;
                    core
                }
            };
            self.shared.counters.up.store(true, Relaxed);
            #[cfg(any(test, feature = "plant"))]
            if self.shared.panic.swap(false, Relaxed) {
                core.make_it_panic().await?;
            }
            let Some(feed) = &mut self.feed else { continue };
            let Some((turn, is_all)) = feed.turn().await else {
                // Reading panicked. A new feed would meet the same record, so it begins at the end of the log.
                self.feed = self
                    .shared
                    .registry
                    .restart()
                    .map(|start| Feed::new(Arc::clone(&self.shared), start).behind_a_gap());
                continue;
            };
            // The last one was on its way while this one was read.
            core.arrived().await?;
            self.pending = None;
            if !turn.is_empty() {
                let turn = Arc::new(turn);
                let number = self.shared.kept.keep(Arc::clone(&turn));
                self.pending = Some(number);
                core.send(number, &turn)?;
            }
            if !is_all {
                continue;
            }
            core.arrived().await?;
            self.pending = None;
            self.shared.set_reached(Some(feed.reached()));
            tokio::select! {
                () = self.shared.registry.changed.notified() => (),
                () = feed.grown() => sleep(COLLECT).await,
                () = sleep(PROBE) => core.begin(None).await?,
            }
        }
    }

    /// Nobody is there.
    fn rest(&mut self) {
        self.feed = None;
        self.pending = None;
        self.shared.set_reached(None);
        self.shared.kept.clear();
    }

    /// Waits until one more router may be started.
    async fn room(&mut self) {
        loop {
            self.left_behind.retain(|is_gone| !is_gone());
            if self.left_behind.len() < MAX_LEFT_BEHIND {
                return;
            }
            let hanging = self.left_behind.len();
            tracing::error!(hanging, "routers hang; live subscriptions are off until one of them has ended");
            sleep(PAUSES[1]).await;
        }
    }
}
