//! What a source works with, for those that are tried without the rest of the agent.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use weir_agent::counters::{Counters, Event};
use weir_agent::health::{Health, SourceHealth};
use weir_agent::intake::task::Handle;
use weir_agent::source::Context;
use weir_agent::source::feed::{Feeds, Held};

use super::clocks;
use super::wait::until;

/// Sources with feeds and health of their own.
pub(crate) struct Bench {
    pub(crate) feeds: Feeds,
    pub(crate) health: Health,
    pub(crate) counters: Arc<Counters>,
    stop: watch::Sender<()>,
}

impl Bench {
    /// Whose readings stay where they are.
    pub(crate) fn unlinked() -> Self {
        Self::with(Feeds::unlinked(StdRng::seed_from_u64(1)))
    }

    /// Whose readings go to an intake.
    pub(crate) fn feeding(intake: Handle, counters: &Arc<Counters>) -> Self {
        Self { counters: Arc::clone(counters), ..Self::with(Feeds::new(intake, StdRng::seed_from_u64(1))) }
    }

    fn with(feeds: Feeds) -> Self {
        Self { feeds, health: Health::default(), counters: Arc::default(), stop: watch::channel(()).0 }
    }

    pub(crate) fn context(&self, kind: &'static str, name: &str) -> Context {
        Context {
            feeds: self.feeds.clone(),
            clocks: clocks(|| true),
            counters: Arc::clone(&self.counters),
            report: self.health.source(kind, name),
            stop: self.stop.subscribe(),
        }
    }

    /// Tells every source to stop.
    pub(crate) fn stops(self) {
        drop(self.stop);
    }

    /// The newest reading of each channel, once the source is as wanted.
    pub(crate) async fn gives(&self, wanted: impl Fn(&[Held]) -> bool) -> Vec<Held> {
        until("the readings", || Some(self.feeds.held()).filter(|held| wanted(held))).await
    }

    /// How the first source is, once that is as wanted.
    pub(crate) async fn looks(&self, wanted: impl Fn(&SourceHealth) -> bool) -> SourceHealth {
        self.looks_at(0, wanted).await
    }

    /// The same of the source that came as the one with this number.
    pub(crate) async fn looks_at(&self, at: usize, wanted: impl Fn(&SourceHealth) -> bool) -> SourceHealth {
        until("the source", || Some(self.health.sources().swap_remove(at)).filter(|health| wanted(health))).await
    }

    /// Waits until this has happened so often.
    pub(crate) async fn counts(&self, event: Event, times: u64) {
        until(event.name(), || (self.counters.get(event) >= times).then_some(())).await;
    }
}
