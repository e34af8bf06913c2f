//! Wills on their way out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::record::Part;
use super::table::{Away, Holder};
use super::{Key, Shared};
use crate::keyed_log::Refused as NotTaken;
use crate::mqtt::packet::Will;

/// How long a will waits that could not be published.
const RETRY: Duration = Duration::from_secs(5);
/// How long the end of a session waits for its will.
const BEFORE_END: Duration = Duration::from_secs(2);
/// How often the will of a session that is gone is tried; it is in memory alone.
const MOST_TRIES: u32 = 12;

/// Publishes wills: a message like any other, from the gateway itself on behalf of a client that was allowed to leave it.
pub trait Publisher: Clone + Send + Sync + 'static {
    /// Publishes the will of `client`.
    fn publish(&self, client: Key, will: Will) -> impl Future<Output = Published> + Send;
}

/// What became of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is on disk.
    Stored,
    /// It will never be: nothing stores its topic, or a bound is reached.
    Refused,
    /// Not now; try again.
    Later,
}

/// A will that is due.
pub(super) struct Due {
    pub(super) key: Key,
    pub(super) will: Box<Will>,
    /// The generation of the session that has it; none if it is gone.
    pub(super) generation: Option<u64>,
}

impl Due {
    /// Publishes it.
    pub(super) async fn fire(self, shared: Arc<Shared>, publisher: impl Publisher) {
        let Self { key, will, generation: Some(generation) } = self else {
            return self.fire_from_memory(&shared, publisher).await;
        };
        let published = publisher.publish(key.clone(), *will).await;
        shared.fired(&key, generation, published).into_iter().for_each(NotTaken::tell);
    }

    async fn fire_from_memory(self, shared: &Shared, publisher: impl Publisher) {
        let bytes = super::state::will_bytes(&self.will);
        let mut published = Published::Later;
        for tried in 0..MOST_TRIES {
            if tried > 0 {
                tokio::time::sleep(RETRY).await;
            }
            published = publisher.publish(self.key.clone(), (*self.will).clone()).await;
            if published != Published::Later {
                break;
            }
        }
        let mut table = shared.table();
        table.will_bytes -= bytes;
        table.count(published);
        table.counters.wills_dropped += u64::from(published == Published::Later);
    }
}

impl Shared {
    /// The will of a session that is away was published, or not.
    #[must_use]
    fn fired(self: &Arc<Self>, key: &Key, generation: u64, published: Published) -> Option<NotTaken> {
        let mut table = self.table();
        table.count(published);
        let is_same = |holder: &Holder| matches!(holder, Holder::Away(away) if away.generation == generation);
        if !table.clients.get(key).is_some_and(is_same) {
            // The client came back while it went out.
            return None;
        }
        let Some(Holder::Away(mut away)) = table.take(key) else { return None };
        away.is_firing = false;
        let waiting = std::mem::take(&mut away.waiting);
        let mut refused = None;
        if published == Published::Later {
            away.will_ms = Some(self.now_ms() + RETRY.as_millis() as i64);
        } else {
            (away.will_ms, away.whole.kept.will) = (None, None);
            let parts = BTreeSet::from([Part::Will]);
            refused = self.hand_in(key, away.whole.contents(), parts, false, self.owing_if_not(key));
        }
        table.put_away(key.clone(), away);
        drop(table);
        drop(waiting);
        self.hurry.notify_one();
        refused
    }

    /// Before a session ends that has time left: its will goes out first, while it is still on disk, so that a kill in
    /// between loses neither. One that cannot be published now goes on in memory.
    pub(super) async fn will_before_end(&self, key: &Key) {
        if let Some(fired) = self.fire_now(key) {
            // Told or dropped, it is over.
            let _ = timeout(BEFORE_END, fired).await;
        }
    }

    /// Makes the will of a session that is away due; what is returned resolves once it was tried. None: there is no will.
    fn fire_now(&self, key: &Key) -> Option<oneshot::Receiver<()>> {
        let mut table = self.table();
        let has_will = |holder: &Holder| matches!(holder, Holder::Away(away) if away.will_ms.is_some());
        table.clients.get(key).filter(|holder| has_will(holder))?;
        let Some(Holder::Away(mut away)) = table.take(key) else { return None };
        away.will_ms = Some(self.now_ms());
        let (told, fired) = oneshot::channel();
        away.waiting.push(told);
        table.put_away(key.clone(), away);
        drop(table);
        self.hurry.notify_one();
        Some(fired)
    }
}

impl super::table::Table {
    fn count(&mut self, published: Published) {
        self.counters.wills_published += u64::from(published == Published::Stored);
        self.counters.wills_refused += u64::from(published == Published::Refused);
    }

    /// The next will that is due, or session that has ended, at `now_ms`.
    pub(super) fn next_due(&mut self, now_ms: i64) -> Option<Next> {
        if let Some((key, will)) = self.wills.pop_front() {
            return Some(Next::Will(Due { key, will, generation: None }));
        }
        let (key, mut away) = self.pop_due(now_ms)?;
        let will = away.whole.kept.will.clone().filter(|_| away.will_ms.is_some());
        let Some(will) = will else { return Some(Next::End(key, away)) };
        away.is_firing = true;
        let generation = Some(away.generation);
        self.put_away(key.clone(), away);
        Some(Next::Will(Due { key, will, generation }))
    }
}

/// What is due next.
pub(super) enum Next {
    /// A will.
    Will(Due),
    /// The end of a session, which is out of the table.
    End(Key, Away),
}
