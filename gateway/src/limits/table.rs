//! The buckets of many, by name.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::bucket::{Bucket, Rate};

/// The most names in a table, some 200 bytes each.
const MOST: usize = 65_536;

/// How often a full table looks for names that it may forget: a crowd of new names must not make it look all the time.
const SWEEP: Duration = Duration::from_secs(1);

/// The buckets of one rate.
pub(super) struct Table<K> {
    rate: Option<Rate>,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    of: HashMap<K, Shared>,
    /// For all that there is no room for.
    rest: Option<Shared>,
    swept: Option<Instant>,
}

/// A bucket that several connections may share.
#[derive(Clone)]
pub(super) struct Shared {
    rate: Rate,
    bucket: Arc<Mutex<Bucket>>,
}

impl<K: Eq + Hash + Clone> Table<K> {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::new(Buckets { of: HashMap::new(), rest: None, swept: None }) }
    }

    /// The bucket of a name; `None` if there is no rate.
    pub(super) fn bucket(&self, name: &K, now: Instant) -> Option<Shared> {
        let rate = self.rate?;
        let mut buckets = lock(&self.buckets);
        if let Some(found) = buckets.of.get(name) {
            return Some(found.clone());
        }
        buckets.make_room(now);
        let made = Shared::new(rate, now);
        if buckets.of.len() >= MOST {
            return Some(buckets.rest.get_or_insert(made).clone());
        }
        buckets.of.insert(name.clone(), made.clone());
        Some(made)
    }

    pub(super) fn spend(&self, name: &K, amount: f64, now: Instant) -> Option<Duration> {
        self.bucket(name, now)?.spend(amount, now)
    }

    /// Whether the name may spend anything now; asking costs no place in the table.
    pub(super) fn has_some(&self, name: &K, now: Instant) -> bool {
        let buckets = lock(&self.buckets);
        let shared = buckets.of.get(name).or(buckets.rest.as_ref().filter(|_| buckets.of.len() >= MOST));
        shared.is_none_or(|shared| shared.lock().has_some(shared.rate, now))
    }
}

impl<K> Buckets<K> {
    /// Forgets names whose buckets are full again, if the table is.
    fn make_room(&mut self, now: Instant) {
        let is_due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP);
        if self.of.len() >= MOST && is_due {
            self.swept = Some(now);
            self.of.retain(|_, shared| !shared.is_idle(now));
        }
    }
}

impl Shared {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, bucket: Arc::new(Mutex::new(Bucket::new(rate, now))) }
    }

    pub(super) fn spend(&self, amount: f64, now: Instant) -> Option<Duration> {
        self.lock().spend(self.rate, amount, now)
    }

    /// Whether nobody else holds it and it says nothing that a new one would not.
    fn is_idle(&self, now: Instant) -> bool {
        Arc::strong_count(&self.bucket) == 1 && self.lock().is_full(self.rate, now)
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        lock(&self.bucket)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 1.0, burst: 2.0 };

    #[test]
    fn names_have_buckets_of_their_own_and_a_full_table_shares_one_with_the_rest() {
        let start = Instant::now();
        let table = Table::new(Some(RATE));
        for name in 0..MOST {
            assert_eq!(table.spend(&name, 1.0, start), None);
        }
        let late = [MOST, MOST + 1, MOST + 2];
        let waits = late.map(|name| table.spend(&name, 1.0, start).is_some());
        assert_eq!(waits, [false, false, true], "those without a place share one bucket");
        assert!(!table.has_some(&(MOST + 3), start) && table.has_some(&0, start));
        assert_eq!(lock(&table.buckets).of.len(), MOST);

        // All are full again: the table forgets them for a newcomer.
        let later = start + Duration::from_secs(10);
        assert_eq!(table.spend(&late[0], 1.0, later), None);
        assert_eq!(lock(&table.buckets).of.len(), 1);
    }

    #[test]
    fn a_bucket_that_a_connection_holds_is_not_forgotten() {
        let start = Instant::now();
        let table = Table::new(Some(RATE));
        let held = table.bucket(&0, start).unwrap();
        (1..MOST).for_each(|name| drop(table.bucket(&name, start)));
        table.spend(&MOST, 1.0, start);
        assert_eq!(held.spend(3.0, start), Some(Duration::from_secs(1)));
        assert!(!table.has_some(&0, start));
    }
}
