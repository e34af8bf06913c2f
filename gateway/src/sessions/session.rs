//! The session of a connected client, owned by its connection.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use thiserror::Error;
use weir_protocol::{Restart, Sequence};

use super::record::{History, Part};
use super::state::{Contents, Kept, State, Whole};
use super::table::Holder;
use super::{Key, Shared, Written};
use crate::delivery::{Positions, Subscription};
use crate::keyed_log::Refused;
use crate::keyed_log::written::Progress;

/// A session, and the right to it: nobody else has it until this is gone. Dropping it says that the connection was lost,
/// so that the will goes out; [`Session::detach`] says how it ended.
pub struct Session {
    shared: Arc<Shared>,
    key: Key,
    generation: u64,
    /// What whoever sends to the client works with. Subscriptions are changed by [`Session::subscribe`].
    pub state: State,
    kept: Kept,
    /// The positions as they were handed in last.
    saved: Positions,
    progress: Progress,
    /// It began with this connection.
    is_new: bool,
    /// The client was told that it is in.
    is_accepted: bool,
    /// The table has it back.
    is_gone: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Whether the will is to be published.
    pub will: bool,
    /// A new time for the session to outlive it, in seconds.
    pub expiry: Option<u32>,
}

/// A bound is reached: nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a bound of sessions is reached")]
pub struct Full;

