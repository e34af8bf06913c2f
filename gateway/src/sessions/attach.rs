//! A connection comes for its session, and lets go of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use thiserror::Error;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::record::Part;
use super::state::{Whole, will_bytes};
use super::table::{Attachment, Away, Holder, Table};
use super::{Key, Session, Sessions, Shared};
use crate::access::Identity;
use crate::mqtt::packet::{Connect, Version};

/// What a connection got.
pub struct Attached {
    /// Its session.
    pub session: Session,
    /// Whether there was one.
    pub present: bool,
    /// Resolves when the connection is to let go of it.
    pub taken: oneshot::Receiver<Taken>,
}

/// Why a connection is to let go of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Another connection of the client came.
    Over,
    /// An operator deletes the session.
    Deleted,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// There are as many sessions as there may be, or this one would take too much.
    #[error("a bound of sessions is reached")]
    Full,
    /// The connection before this one did not let go in time.
    #[error("another connection of this client did not let go of its session")]
    Busy,
    /// It could not be written.
    #[error("the session could not be written")]
    NotWritten,
}

/// What comes of a look at the table.
enum Entered {
    In(Box<Attached>),
    /// Another connection has it, and was told.
    Taken(OwnedNotified),
    /// It ends a session whose will has to go out before.
    WillFirst,
}

impl Sessions {
    /// Begins or resumes the session of a client. What of it is durable is on disk when this returns.
    ///
    /// # Errors
    /// [`Refused`]; what the client had before is as it was, unless it wanted a clean start.
    pub async fn attach(&self, identity: &Identity, version: Version, connect: &Connect) -> Result<Attached, Refused> {
        let key = Key::from(identity);
        let deadline = Instant::now() + self.shared.options.takeover;
        let mut will_was_tried = false;
        let mut attached = loop {
            match self.shared.enter(&key, version, connect, will_was_tried)? {
                Entered::In(attached) => break *attached,
                Entered::Taken(let_go) => timeout_at(deadline, let_go).await.map_err(|_| Refused::Busy)?,
                Entered::WillFirst => {
                    self.shared.will_before_end(&key).await;
                    will_was_tried = true;
                }
            }
        };
        if let Some(written) = attached.session.flush() {
            written.await.map_err(|_| Refused::NotWritten)?;
        }
        attached.session.accept();
        Ok(attached)
    }
}

impl Attachment {
    /// Tells the connection to let go, once; resolves when it has.
    pub(super) fn tell(&mut self, why: Taken) -> OwnedNotified {
        if let Some(taken) = self.taken.take() {
            // A connection that does not listen is about to let go.
            let _ = taken.send(why);
        }
        Arc::clone(&self.let_go).notified_owned()
    }
}

impl Shared {
    fn enter(
        self: &Arc<Self>,
        key: &Key,
        version: Version,
        connect: &Connect,
        will_was_tried: bool,
    ) -> Result<Entered, Refused> {
        let mut table = self.table();
        if let Some(Holder::Attached(attachment)) = table.clients.get_mut(key) {
            let is_first = attachment.taken.is_some();
            let let_go = attachment.tell(Taken::Over);
            table.counters.taken_over += u64::from(is_first);
            return Ok(Entered::Taken(let_go));
        }
        let now_ms = self.now_ms();
        let expiry = connect.session_expiry.min(self.options.expiry_max);
        let resumes =
            !connect.clean_start && matches!(table.clients.get(key), Some(Holder::Away(away)) if away.ends_ms > now_ms);
        let is_durable = resumes || expiry > 0;
        if is_durable && !self.has_room(&table, key, connect, resumes) {
            table.counters.refused += 1;
            return Err(Refused::Full);
        }
        let has_will = matches!(table.clients.get(key), Some(Holder::Away(away)) if away.will_ms.is_some());
        if has_will && !resumes && !will_was_tried {
            return Ok(Entered::WillFirst);
        }
        let mut whole = match table.take(key) {
            Some(Holder::Away(away)) if resumes => *away.whole,
            Some(Holder::Away(away)) => self.replaced(&mut table, key, away),
            Some(Holder::Ended(ended)) => {
                let mut whole = Whole::default();
                whole.kept.changed = ended.parts;
                whole
            }
            Some(Holder::Attached(_)) | None => Whole::default(),
        };
        let kept = &mut whole.kept;
        if is_durable {
            kept.number.get_or_insert_with(|| self.draw());
            kept.history = kept.history.or_else(|| table.take_history(key));
            kept.changed.insert(Part::Session);
            if kept.will.is_some() || connect.will.is_some() {
                kept.changed.insert(Part::Will);
            }
        }
        kept.expiry = expiry;
        kept.will = connect.will.clone();
        if is_durable {
            let bytes = whole.contents().measure();
            // There was room a moment ago, and the lock is held.
            self.account(&mut whole.kept, bytes);
        }
        let (taken, hear) = oneshot::channel();
        let generation = table.generation();
        let attachment = Attachment {
            generation,
            taken: Some(taken),
            let_go: Arc::new(Notify::new()),
            version,
            since_ms: self.clock.wall(self.elapsed()),
            is_durable,
            expiry,
            subscriptions: whole.state.subscriptions.clone(),
            open_ids: whole.kept.open.len(),
        };
        table.set(key.clone(), Holder::Attached(attachment));
        table.counters.attached += 1;
        table.counters.resumed += u64::from(resumes);
        drop(table);
        let session = Session::new(Arc::clone(self), key.clone(), generation, whole, !resumes);
        Ok(Entered::In(Box::new(Attached { session, present: resumes, taken: hear })))
    }

    /// Whether a durable session may begin, or go on with the will that comes with it.
    fn has_room(&self, table: &Table, key: &Key, connect: &Connect, resumes: bool) -> bool {
        let will = connect.will.as_deref().map_or(0, will_bytes);
        let has_one = matches!(table.clients.get(key), Some(Holder::Away(_)));
        let of_all = self.bytes.load(Relaxed) + will;
        let is_within = will <= self.options.session_bytes && (resumes || of_all <= self.options.sessions_bytes);
        is_within && (has_one || table.durable < self.options.sessions)
    }

    /// What is left of a session that a clean start ended, or its time: what the disk is to be told, and its history. Its
    /// will, if it could not go out before, is tried from memory.
    pub(super) fn replaced(&self, table: &mut Table, key: &Key, away: Away) -> Whole {
        let Away { mut whole, is_firing, .. } = away;
        let mut left = Whole::default();
        left.kept.changed = whole.parts();
        left.kept.history = whole.kept.history;
        self.account(&mut whole.kept, 0);
        if let Some(will) = whole.kept.will.take().filter(|_| !is_firing) {
            self.queue_will(table, key, will);
        }
        left
    }
}
