//! A device, the agent whose rule summarises its readings, and the gateway; and the steps from one state to the next.

use super::gateway::Gateway;
use super::queue::{Commit, Entry, Queue};
use super::{Broken, READINGS};
use crate::sequences::Set;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct State {
    /// The device holds `[base, READINGS)`.
    base: u8,
    durable: Queue,
    /// Written, not durable.
    commits: Vec<Commit>,
    /// Still to be written of a window that closes.
    owed: Vec<Commit>,
    /// The rule is gone with the settings of the disk that was there before.
    has_no_rule: bool,
    in_flight: Option<Entry>,
    /// The gateway has decided it.
    is_read: bool,
    gateway: Gateway,
    /// What a new disk took.
    destroyed: Set,
    faults: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Take,
    Close,
    CloseOn,
    Sync,
    Acknowledge,
    Send,
    Read,
    CommitReadings,
    CommitLosses,
    Answer,
    Disconnect,
    /// The agent loses its power; so many commits that were not durable survive.
    CutAgent(usize),
    /// The agent's disk is new.
    WipeAgent,
    /// The gateway dies; what is pending in each log survives, or not.
    KillGateway {
        readings: bool,
        losses: bool,
    },
}

impl State {
    pub(super) fn first(faults: u8) -> Self {
        Self { faults, ..Self::default() }
    }

    /// What the agent has written.
    fn written(&self) -> Queue {
        let mut written = self.durable.clone();
        self.commits.iter().for_each(|commit| written.apply(*commit));
        written
    }

    /// Every reading was accepted and nothing is under way.
    pub(super) fn rests(&self) -> bool {
        let is_quiet = self.commits.is_empty() && self.owed.is_empty() && self.in_flight.is_none();
        let is_empty = self.durable.held.is_empty() && self.durable.entries.is_empty();
        self.base == READINGS && is_quiet && is_empty && !self.gateway.is_pending()
    }

    /// What is wrong, if anything is.
    pub(super) fn violation(&self) -> Option<&'static str> {
        let accounted = self.gateway.accounted(&self.durable.entries) | self.durable.held | self.destroyed;
        if !accounted.contains_all(Set::range(0..self.base)) {
            return Some("what was acknowledged is nowhere");
        }
        let summaries = self.durable.entries.iter().fold(Set::EMPTY, |all, entry| all | entry.summary);
        self.gateway.violation(summaries, self.destroyed)
    }

    pub(super) fn actions(&self, broken: Option<Broken>) -> Vec<Action> {
        let mut all = Vec::new();
        let written = self.written();
        if written.accepted < READINGS && self.owed.is_empty() {
            all.push(Action::Take);
        }
        if !written.held.is_empty() && self.owed.is_empty() {
            all.push(Action::Close);
        }
        if !self.owed.is_empty() {
            all.push(Action::CloseOn);
        }
        if !self.commits.is_empty() {
            all.push(Action::Sync);
        }
        if self.base < self.acknowledgeable(broken) {
            all.push(Action::Acknowledge);
        }
        if self.in_flight.is_none() && self.shippable(broken).is_some() {
            all.push(Action::Send);
        }
        if self.in_flight.is_some() && !self.is_read && !self.gateway.is_pending() {
            all.push(Action::Read);
        }
        if !self.gateway.pending_readings.is_empty() {
            all.push(Action::CommitReadings);
        }
        if !self.gateway.pending_losses.is_empty() {
            all.push(Action::CommitLosses);
        }
        if self.is_read && self.in_flight.is_some_and(|entry| self.gateway.has(&entry, broken)) {
            all.push(Action::Answer);
        }
        if self.faults > 0 {
            all.push(Action::Disconnect);
            all.extend((0..=self.commits.len()).map(Action::CutAgent));
            all.push(Action::WipeAgent);
            for readings in [false, true] {
                all.extend([false, true].map(|losses| Action::KillGateway { readings, losses }));
            }
        }
        all
    }

    fn acknowledgeable(&self, broken: Option<Broken>) -> u8 {
        if broken == Some(Broken::AckBeforeHeld) { self.written().accepted } else { self.durable.accepted }
    }

    /// The next that may be shipped: it is durable, and nobody knows yet that the gateway has it.
    fn shippable(&self, broken: Option<Broken>) -> Option<Entry> {
        let written = self.written();
        let is_early = broken == Some(Broken::ShippedBeforeDurable);
        written.entries.into_iter().find(|entry| is_early || self.durable.entries.contains(entry))
    }

    pub(super) fn after(&self, action: Action, broken: Option<Broken>) -> Self {
        let mut next = self.clone();
        match action {
            Action::Take => next.commits.push(if self.has_no_rule { Commit::Pass } else { Commit::Hold }),
            Action::Close => {
                next.owed = Commit::closing(self.written().held, broken);
                next.close_on();
            }
            Action::CloseOn => next.close_on(),
            Action::Sync => {
                next.durable = self.written();
                next.commits.clear();
            }
            Action::Acknowledge => next.base = self.acknowledgeable(broken),
            Action::Send => (next.in_flight, next.is_read) = (self.shippable(broken), false),
            Action::Read => {
                if let Some(entry) = &self.in_flight {
                    next.gateway.decide(entry, broken);
                    next.is_read = true;
                }
            }
            Action::CommitReadings => next.gateway.commit_readings(),
            Action::CommitLosses => next.gateway.commit_losses(),
            Action::Answer => {
                next.commits.extend(self.in_flight.map(|entry| Commit::Shipped(entry.id)));
                next.in_flight = None;
            }
            Action::Disconnect | Action::CutAgent(_) | Action::WipeAgent | Action::KillGateway { .. } => {
                next.faults -= 1;
                next.in_flight = None;
                next.suffer(action, broken);
            }
        }
        next
    }

    fn close_on(&mut self) {
        let commit = self.owed.remove(0);
        self.commits.push(commit);
    }

    fn suffer(&mut self, fault: Action, broken: Option<Broken>) {
        match fault {
            Action::CutAgent(left) => {
                self.commits.truncate(left);
                self.durable = self.written();
                (self.commits, self.owed) = (Vec::new(), Vec::new());
                if broken == Some(Broken::NumberedAgain) {
                    self.durable.number_again();
                }
            }
            Action::WipeAgent => {
                let first_id = 50 * (1 + u8::from(self.has_no_rule));
                self.destroyed |= self.durable.has() | self.written().has();
                // The device goes on where it was acknowledged.
                self.durable = Queue::new(self.base, first_id);
                (self.commits, self.owed) = (Vec::new(), Vec::new());
                self.has_no_rule = true;
            }
            Action::KillGateway { readings, losses } => {
                if readings {
                    self.gateway.commit_readings();
                }
                if losses {
                    self.gateway.commit_losses();
                }
                (self.gateway.pending_readings, self.gateway.pending_losses) = (Vec::new(), Vec::new());
            }
            _ => {}
        }
    }
}
