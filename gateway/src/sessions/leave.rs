//! A connection lets go of its session, a session ends, and the disk is told.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use weir_storage::Batch;

use super::attach::{Refused, Taken};
use super::record::Part;
use super::state::{Contents, Whole, will_bytes};
use super::table::{Away, Ended, Holder, Table};
use super::{Key, Sessions, Shared};
use crate::keyed_log::Refused as NotTaken;
use crate::mqtt::packet::Will;

impl Sessions {
    /// Ends the session of a client, and sends the client away; whether there was one. It is off the disk when this returns.
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::NotWritten`].
    pub async fn delete(&self, key: &Key) -> Result<bool, Refused> {
        let deadline = Instant::now() + self.shared.options.takeover;
        let mut was_there = false;
        loop {
            let let_go = {
                let mut table = self.shared.table();
                match table.clients.get_mut(key) {
                    Some(Holder::Attached(attachment)) => attachment.tell(Taken::Deleted),
                    _ => break,
                }
            };
            was_there = true;
            timeout_at(deadline, let_go).await.map_err(|_| Refused::Busy)?;
        }
        self.shared.will_before_end(key).await;
        let Some(ended) = self.shared.end_away(key) else { return Ok(was_there) };
        if ended.await.unwrap_or(false) { Ok(true) } else { Err(Refused::NotWritten) }
    }
}

impl Shared {
    /// A will whose session is gone waits to be published.
    pub(super) fn queue_will(&self, table: &mut Table, key: &Key, will: Box<Will>) {
        let bytes = will_bytes(&will);
        if table.will_bytes + bytes > self.options.will_bytes {
            table.counters.wills_dropped += 1;
            return;
        }
        table.will_bytes += bytes;
        table.wills.push_back((key.clone(), will));
        self.hurry.notify_one();
    }

    /// A connection lets go of its session.
    pub(super) fn let_go(self: &Arc<Self>, key: &Key, generation: u64, mut whole: Whole) {
        let mut table = self.table();
        let let_go = match table.clients.get(key) {
            Some(Holder::Attached(attachment)) if attachment.generation == generation => attachment.let_go.clone(),
            // Nobody else has it while there is a connection that has.
            _ => return,
        };
        let mut refused = None;
        if whole.kept.number.is_none() {
            self.let_go_of_passing(&mut table, key, whole);
        } else {
            let (moment, expiry) = (self.moment(false), whole.kept.expiry);
            let ends_ms = after(moment.clock_ms, expiry);
            let will_ms = whole.kept.will.as_ref().map(|will| after(moment.clock_ms, will.delay).min(ends_ms));
            let mut parts = mem::take(&mut whole.kept.changed);
            parts.append(&mut whole.kept.failed.take());
            parts.insert(Part::Session);
            if ends_ms > moment.clock_ms {
                let told = self.owing_if_not(key);
                refused = self.hand_in(key, whole.contents(), parts, false, told);
            } else {
                // It ends at once, and with it whatever there is.
                whole.kept.changed = parts;
            }
            let since_ms = moment.wall_ms;
            let whole = Box::new(whole);
            table.put_away(
                key.clone(),
                Away { generation, whole, since_ms, ends_ms, will_ms, is_firing: false, waiting: Vec::new() },
            );
        }
        drop(table);
        let_go.notify_waiters();
        self.hurry.notify_one();
        refused.into_iter().for_each(NotTaken::tell);
    }

    /// The same for one that ends with its connection.
    fn let_go_of_passing(&self, table: &mut Table, key: &Key, mut whole: Whole) {
        table.take(key);
        if let Some(history) = whole.kept.history {
            table.keep_history(key, history);
        }
        if let Some(will) = whole.kept.will.take() {
            self.queue_will(table, key, will);
        }
        let mut parts = whole.kept.changed;
        parts.append(&mut whole.kept.failed.take());
        if !parts.is_empty() {
            // A clean start whose end of the session before it could not be written.
            self.owe(table, key, parts);
        }
    }

    /// Notes what the disk is yet to be told of a client that is gone.
    pub(super) fn owe(&self, table: &mut Table, key: &Key, parts: BTreeSet<Part>) {
        let generation = table.generation();
        table.set(key.clone(), Holder::Ended(Ended { generation, parts }));
        table.owing.insert(key.clone());
    }

    /// Ends the session of a client that is away; what is returned hears whether the disk knows. None: there is none.
    fn end_away(self: &Arc<Self>, key: &Key) -> Option<oneshot::Receiver<bool>> {
        let (told, hear) = oneshot::channel();
        let mut table = self.table();
        let away = match table.take(key)? {
            Holder::Away(away) => away,
            other => {
                table.set(key.clone(), other);
                return None;
            }
        };
        let refused = self.end(&mut table, key, away, |written| {
            // Whoever asked may be gone.
            let _ = told.send(written);
        });
        drop(table);
        refused.into_iter().for_each(NotTaken::tell);
        self.hurry.notify_one();
        Some(hear)
    }

    /// Ends a session that was taken out of the table; `told` hears whether the disk knows.
    #[must_use]
    pub(super) fn end(
        self: &Arc<Self>,
        table: &mut Table,
        key: &Key,
        away: Away,
        told: impl FnOnce(bool) + Send + 'static,
    ) -> Option<NotTaken> {
        let mut left = self.replaced(table, key, away);
        if let Some(history) = left.kept.history {
            table.keep_history(key, history);
        }
        let parts = mem::take(&mut left.kept.changed);
        self.owe(table, key, parts);
        self.pay(table, key, told)
    }

    /// Notes that something of a client is owed to the disk, if it turns out not to be there.
    pub(super) fn owing_if_not(self: &Arc<Self>, key: &Key) -> impl FnOnce(bool) + Send + use<> {
        let (shared, key) = (Arc::clone(self), key.clone());
        move |is_written| {
            if !is_written {
                shared.table().owing.insert(key);
            }
        }
    }

    /// Tells the disk what a client that is gone has left there.
    pub(super) fn pay(
        self: &Arc<Self>,
        table: &mut Table,
        key: &Key,
        told: impl FnOnce(bool) + Send + 'static,
    ) -> Option<NotTaken> {
        table.owing.remove(key);
        let ended = match table.clients.get(key)? {
            Holder::Ended(ended) => ended,
            Holder::Away(away) => {
                let parts = away.whole.kept.failed.take();
                return self.hand_in(key, away.whole.contents(), parts, false, self.owing_if_not(key));
            }
            // It writes what is owed with whatever it writes next.
            Holder::Attached(_) => return None,
        };
        let (generation, parts) = (ended.generation, ended.parts.clone());
        let (shared, owner) = (Arc::clone(self), key.clone());
        let done = move |is_written: bool| {
            let mut table = shared.table();
            if is_written {
                let is_same =
                    |holder: &Holder| matches!(holder, Holder::Ended(ended) if ended.generation == generation);
                if table.clients.get(&owner).is_some_and(is_same) {
                    table.take(&owner);
                }
            } else {
                table.owing.insert(owner);
            }
            drop(table);
            told(is_written);
        };
        self.hand_in(key, Whole::default().contents(), parts, false, done)
    }

    /// Hands the records of `parts` to the log; `told` hears whether they are on disk, on the thread that commits. Whoever
    /// gets [`NotTaken`] back tells it without the lock.
    #[must_use]
    pub(super) fn hand_in(
        self: &Arc<Self>,
        key: &Key,
        contents: Contents<'_>,
        parts: BTreeSet<Part>,
        attached: bool,
        told: impl FnOnce(bool) + Send + 'static,
    ) -> Option<NotTaken> {
        let mut batch = Batch::new();
        contents.write(key, &parts, self.moment(attached), &mut batch);
        let (shared, failed) = (Arc::clone(self), Arc::clone(&contents.kept.failed));
        let done = move |written: Result<Range<u64>, String>| {
            shared.commits.fetch_add(1, Relaxed);
            if let Err(error) = &written {
                shared.commits_failed.fetch_add(1, Relaxed);
                failed.add(parts);
                shared.complain(error);
            }
            told(written.is_ok());
        };
        self.log.submit(batch, done).err()
    }

    fn complain(&self, error: &str) {
        if let Some(left_out) = self.gate.pass(std::time::Instant::now()) {
            tracing::error!(error, left_out, "sessions could not be written; it is tried again");
        }
    }
}

/// So many seconds later, in milliseconds; `u32::MAX` is never.
pub(super) fn after(now_ms: i64, seconds: u32) -> i64 {
    if seconds == u32::MAX { i64::MAX } else { now_ms.saturating_add(1000 * i64::from(seconds)) }
}
