//! How much happens a second: totals looked at from time to time, and what they grew by over the last of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::View;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Looks that are kept: rates are those of the last ten seconds.
const KEPT: usize = 6;

/// Totals by name.
pub(super) type Totals = BTreeMap<String, u64>;

/// The last looks, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<VecDeque<(Instant, Totals)>>);

impl Rates {
    fn note(&self, at: Instant, totals: Totals) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.push_back((at, totals));
        while looks.len() > KEPT {
            looks.pop_front();
        }
    }

    /// By how much each of `totals` grew a second; one that was not there before began at 0.
    pub(super) fn of(&self, at: Instant, totals: &Totals) -> BTreeMap<String, f64> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((since, before)) = looks.front() else { return BTreeMap::new() };
        let seconds = at.duration_since(*since).as_secs_f64();
        let grown = |(name, total): (&String, &u64)| {
            let grown = total.saturating_sub(before.get(name).copied().unwrap_or(0));
            (name.clone(), if seconds > 0.0 { grown as f64 / seconds } else { 0.0 })
        };
        totals.iter().map(grown).collect()
    }
}

/// Looks until `stop` says otherwise.
pub(super) async fn observe(rates: Arc<Rates>, view: View, mut stop: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = ticks.tick() => rates.note(Instant::now(), super::status::totals(&view)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(total: u64) -> Totals {
        BTreeMap::from([("readings".to_owned(), total)])
    }

    #[test]
    fn a_rate_is_that_of_the_last_looks() {
        let (rates, start) = (Rates::default(), Instant::now());
        assert!(rates.of(start, &totals(7)).is_empty(), "nobody has looked yet");
        for look in 0..20 {
            // A thousand each look to begin with, ten from then on.
            let total = if look < 10 { look * 1000 } else { 10_000 + look * 10 };
            rates.note(start + EVERY * look as u32, totals(total));
        }
        let at = start + EVERY * 19;
        assert_eq!(rates.of(at, &totals(10_000 + 190)), BTreeMap::from([("readings".to_owned(), 5.0)]));
        let new = rates.of(at, &BTreeMap::from([("new".to_owned(), 20)]));
        assert_eq!(new["new"], 2.0);
    }
}
