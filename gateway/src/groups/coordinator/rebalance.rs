//! Rebalancing: from the first member that joins again to a new generation.

use std::time::Duration;

use bytes::Bytes;

use super::group::{Group, State};
use super::{Effect, Turn};
use crate::groups::error::Error;
use crate::groups::names::MemberId;

/// A rebalance that waits for members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rebalance {
    /// When it goes on without those who have not joined.
    pub(super) deadline: Duration,
    /// The first of an empty group waits for more members, and again while more of them come; for at most this long.
    pub(super) patience: Option<Duration>,
    /// Whether a member came since it began to wait.
    pub(super) has_grown: bool,
}

impl Group {
    /// Begins a rebalance, or sees whether the one that runs has all it waits for.
    pub(super) fn rebalance_or_go_on(&mut self, turn: &mut Turn<'_>) {
        if self.state != State::PreparingRebalance {
            self.prepare(turn);
        }
        self.try_complete(turn);
    }

    fn prepare(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.refuse_syncs(turn, &Error::Rebalancing);
        }
        self.sync_deadline = None;
        let timeout = self.rebalance_timeout();
        let (wait, patience) = match self.state {
            State::Empty => {
                let delay = turn.options.initial_rebalance_delay.min(timeout);
                (delay, Some(timeout - delay))
            }
            _ => (timeout, None),
        };
        let deadline = turn.now + wait;
        self.rebalance = Some(Rebalance { deadline, patience, has_grown: false });
        self.wake_by(deadline);
        self.become_state(turn, State::PreparingRebalance);
    }

    /// Answers those who wait for the leader, and takes back what was assigned.
    pub(super) fn refuse_syncs(&mut self, turn: &mut Turn<'_>, error: &Error) {
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let waiting = self.change(&id, |member| {
                member.assignment = Bytes::new();
                member.syncing.take()
            });
            if let Some(waiting) = waiting.flatten() {
                turn.effects.push(Effect::Synced(waiting, Err(error.clone())));
                self.renew(&id, turn.now);
            }
        }
    }

    /// Goes on when everybody has joined.
    fn try_complete(&mut self, turn: &mut Turn<'_>) {
        // The first of a group that has just got members waits its time: others may be starting too.
        let waits = self.rebalance.is_some_and(|rebalance| rebalance.patience.is_some()) && !self.members.is_empty();
        if !waits && self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some()) {
            self.complete(turn);
        }
    }

    /// The time of the rebalance is up.
    pub(super) fn end_wait(&mut self, turn: &mut Turn<'_>) {
        let Some(rebalance) = &mut self.rebalance else { return };
        if let Some(patience) = rebalance.patience.filter(|left| rebalance.has_grown && !left.is_zero()) {
            let delay = turn.options.initial_rebalance_delay.min(patience);
            rebalance.patience = Some(patience - delay);
            rebalance.has_grown = false;
            rebalance.deadline = turn.now + delay;
            self.wake_by(turn.now + delay);
            return;
        }
        self.complete(turn);
    }

    /// The next generation: of those who have joined, and of static members, which keep their place for a session.
    fn complete(&mut self, turn: &mut Turn<'_>) {
        let late: Vec<MemberId> = self
            .members
            .values()
            .filter(|member| member.joining.is_none() && member.instance.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in late {
            self.remove(&id);
            turn.counts.expired += 1;
        }
        if !self.has_joined_leader() && !self.members.is_empty() {
            // Nobody is there who could assign; static members may still come back.
            let deadline = turn.now + self.rebalance_timeout();
            self.rebalance = Some(Rebalance { deadline, patience: None, has_grown: false });
            self.wake_by(deadline);
            return;
        }
        self.rebalance = None;
        self.generation = self.generation.next();
        turn.counts.rebalances += 1;
        if self.members.is_empty() {
            self.protocol = None;
            self.become_state(turn, State::Empty);
            return;
        }
        self.protocol = self.choose_protocol();
        let deadline = turn.now + self.rebalance_timeout();
        self.sync_deadline = Some(deadline);
        self.wake_by(deadline);
        self.become_state(turn, State::CompletingRebalance);
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let waiting = self.change(&id, |member| {
                member.has_synced = false;
                member.assignment = Bytes::new();
                member.joining.take().inspect(|_| member.is_new = false)
            });
            if let Some(waiting) = waiting.flatten() {
                self.renew(&id, turn.now);
                let leads = self.leader.as_ref() == Some(&id);
                turn.effects.push(Effect::Joined(waiting, Ok(self.joined(&id, leads))));
            }
        }
    }

    /// Sees to it that one who has joined leads; false if nobody has.
    fn has_joined_leader(&mut self) -> bool {
        let has_joined = |id: &MemberId| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.values().find(|member| member.joining.is_some());
        match joined.map(|member| member.id.clone()) {
            Some(leader) => {
                self.leader = Some(leader);
                true
            }
            None => false,
        }
    }
}
