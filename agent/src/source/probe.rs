//! One look at a source, without intake, queue or gateway: a life of it whose readings stay in memory.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clock::Clocks;
use super::feed::{Feeds, Held};
use super::{Context, Source};
use crate::counters::Counters;
use crate::health::Health;

/// After the first reading, others are waited for so long.
const MORE: Duration = Duration::from_millis(300);
/// After the first error, a reading is waited for so long.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The newest reading of each channel that the source gives within `wait`.
///
/// # Errors
/// Why there is none, for a person.
pub async fn probe(source: &Source, clocks: Clocks, wait: Duration) -> Result<Vec<Held>, String> {
    let feeds = Feeds::unlinked(StdRng::from_os_rng());
    let (stop, stopped) = watch::channel(());
    let health = Health::default();
    let report = health.source(source.kind(), source.name());
    let last_error = || health.sources().pop().and_then(|source| source.last_error);
    let counters = Arc::new(Counters::default());
    let context = Context { feeds: feeds.clone(), clocks, counters, report: Arc::clone(&report), stop: stopped };
    let mut life = JoinSet::new();
    life.spawn(source.live(context));
    let begun = Instant::now();
    let looked = async {
        let mut until = begun + wait;
        while report.readings() == 0 && Instant::now() < until {
            if last_error().is_some() {
                until = until.min(Instant::now() + AFTER_ERROR);
            }
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(MORE).await;
    };
    let why = tokio::select! {
        biased;
        ended = life.join_next() => match ended {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(_)) => "it panicked".to_owned(),
            _ => "it ended".to_owned(),
        },
        () = looked => last_error().unwrap_or_else(|| format!("no reading in {} s", wait.as_secs())),
    };
    drop(stop);
    match feeds.held() {
        held if held.is_empty() => Err(why),
        held => Ok(held),
    }
}
