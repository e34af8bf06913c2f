//! A foreign client that publishes at QoS 2, the session that the gateway keeps for it, and the log.

use super::Broken;

/// Packet ids; there are more messages than ids, so ids are used again.
pub(super) const IDS: usize = 2;

/// What the client knows of a packet id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) enum Slot {
    #[default]
    Free,
    /// PUBLISH of this message was sent, PUBREC did not come.
    Sent(u8),
    /// PUBREC came, PUBCOMP did not.
    Released,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Up {
    Publish(usize, u8),
    Release(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Down {
    Received(usize),
    Complete(usize),
}

/// What `weir.sessions` says: it is never forgotten, but for the mapping on a clean start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Kept {
    /// The sequence of each packet id in use.
    pub(super) mapping: [Option<u8>; IDS],
    /// The next sequence.
    pub(super) next: u8,
}

/// What waits for the disk before something follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Waiting {
    /// The message goes to ingest once its mapping is durable.
    Ingest(usize, u8, u8),
    /// PUBCOMP goes out once the release is durable.
    Complete(usize),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct State {
    slots: [Slot; IDS],
    /// The next message.
    message: u8,
    /// Messages for which PUBREC came.
    promised: Vec<u8>,
    up: Vec<Up>,
    down: Vec<Down>,
    session: Kept,
    durable: Kept,
    waiting: Vec<Waiting>,
    /// Appended, not committed: packet id, message, sequence.
    pending: Vec<(usize, u8, u8)>,
    /// Committed: message and sequence.
    log: Vec<(u8, u8)>,
    faults: u8,
    clean_starts: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Publish(usize),
    Read,
    SyncSession,
    Commit,
    Hear,
    Disconnect,
    /// The gateway dies; so many pending records survive, and what the session log was about to hold, or not.
    Kill {
        records: usize,
        session: bool,
    },
    CleanStart,
}

impl State {
    pub(super) fn first(faults: u8, clean_starts: u8) -> Self {
        Self { faults, clean_starts, ..Self::default() }
    }

    /// Every message is published and nothing is under way.
    pub(super) fn rests(&self, messages: u8) -> bool {
        self.message == messages && self.slots == [Slot::Free; IDS]
    }

    /// What is wrong, if anything is.
    pub(super) fn violation(&self) -> Option<&'static str> {
        let twice = |(at, (message, _)): (usize, &(u8, u8))| self.log[..at].iter().any(|(other, _)| other == message);
        if self.log.iter().enumerate().any(twice) {
            return Some("a message is there twice");
        }
        let lost = |message: &u8| !self.log.iter().any(|(stored, _)| stored == message);
        self.promised.iter().any(lost).then_some("a message with a PUBREC is lost")
    }

    pub(super) fn actions(&self, messages: u8) -> Vec<Action> {
        let mut all = Vec::new();
        let free = (0..IDS).filter(|id| self.slots[*id] == Slot::Free);
        all.extend(free.filter(|_| self.message < messages).map(Action::Publish));
        if !self.up.is_empty() {
            all.push(Action::Read);
        }
        if self.session != self.durable || !self.waiting.is_empty() {
            all.push(Action::SyncSession);
        }
        if !self.pending.is_empty() {
            all.push(Action::Commit);
        }
        if !self.down.is_empty() {
            all.push(Action::Hear);
        }
        if self.faults > 0 {
            all.push(Action::Disconnect);
            for records in 0..=self.pending.len() {
                all.extend([false, true].map(|session| Action::Kill { records, session }));
            }
        }
        if self.clean_starts > 0 {
            all.push(Action::CleanStart);
        }
        all
    }

    pub(super) fn after(&self, action: Action, broken: Option<Broken>) -> Self {
        let mut next = self.clone();
        match action {
            Action::Publish(id) => {
                next.slots[id] = Slot::Sent(next.message);
                next.up.push(Up::Publish(id, next.message));
                next.message += 1;
            }
            Action::Read => next.read(broken),
            Action::SyncSession => next.sync(),
            Action::Commit => {
                for (id, message, sequence) in std::mem::take(&mut next.pending) {
                    next.store(message, sequence);
                    next.down.push(Down::Received(id));
                }
            }
            Action::Hear => next.hear(),
            Action::Disconnect => {
                next.faults -= 1;
                next.reconnect();
            }
            Action::Kill { records, session } => {
                next.faults -= 1;
                for (_, message, sequence) in next.pending.drain(..).take(records).collect::<Vec<_>>() {
                    next.store(message, sequence);
                }
                // What was appended may have reached the disk without anybody having been told.
                next.durable = if session { next.session } else { next.durable };
                next.session = next.durable;
                next.reconnect();
            }
            Action::CleanStart => {
                next.clean_starts -= 1;
                let counter = if broken == Some(Broken::CounterLost) { 0 } else { next.session.next };
                next.session = Kept { next: counter, ..Kept::default() };
                next.durable = next.session;
                next.slots = [Slot::Free; IDS];
                next.reconnect();
            }
        }
        next
    }

    /// The gateway takes what came first.
    fn read(&mut self, broken: Option<Broken>) {
        match self.up.remove(0) {
            Up::Publish(id, message) => {
                let sequence = *self.session.mapping[id].get_or_insert(self.session.next);
                self.session.next = self.session.next.max(sequence + 1);
                if broken == Some(Broken::MappingAfterRecord) {
                    self.pending.push((id, message, sequence));
                } else {
                    self.waiting.push(Waiting::Ingest(id, message, sequence));
                }
            }
            Up::Release(id) => {
                self.session.mapping[id] = None;
                if broken == Some(Broken::ReleaseAfterPubcomp) {
                    self.down.push(Down::Complete(id));
                } else {
                    self.waiting.push(Waiting::Complete(id));
                }
            }
        }
    }

    /// One group commit of the session log.
    fn sync(&mut self) {
        self.durable = self.session;
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Ingest(id, message, sequence) => self.pending.push((id, message, sequence)),
                Waiting::Complete(id) => self.down.push(Down::Complete(id)),
            }
        }
    }

    /// The ledger drops what it has.
    fn store(&mut self, message: u8, sequence: u8) {
        if !self.log.iter().any(|(_, stored)| *stored == sequence) {
            self.log.push((message, sequence));
        }
    }

    fn hear(&mut self) {
        match self.down.remove(0) {
            Down::Received(id) => {
                if let Slot::Sent(message) = self.slots[id] {
                    self.promised.push(message);
                    self.promised.sort_unstable();
                }
                if self.slots[id] != Slot::Free {
                    self.slots[id] = Slot::Released;
                    self.up.push(Up::Release(id));
                }
            }
            Down::Complete(id) if self.slots[id] == Slot::Released => self.slots[id] = Slot::Free,
            Down::Complete(_) => {}
        }
    }

    /// What was on its way is gone, in both directions; what ingest had taken is committed without an answer. The client
    /// sends again what it has no answer to.
    fn reconnect(&mut self) {
        for (_, message, sequence) in std::mem::take(&mut self.pending) {
            self.store(message, sequence);
        }
        (self.down, self.waiting) = (Vec::new(), Vec::new());
        let again = |(id, slot): (usize, &Slot)| match slot {
            Slot::Free => None,
            Slot::Sent(message) => Some(Up::Publish(id, *message)),
            Slot::Released => Some(Up::Release(id)),
        };
        self.up = self.slots.iter().enumerate().filter_map(again).collect();
    }
}
