//! Keeps a router alive while somebody subscribes, and replaces one that fails.
//!
//! A router that panicked is gone; one that hangs leaves its thread behind, so after [`MAX_LEFT_BEHIND`] of those
//! live subscriptions stay silent until the gateway is started again. Nothing else depends on it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Shared;
use super::core::{Core, Failure};
use super::feed::Feed;

/// How often a router that has nothing to do shows that it lives.
const PROBE: Duration = Duration::from_secs(5);
/// Messages that the router gets before it is waited for.
const CHUNK: usize = 128;
/// How long readings are collected once there is nothing more to read: a live view is never older than this, and a
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
    let mut left_behind = 0;
    let mut state = State { shared: Arc::clone(shared), core: None, feed: None };
    loop {
        let begun = Instant::now();
        let Err(failure) = state.live().await;
        state.core = None;
        shared.counters.up.store(false, Relaxed);
        shared.counters.restarts.fetch_add(1, Relaxed);
        if matches!(failure, Failure::Stalled) {
            left_behind += 1;
        }
        if left_behind == MAX_LEFT_BEHIND {
            tracing::error!(%failure, left_behind, "live subscriptions are off until the gateway is started again");
            return;
        }
        if begun.elapsed() >= LONG_LIFE {
            pause = PAUSES[0];
        }
        tracing::warn!(%failure, ?pause, "the live router failed and is replaced; what is stored is not affected");
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

struct State {
    shared: Arc<Shared>,
    core: Option<Core>,
    /// What is read next, while there are subscribers; a new life goes on where the last one was.
    feed: Option<Feed>,
}

/// A life only ends by failing.
type Never = std::convert::Infallible;

impl State {
    async fn live(&mut self) -> Result<Never, Failure> {
        loop {
            // In this order: look, take the subscriptions, make them, read as far as was looked.
            self.feed.iter_mut().for_each(Feed::look);
            let (wanted, start) = {
                let registry = self.shared.registry.lock();
                (registry.subscribers(), registry.start())
            };
            // Without subscribers nothing is started, and a router that runs only loses its links.
            let Some(start) = start else {
                self.feed = None;
                if let Some(core) = &mut self.core {
                    core.reconcile(&wanted).await?;
                }
                self.shared.registry.changed.notified().await;
                continue;
            };
            if self.feed.as_ref().is_none_or(|feed| feed.by != start.by) {
                self.feed = Some(Feed::new(Arc::clone(&self.shared), start));
                continue;
            }
            let core = match &mut self.core {
                Some(core) => core,
                None => self.core.insert(Core::start(Arc::clone(&self.shared)).await?),
            };
            self.shared.counters.up.store(true, Relaxed);
            #[cfg(any(test, feature = "plant"))]
            if self.shared.panic.swap(false, Relaxed) {
                core.make_it_panic().await?;
            }
            core.reconcile(&wanted).await?;
            let Some(feed) = &mut self.feed else { continue };
            let Some(turn) = feed.turn().await else {
                // Reading panicked. A new feed would meet the same record, so it begins at the end of the log.
                self.shared.registry.restart();
                self.feed = None;
                continue;
            };
            for chunk in turn.chunks(CHUNK) {
                core.publish(chunk).await?;
            }
            if turn.is_empty() {
                tokio::select! {
                    () = self.shared.registry.changed.notified() => (),
                    () = feed.grown() => sleep(COLLECT).await,
                    () = sleep(PROBE) => core.echo().await?,
                }
            }
        }
    }
}