/// A message at QoS 2 that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Whether its packet id was free.
    pub is_new: bool,
    /// Its identity; none if the session ends with its connection.
    pub identity: Option<(Restart, Sequence)>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, key: Key, generation: u64, whole: Whole, is_new: bool) -> Self {
        let Whole { state, kept } = whole;
        let (saved, progress) = (state.positions.clone(), Progress::new());
        Self { shared, key, generation, state, kept, saved, progress, is_new, is_accepted: false, is_gone: false }
    }

    /// The client is told that it is in: from here on a lost connection sends its will.
    pub(super) fn accept(&mut self) {
        self.is_accepted = true;
    }

    /// Whose it is.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether it is on disk, and outlives its connection.
    pub fn is_durable(&self) -> bool {
        self.kept.number.is_some()
    }

    /// How long it outlives its connection, in seconds; `u32::MAX`: for ever.
    pub fn expiry(&self) -> u32 {
        self.kept.expiry
    }

    /// Sets how long it outlives its connection, in seconds; at most what the settings allow.
    pub fn set_expiry(&mut self, expiry: u32) {
        self.kept.expiry = expiry.min(self.shared.options.expiry_max);
        self.change(Part::Session);
    }

    /// Adds a subscription, or puts it in the place of the one with its filter; whether there was none.
    ///
    /// # Errors
    /// [`Full`]: the session, or all of them, would take too many bytes.
    pub fn subscribe(&mut self, subscription: Subscription) -> Result<bool, Full> {
        let filter: Box<str> = (*subscription.filter.filter).into();
        let before = self.state.subscriptions.clone();
        let is_new = self.state.subscriptions.set(subscription);
        if self.is_durable() && !self.account() {
            self.state.subscriptions = before;
            self.account();
            self.shared.table().counters.refused += 1;
            return Err(Full);
        }
        self.change(Part::Subscription(filter));
        Ok(is_new)
    }

    /// Takes a subscription out; whether it was there.
    pub fn unsubscribe(&mut self, filter: &str) -> bool {
        let was_there = self.state.subscriptions.remove(filter);
        if was_there {
            self.change(Part::Subscription(filter.into()));
        }
        was_there
    }

    /// A PUBLISH at QoS 2 came. What belongs to it may go on once [`Session::flush`] says so, and not before.
    ///
    /// # Errors
    /// [`Full`]: too many packet ids are open.
    pub fn begin(&mut self, id: u16) -> Result<Begun, Full> {
        if let Some(sequence) = self.kept.open.get(&id) {
            return Ok(Begun { is_new: false, identity: self.identity(*sequence) });
        }
        if self.kept.open.len() >= self.shared.options.open_ids {
            self.shared.table().counters.refused += 1;
            return Err(Full);
        }
        if !self.is_durable() {
            self.kept.open.insert(id, 0);
            return Ok(Begun { is_new: true, identity: None });
        }
        let history = self.kept.history.get_or_insert_with(|| {
            let restart = Restart::from_agent(self.shared.draw());
            History { restart, next: 0 }
        });
        let sequence = history.next;
        history.next += 1;
        self.kept.open.insert(id, sequence);
        self.change(Part::History);
        self.change(Part::OpenId(id));
        Ok(Begun { is_new: true, identity: self.identity(sequence) })
    }

    fn identity(&self, sequence: u64) -> Option<(Restart, Sequence)> {
        let history = self.kept.history.filter(|_| self.is_durable())?;
        Some((history.restart, Sequence(sequence)))
    }

    /// A PUBREL came; whether its packet id was open. PUBCOMP may go out once [`Session::flush`] says so.
    pub fn release(&mut self, id: u16) -> bool {
        let was_open = self.kept.open.remove(&id).is_some();
        if was_open {
            self.change(Part::OpenId(id));
        }
        was_open
    }

    /// Packet ids that are open at QoS 2.
    pub fn open_ids(&self) -> usize {
        self.kept.open.len()
    }

    /// The identities behind them.
    #[cfg(test)]
    pub(super) fn open(&self) -> impl Iterator<Item = (u16, (Restart, Sequence))> {
        self.kept.open.iter().filter_map(|(id, sequence)| Some((*id, self.identity(*sequence)?)))
    }

    fn change(&mut self, part: Part) {
        if self.is_durable() {
            self.kept.changed.insert(part);
        }
    }

    /// Hands in what changed, in one commit with what others hand in; what there is to wait for before anything that
    /// depends on a change so far may go on. None: nothing.
    pub fn flush(&mut self) -> Option<Written> {
        if !self.kept.changed.is_empty() || !self.kept.failed.is_empty() {
            if self.saved != self.state.positions {
                // No subscription is on disk without the place from which it is to go on.
                self.saved.clone_from(&self.state.positions);
                self.kept.changed.insert(Part::Positions);
            }
            let parts = mem::take(&mut self.kept.changed);
            if parts.iter().any(|part| matches!(part, Part::Subscription(_))) {
                self.show();
            }
            self.submit(parts);
        }
        self.progress.written()
    }

    /// Hands in the positions if they moved: soon they are on disk, and nobody waits for it.
    pub fn save(&mut self) {
        if self.is_durable() && self.saved != self.state.positions {
            self.saved.clone_from(&self.state.positions);
            self.account();
            self.submit(BTreeSet::from([Part::Positions]));
        }
    }

    /// Hands in parts, and those that failed before.
    fn submit(&mut self, mut parts: BTreeSet<Part>) {
        parts.append(&mut self.kept.failed.take());
        let contents = Contents { state: &self.state, kept: &self.kept };
        let refused = self.shared.hand_in(&self.key, contents, parts, true, self.progress.hand_in());
        refused.into_iter().for_each(Refused::tell);
    }

    /// Lets the table show what changed.
    fn show(&self) {
        if let Some(Holder::Attached(attachment)) = self.shared.table().clients.get_mut(&self.key) {
            attachment.subscriptions = self.state.subscriptions.clone();
            attachment.open_ids = self.kept.open.len();
        }
    }

    /// Counts anew what it takes; whether that is within the bounds.
    fn account(&mut self) -> bool {
        let bytes = Contents { state: &self.state, kept: &self.kept }.measure();
        self.shared.account(&mut self.kept, bytes)
    }

    /// Ends the connection in order.
    pub fn detach(mut self, end: End) {
        self.let_go(end);
    }

    fn let_go(&mut self, end: End) {
        if mem::replace(&mut self.is_gone, true) {
            return;
        }
        if let Some(expiry) = end.expiry.filter(|_| self.is_durable()) {
            self.set_expiry(expiry);
        }
        if !self.is_accepted && self.is_new {
            // Nobody was told of it.
            self.kept.expiry = 0;
        }
        if !end.will && self.kept.will.take().is_some() {
            self.change(Part::Will);
        }
        if self.saved != self.state.positions {
            self.change(Part::Positions);
        }
        if self.is_durable() {
            self.account();
        }
        let whole = Whole { state: mem::take(&mut self.state), kept: mem::take(&mut self.kept) };
        self.shared.let_go(&self.key, self.generation, whole);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.let_go(End { will: self.is_accepted, expiry: None });
    }
}

impl Shared {
    /// Counts `bytes` for a session; whether that is within the bounds.
    pub(super) fn account(&self, kept: &mut Kept, bytes: usize) -> bool {
        let before = mem::replace(&mut kept.bytes, bytes);
        let others = self.bytes.fetch_sub(before, Relaxed) - before;
        self.bytes.fetch_add(bytes, Relaxed);
        bytes <= before || (bytes <= self.options.session_bytes && others + bytes <= self.options.sessions_bytes)
    }
}
