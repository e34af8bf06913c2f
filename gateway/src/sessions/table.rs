//! Who is attached and who is away, and when something is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use super::Key;
use super::attach::Taken;
use super::record::{History, Part};
use super::state::{Subscriptions, Whole};
use crate::mqtt::packet::{Version, Will};

/// All sessions.
#[derive(Default)]
pub(super) struct Table {
    pub(super) clients: BTreeMap<Key, Holder>,
    /// Sessions in `clients` that outlive their connection.
    pub(super) durable: usize,
    /// Clients in `clients` that are connected.
    pub(super) attached: usize,
    /// When those who are away have something due, in milliseconds of the clock; the generation makes it one entry for each.
    pub(super) due: BTreeMap<(i64, u64), Key>,
    /// Those of them who have a will.
    away_wills: usize,
    /// Histories of clients without a durable session.
    histories: BTreeMap<Key, (History, u64)>,
    /// The same by age.
    by_age: BTreeMap<u64, Key>,
    /// Wills of sessions that ended with their connection, and the bytes of those that are not published yet.
    pub(super) wills: VecDeque<(Key, Box<Will>)>,
    pub(super) will_bytes: usize,
    /// Those of whom something could not be written, and nobody is attached who will write it.
    pub(super) owing: BTreeSet<Key>,
    pub(super) counters: Counters,
    next_generation: u64,
}

/// Counted under the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) attached: u64,
    pub(super) resumed: u64,
    pub(super) taken_over: u64,
    pub(super) expired: u64,
    pub(super) refused: u64,
    pub(super) wills_published: u64,
    pub(super) wills_refused: u64,
    pub(super) wills_dropped: u64,
}

/// Who has a session.
pub(super) enum Holder {
    /// A connection.
    Attached(Attachment),
    /// Nobody.
    Away(Away),
    /// It has ended; what is left is to be told to the disk.
    Ended(Ended),
}

/// A connection that has a session.
pub(super) struct Attachment {
    /// Tells connections of one client apart.
    pub(super) generation: u64,
    /// Tells it to let go; gone once that was said.
    pub(super) taken: Option<oneshot::Sender<Taken>>,
    /// Told when it has let go.
    pub(super) let_go: Arc<Notify>,
    pub(super) version: Version,
    pub(super) since_ms: i64,
    pub(super) is_durable: bool,
    pub(super) expiry: u32,
    /// As of its last flush.
    pub(super) subscriptions: Subscriptions,
    pub(super) open_ids: usize,
}

/// A session without a connection.
pub(super) struct Away {
    pub(super) generation: u64,
    pub(super) whole: Box<Whole>,
    /// Since when, on the wall clock, in milliseconds.
    pub(super) since_ms: i64,
    /// When it ends, in milliseconds of the clock; `i64::MAX` for never.
    pub(super) ends_ms: i64,
    /// When its will is published; none without one.
    pub(super) will_ms: Option<i64>,
    /// Its will is being published.
    pub(super) is_firing: bool,
    /// Those who wait for that, to end the session then.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

/// A session that has ended.
pub(super) struct Ended {
    pub(super) generation: u64,
    /// What the disk is told is no more.
    pub(super) parts: BTreeSet<Part>,
}

impl Away {
    /// When something is due next; the will comes before the end.
    pub(super) fn due_ms(&self) -> Option<i64> {
        let due = self.will_ms.unwrap_or(self.ends_ms);
        (!self.is_firing && due != i64::MAX).then_some(due)
    }
}

impl Table {
    pub(super) fn generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    /// Puts a session away.
    pub(super) fn put_away(&mut self, key: Key, away: Away) {
        if let Some(due) = away.due_ms() {
            self.due.insert((due, away.generation), key.clone());
        }
        self.set(key, Holder::Away(away));
    }

    /// Sets who has a session, and keeps count.
    pub(super) fn set(&mut self, key: Key, holder: Holder) {
        let [durable, attached, wills] = holder.counts();
        self.durable += durable;
        self.attached += attached;
        self.away_wills += wills;
        let before = self.clients.insert(key, holder);
        self.uncount(before.as_ref());
    }

    /// Takes a client out.
    pub(super) fn take(&mut self, key: &Key) -> Option<Holder> {
        let holder = self.clients.remove(key);
        self.uncount(holder.as_ref());
        if let Some(Holder::Away(away)) = &holder
            && let Some(due) = away.due_ms()
        {
            self.due.remove(&(due, away.generation));
        }
        holder
    }

    fn uncount(&mut self, holder: Option<&Holder>) {
        let [durable, attached, wills] = holder.map_or([0; 3], Holder::counts);
        self.durable -= durable;
        self.attached -= attached;
        self.away_wills -= wills;
    }

    /// The client that has something due first, if it is due at `now_ms`.
    pub(super) fn pop_due(&mut self, now_ms: i64) -> Option<(Key, Away)> {
        let (due, key) = self.due.first_key_value()?;
        if due.0 > now_ms {
            return None;
        }
        let key = key.clone();
        match self.take(&key) {
            Some(Holder::Away(away)) => Some((key, away)),
            // Whoever is attached has nothing due.
            other => {
                self.due.pop_first();
                other.into_iter().for_each(|holder| self.set(key.clone(), holder));
                None
            }
        }
    }

    /// Wills that wait.
    pub(super) fn waiting_wills(&self) -> usize {
        self.wills.len() + self.away_wills
    }

    /// The history of a client whose session ended.
    pub(super) fn take_history(&mut self, key: &Key) -> Option<History> {
        let (history, age) = self.histories.remove(key)?;
        self.by_age.remove(&age);
        Some(history)
    }

    /// Keeps the history of a client without a session.
    pub(super) fn keep_history(&mut self, key: &Key, history: History) {
        let age = self.generation();
        if let Some((_, before)) = self.histories.insert(key.clone(), (history, age)) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(age, key.clone());
    }

    /// Takes out the oldest of those histories if there are more than `most`.
    pub(super) fn drop_history(&mut self, most: usize) -> Option<Key> {
        if self.histories.len() <= most {
            return None;
        }
        let (_, oldest) = self.by_age.pop_first()?;
        self.histories.remove(&oldest);
        Some(oldest)
    }
}

impl Holder {
    /// How much it counts among durable sessions, among connected clients, and among wills of those who are away.
    fn counts(&self) -> [usize; 3] {
        match self {
            Self::Attached(attachment) => [usize::from(attachment.is_durable), 1, 0],
            Self::Away(away) => [1, 0, usize::from(away.will_ms.is_some())],
            Self::Ended(_) => [0, 0, 0],
        }
    }
}
