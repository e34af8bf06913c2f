//! Joining a group.

use std::time::Duration;

use bytes::Bytes;

use super::group::{Group, State};
use super::member::{self, Client, Member, Protocol};
use super::{Effect, ProtocolName, Ticket, Turn};
use crate::groups::error::Error;
use crate::groups::names::{Generation, InstanceId, MemberId};

/// How long a new member may wait for its first generation: it sends no heartbeats, so nobody would notice that it is
/// gone.
pub(super) const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A consumer wants to be in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Its name; `None` if it has none yet.
    pub member: Option<MemberId>,
    /// Its instance, if it is static.
    pub instance: Option<InstanceId>,
    /// Who connects.
    pub client: Client,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// How long it may take to join when the group rebalances.
    pub rebalance_timeout: Duration,
    /// The kind of group, such as `consumer`.
    pub protocol_type: ProtocolName,
    /// Its protocols, the one that it likes best first.
    pub protocols: Vec<Protocol>,
    /// It comes back under the name that it is given, which shows that it gets answers.
    pub comes_back: bool,
    /// It understands that it leads and need not assign ([`Joined::skips_assignment`]).
    pub can_skip: bool,
}

/// A generation, as one member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Which it is.
    pub generation: Generation,
    /// The kind of group.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol that was chosen.
    pub protocol: Option<ProtocolName>,
    /// Who assigns.
    pub leader: MemberId,
    /// The member that is told.
    pub member: MemberId,
    /// All members, if it leads.
    pub members: Vec<JoinedMember>,
    /// It leads, and the assignment stays as it is.
    pub skips_assignment: bool,
}

/// A member, as the leader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its name.
    pub member: MemberId,
    /// Its instance, if it is static.
    pub instance: Option<InstanceId>,
    /// Its subscription.
    pub metadata: Bytes,
}

impl Group {
    /// A consumer joins, or joins again.
    pub(super) fn join(&mut self, turn: &mut Turn<'_>, ticket: Ticket, mut join: JoinRequest, random: u128) {
        // One that asks for none would be out before it can join.
        let timeout = join.rebalance_timeout.max(turn.options.session_timeout_min);
        join.rebalance_timeout = timeout.min(turn.options.rebalance_timeout_max);
        let joined = match join.member.take() {
            None => self.join_new(turn, ticket, join, random),
            Some(member) => self.join_known(turn, ticket, member, join),
        };
        if let Err(error) = joined {
            turn.effects.push(Effect::Joined(ticket, Err(error)));
        }
    }

    fn join_new(&mut self, turn: &mut Turn<'_>, ticket: Ticket, join: JoinRequest, random: u128) -> Result<(), Error> {
        self.check_protocols(&join.protocol_type, &join.protocols)?;
        let prefix = join.instance.as_ref().map_or(&*join.client.id, |instance| instance.as_str());
        let id = MemberId::generate(prefix, random);
        if let Some(old) = join.instance.as_ref().and_then(|instance| self.instances.get(instance)).cloned() {
            return self.replace(turn, ticket, old, id, join);
        }
        self.check_place(turn, None)?;
        if join.comes_back && join.instance.is_none() {
            self.check_room(turn, member::cost_of_pending(&id))?;
            self.expect(id.clone(), turn.now + join.session_timeout);
            return Err(Error::MemberIdRequired(id));
        }
        self.add(turn, ticket, id, join)
    }

    fn join_known(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        id: MemberId,
        join: JoinRequest,
    ) -> Result<(), Error> {
        self.check_protocols(&join.protocol_type, &join.protocols)?;
        if self.pending.contains_key(&id) {
            if join.instance.is_some() {
                return Err(Error::Invalid);
            }
            self.check_place(turn, Some(&id))?;
            return self.add(turn, ticket, id, join);
        }
        self.check_member(turn, &id, join.instance.as_ref())?;
        let Some(member) = self.members.get(&id) else { return Err(Error::UnknownMember) };
        let is_leader = self.leader.as_ref() == Some(&id);
        let same = member.protocols == join.protocols;
        match self.state {
            // It did not hear the answer.
            State::CompletingRebalance if same => {
                self.renew(&id, turn.now);
                self.answer_join(turn, ticket, &id);
                Ok(())
            }
            // A leader that joins again wants to assign again.
            State::Stable if same && !is_leader => {
                self.renew(&id, turn.now);
                self.answer_join(turn, ticket, &id);
                Ok(())
            }
            State::Empty => Err(Error::UnknownMember),
            _ => self.rejoin(turn, ticket, &id, join),
        }
    }

