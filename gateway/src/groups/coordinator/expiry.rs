//! What is due: the end of a rebalance, of a session, of the time to sync, of a name that nobody came back under.

use std::time::Duration;

use super::Turn;
use super::group::{Group, State};
use super::member::Member;
use crate::groups::names::MemberId;

impl Group {
    /// Does what is due, and says when to look again.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        self.wake = None;
        if self.rebalance.is_some_and(|rebalance| rebalance.deadline <= turn.now) {
            self.end_wait(turn);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= turn.now) {
            self.end_syncs(turn);
        }
        let forgotten: Vec<MemberId> =
            self.pending.iter().filter(|(_, until)| **until <= turn.now).map(|(id, _)| id.clone()).collect();
        for id in forgotten {
            self.forget_pending(turn, &id);
        }
        self.end_sessions(turn);
        self.wake = self.next_deadline();
    }

    fn end_sessions(&mut self, turn: &mut Turn<'_>) {
        let due = |member: &&Member| member.expires <= turn.now;
        let due: Vec<MemberId> = self.members.values().filter(due).map(|member| member.id.clone()).collect();
        for id in due {
            match self.members.get(&id) {
                // It cannot send heartbeats while it waits for its answer.
                Some(member) if member.is_waiting() && !member.is_new => self.renew(&id, turn.now),
                Some(_) => {
                    turn.counts.expired += 1;
                    self.expel(turn, &id);
                }
                None => (),
            }
        }
    }

    /// Whoever has not asked for its assignment by now does not work on it: the others get its share.
    fn end_syncs(&mut self, turn: &mut Turn<'_>) {
        self.sync_deadline = None;
        let silent = |member: &&Member| !member.has_synced;
        let silent: Vec<MemberId> = self.members.values().filter(silent).map(|member| member.id.clone()).collect();
        let is_over = !matches!(self.state, State::CompletingRebalance | State::Stable) || silent.is_empty();
        if is_over {
            return;
        }
        for id in silent {
            self.remove(&id);
            turn.counts.expired += 1;
        }
        self.rebalance_or_go_on(turn);
    }

    fn next_deadline(&self) -> Option<Duration> {
        let sessions = self.members.values().map(|member| member.expires);
        let rebalance = self.rebalance.map(|rebalance| rebalance.deadline);
        sessions.chain(self.pending.values().copied()).chain(rebalance).chain(self.sync_deadline).min()
    }
}
