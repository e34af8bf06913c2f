//! Who is told when a topic has another retained message.
//!
//! What it guarantees: whoever watches is told after the change is on disk and can be seen, and of which topics; many
//! changes of one topic may be told as one. What is remembered for a watch is bounded ([`MAX_CHANGED`]): then it is told
//! that everything may have changed. A watch ends when it is dropped, so there are no more of these than whoever has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use weir_protocol::Tenant;

/// Topics that are remembered for one watch.
const MAX_CHANGED: usize = 64;

type Key = (Tenant, Bytes);

/// All watches.
#[derive(Clone, Default)]
pub(super) struct Watches(Arc<Mutex<BTreeMap<Key, Vec<Arc<Flag>>>>>);

struct Flag {
    changed: Mutex<Changed>,
    told: Arc<Notify>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The messages of these topics; perhaps of none.
    Topics(BTreeSet<Bytes>),
    /// More than are remembered: any that is watched.
    All,
}

/// A watch on one topic, or on all topics one level below: `a/+`.
pub struct Watch {
    key: Key,
    flag: Arc<Flag>,
    watches: Watches,
}

impl Default for Changed {
    fn default() -> Self {
        Self::Topics(BTreeSet::new())
    }
}

impl Changed {
    fn add(&mut self, topic: &Bytes) {
        match self {
            Self::Topics(topics) if topics.len() < MAX_CHANGED || topics.contains(topic) => {
                topics.insert(topic.clone());
            }
            _ => *self = Self::All,
        }
    }
}

impl Watches {
    pub(super) fn watch(&self, key: Key, told: Arc<Notify>) -> Watch {
        let flag = Arc::new(Flag { changed: Mutex::default(), told });
        self.all().entry(key.clone()).or_default().push(Arc::clone(&flag));
        Watch { key, flag, watches: self.clone() }
    }

    pub(super) fn changed(&self, key: &Key) {
        let all = self.all();
        if all.is_empty() {
            return;
        }
        let (tenant, topic) = key;
        let parent = topic.iter().rposition(|byte| *byte == b'/').map(|at| [&topic[..=at], b"+"].concat());
        let beside = parent.and_then(|filter| all.get(&(*tenant, filter.into())));
        for flag in all.get(key).into_iter().chain(beside).flatten() {
            flag.changed().add(topic);
            flag.told.notify_one();
        }
    }

    /// Every change under it is complete in itself.
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<Arc<Flag>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flag {
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Whether anything changed since [`Watch::take_changed`].
    pub fn has_changed(&self) -> bool {
        *self.flag.changed() != Changed::default()
    }

    /// What changed since this was last asked.
    pub fn take_changed(&self) -> Changed {
        core::mem::take(&mut *self.flag.changed())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.watches.all();
        if let Some(flags) = all.get_mut(&self.key) {
            flags.retain(|flag| !Arc::ptr_eq(flag, &self.flag));
            if flags.is_empty() {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_by_topic_until_there_is_too_much_of_it() {
        let (watches, told) = (Watches::default(), Arc::new(Notify::new()));
        let key = |topic: &str| (Tenant::DEFAULT, Bytes::copy_from_slice(topic.as_bytes()));
        let (one, each) = (watches.watch(key("a/b"), Arc::clone(&told)), watches.watch(key("a/+"), told));
        for topic in ["a/b", "a/c", "a/b", "a", "a/b/c"] {
            watches.changed(&key(topic));
        }
        let topics = |names: &[&'static str]| {
            Changed::Topics(names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect())
        };
        assert_eq!((one.take_changed(), each.take_changed()), (topics(&["a/b"]), topics(&["a/b", "a/c"])));
        assert!(!one.has_changed() && !each.has_changed());
        for number in 0..=MAX_CHANGED {
            watches.changed(&key(&format!("a/{number}")));
        }
        assert_eq!((one.take_changed(), each.take_changed()), (topics(&[]), Changed::All));
        drop((one, each));
        assert!(watches.all().is_empty());
    }
}
