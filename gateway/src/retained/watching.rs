//! Who is told when the retained message of a topic changes.
//!
//! What it guarantees: whoever watches is told after the change is on disk and can be seen; many changes may be told as
//! one; a watch ends when it is dropped, so there are no more of these than whoever has them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use weir_protocol::Tenant;

type Key = (Tenant, Bytes);

/// All watches.
#[derive(Clone, Default)]
pub(super) struct Watches(Arc<Mutex<BTreeMap<Key, Vec<Arc<Flag>>>>>);

struct Flag {
    changed: AtomicBool,
    told: Arc<Notify>,
}

/// A watch on one topic.
pub struct Watch {
    key: Key,
    flag: Arc<Flag>,
    watches: Watches,
}

impl Watches {
    pub(super) fn watch(&self, key: Key, told: Arc<Notify>) -> Watch {
        let flag = Arc::new(Flag { changed: AtomicBool::new(false), told });
        self.all().entry(key.clone()).or_default().push(Arc::clone(&flag));
        Watch { key, flag, watches: self.clone() }
    }

    pub(super) fn changed(&self, key: &Key) {
        for flag in self.all().get(key).into_iter().flatten() {
            flag.changed.store(true, Ordering::Release);
            flag.told.notify_one();
        }
    }

    /// Every change under it is complete in itself.
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<Arc<Flag>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Whether the message changed since [`Watch::take_changed`].
    pub fn has_changed(&self) -> bool {
        self.flag.changed.load(Ordering::Acquire)
    }

    /// Whether the message changed since this was last asked.
    pub fn take_changed(&self) -> bool {
        self.flag.changed.swap(false, Ordering::AcqRel)
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
