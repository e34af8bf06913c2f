//! Handing out the assignment of a generation.

use bytes::Bytes;

use super::group::{Group, State};
use super::session::Speaker;
use super::{Assignments, Effect, ProtocolName, Ticket, Turn};
use crate::groups::error::Error;
use crate::groups::names::MemberId;

/// A member asks for its assignment; the leader says everybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// Who asks.
    pub speaker: Speaker,
    /// The kind of group it believes to be in, if it says so.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol it believes was chosen, if it says so.
    pub protocol: Option<ProtocolName>,
    /// By member; empty unless it leads.
    pub assignments: Assignments,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The kind of group.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol that was chosen.
    pub protocol: Option<ProtocolName>,
    /// What the leader gave this member.
    pub assignment: Bytes,
}

impl Group {
    pub(super) fn sync(&mut self, turn: &mut Turn<'_>, ticket: Ticket, sync: SyncRequest) {
        match self.check_sync(turn, &sync) {
            Err(error) => turn.effects.push(Effect::Synced(ticket, Err(error))),
            Ok(id) if self.state == State::Stable => {
                self.renew(&id, turn.now);
                self.change(&id, |member| member.has_synced = true);
                self.answer_sync(turn, ticket, &id);
            }
            Ok(id) => {
                let earlier = self.change(&id, |member| {
                    member.has_synced = true;
                    member.syncing.replace(ticket)
                });
                if let Some(earlier) = earlier.flatten() {
                    turn.effects.push(Effect::Synced(earlier, Err(Error::Rebalancing)));
                }
                if self.leader.as_ref() == Some(&id) {
                    self.assign(turn, sync.assignments);
                }
            }
        }
    }

    fn check_sync(&self, turn: &mut Turn<'_>, sync: &SyncRequest) -> Result<MemberId, Error> {
        let id = self.check_speaker(turn, &sync.speaker)?;
        let differs = |said: &Option<ProtocolName>, own: &Option<ProtocolName>| said.is_some() && said != own;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(Error::Protocol);
        }
        match self.state {
            State::Empty => Err(Error::UnknownMember),
            State::PreparingRebalance => Err(Error::Rebalancing),
            State::CompletingRebalance | State::Stable => Ok(id),
        }
    }

    /// The leader has spoken: the generation is complete.
    fn assign(&mut self, turn: &mut Turn<'_>, assignments: Assignments) {
        let bytes = assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if let Err(error) = self.check_room(turn, bytes) {
            // Those who wait are told, and the group tries again, perhaps with fewer members.
            self.refuse_syncs(turn, &error);
            self.rebalance_or_go_on(turn);
            return;
        }
        for (id, assignment) in assignments {
            self.change(&id, |member| member.assignment = assignment);
        }
        self.become_state(turn, State::Stable);
        let waiting: Vec<(MemberId, Ticket)> = self
            .members
            .values_mut()
            .filter_map(|member| member.syncing.take().map(|ticket| (member.id.clone(), ticket)))
            .collect();
        for (id, ticket) in waiting {
            self.renew(&id, turn.now);
            self.answer_sync(turn, ticket, &id);
        }
    }

    fn answer_sync(&self, turn: &mut Turn<'_>, ticket: Ticket, id: &MemberId) {
        let assignment = self.members.get(id).map_or_else(Bytes::new, |member| member.assignment.clone());
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        turn.effects.push(Effect::Synced(ticket, Ok(Synced { protocol_type, protocol, assignment })));
    }
}
