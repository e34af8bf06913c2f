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
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The newest reading of each channel that the source gives within `wait`.
///
/// # Errors
/// Why there is none, for a person.
pub async fn probe(source: &Source, clocks: Clocks, wait: Duration) -> Result<Vec<Held>, String> {
    let feeds = Feeds::unlinked(StdRng::from_os_rng());
    let (stop, stopped) = watch::channel(());
    let report = Health::default().source(source.kind(), source.name());
    let counters = Arc::new(Counters::default());
    let context = Context { feeds: feeds.clone(), clocks, counters, report: Arc::clone(&report), stop: stopped };
    let mut life = JoinSet::new();
    life.spawn(source.live(context));
    let looked = async {
        while report.readings() == 0 {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(MORE).await;
    };
    let until = Instant::now() + wait + MORE;
    let why = tokio::select! {
        biased;
        ended = life.join_next() => match ended {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(_)) => "it panicked".to_owned(),
            _ => "it ended".to_owned(),
        },
        looked = tokio::time::timeout_at(until, looked) => match looked {
            Ok(()) => String::new(),
            Err(_) => format!("no reading in {} s", wait.as_secs()),
        },
    };
    drop(stop);
    match feeds.held() {
        held if held.is_empty() => Err(why),
        held => Ok(held),
    }
}