    /// Whether there is a place for one more; whoever was told its name has one.
    fn check_place(&self, turn: &mut Turn<'_>, pending: Option<&MemberId>) -> Result<(), Error> {
        let others = self.pending.len() - usize::from(pending.is_some());
        if self.members.len() + others < turn.options.members {
            return Ok(());
        }
        turn.counts.over_bounds += 1;
        Err(Error::GroupFull)
    }

    fn add(&mut self, turn: &mut Turn<'_>, ticket: Ticket, id: MemberId, join: JoinRequest) -> Result<(), Error> {
        let member = Member {
            id: id.clone(),
            instance: join.instance,
            client: join.client,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            has_synced: false,
            is_new: true,
            expires: turn.now + NEW_MEMBER_TIMEOUT,
        };
        self.check_room(turn, member.cost())?;
        self.remove_pending(&id);
        if self.state == State::Empty {
            self.protocol_type = Some(join.protocol_type);
        }
        self.insert(member);
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.has_grown = true;
        }
        self.rebalance_or_go_on(turn);
        Ok(())
    }

    /// A member joins the next generation.
    fn rejoin(&mut self, turn: &mut Turn<'_>, ticket: Ticket, id: &MemberId, join: JoinRequest) -> Result<(), Error> {
        self.take_over(turn, ticket, id, join)?;
        self.rebalance_or_go_on(turn);
        Ok(())
    }

    /// Gives a member what it says of itself now. A join of it that still waits is told to try again.
    fn take_over(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        id: &MemberId,
        join: JoinRequest,
    ) -> Result<(), Error> {
        let held = self.members.get(id).map_or(0, |member| member::cost_of(&member.protocols));
        self.check_room(turn, member::cost_of(&join.protocols).saturating_sub(held))?;
        let earlier = self.change(id, |member| {
            member.protocols = join.protocols;
            member.client = join.client;
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            member.joining.replace(ticket)
        });
        if let Some(earlier) = earlier.flatten() {
            turn.effects.push(Effect::Joined(earlier, Err(Error::Rebalancing)));
        }
        Ok(())
    }

    /// A static member has restarted: it has the place of the old one, which is fenced. While the group is stable and it
    /// subscribes to what it did, it gets the assignment back and nobody else notices.
    fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        old: MemberId,
        id: MemberId,
        join: JoinRequest,
    ) -> Result<(), Error> {
        let held = self.members.get(&old).map_or(0, |member| member::cost_of(&member.protocols));
        self.check_room(turn, member::cost_of(&join.protocols).saturating_sub(held))?;
        let led = self.leader.as_ref() == Some(&old);
        let Some(mut member) = self.remove(&old) else { return Err(Error::UnknownMember) };
        if let Some(waiting) = member.joining.take() {
            turn.effects.push(Effect::Joined(waiting, Err(Error::Fenced)));
        }
        if let Some(waiting) = member.syncing.take() {
            turn.effects.push(Effect::Synced(waiting, Err(Error::Fenced)));
        }
        let alike = member.subscribes_alike(&join.protocols);
        let can_skip = join.can_skip;
        member.id = id.clone();
        member.is_new = false;
        member.expires = turn.now + join.session_timeout;
        self.insert(member);
        if led {
            self.leader = Some(id.clone());
        }
        self.take_over(turn, ticket, &id, join)?;
        match self.state {
            State::Stable if alike => {
                self.change(&id, |member| member.joining = None);
                let mut joined = self.joined(&id, led && can_skip);
                joined.skips_assignment = led && can_skip;
                if led && !can_skip {
                    // One that cannot skip would assign if it knew that it leads; it follows the one that it was.
                    joined.leader = old;
                }
                turn.effects.push(Effect::Joined(ticket, Ok(joined)));
            }
            _ => self.rebalance_or_go_on(turn),
        }
        Ok(())
    }

    /// What a member is told of this generation.
    pub(super) fn joined(&self, id: &MemberId, with_members: bool) -> Joined {
        let listed = |member: &Member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol.as_ref()),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| id.clone()),
            member: id.clone(),
            members: if with_members { self.members.values().map(listed).collect() } else { Vec::new() },
            skips_assignment: false,
        }
    }

    fn answer_join(&self, turn: &mut Turn<'_>, ticket: Ticket, id: &MemberId) {
        let leads = self.leader.as_ref() == Some(id);
        turn.effects.push(Effect::Joined(ticket, Ok(self.joined(id, leads))));
    }
}
