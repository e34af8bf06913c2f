//! One group: its members and what state it is in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::member::{self, Member};
use super::rebalance::Rebalance;
use super::{Effect, ProtocolName, Turn};
use crate::groups::names::{Generation, GroupId, InstanceId, MemberId};

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It has no members; offsets perhaps.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// It waits for its leader to assign partitions.
    CompletingRebalance,
    /// Every member has its assignment, or can have it.
    Stable,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Empty, Self::PreparingRebalance, Self::CompletingRebalance, Self::Stable];

    /// Its name, as Kafka's tools write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) state: State,
    /// When it came into this state.
    pub(super) since: Duration,
    pub(super) generation: Generation,
    /// The kind of group, such as `consumer`; none until it has had a member.
    pub(super) protocol_type: Option<ProtocolName>,
    /// The protocol of this generation.
    pub(super) protocol: Option<ProtocolName>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    /// The members of static instances.
    pub(super) instances: BTreeMap<InstanceId, MemberId>,
    /// Who was told its name and has not come back under it, and until when it may.
    pub(super) pending: BTreeMap<MemberId, Duration>,
    /// The rebalance that waits for members.
    pub(super) rebalance: Option<Rebalance>,
    /// Until when members may ask for their assignment.
    pub(super) sync_deadline: Option<Duration>,
    /// Bytes that the members take, and those who have not come back.
    pub(super) bytes: usize,
    /// When to look at it again, at the latest.
    pub(super) wake: Option<Duration>,
}

impl Group {
    pub(super) fn new(id: GroupId, now: Duration) -> Self {
        Self {
            id,
            state: State::Empty,
            since: now,
            generation: Generation(0),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            rebalance: None,
            sync_deadline: None,
            bytes: 0,
            wake: None,
        }
    }

    /// Whether nobody is in it or about to join.
    pub(super) fn is_empty(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty()
    }

    pub(super) fn become_state(&mut self, turn: &mut Turn<'_>, state: State) {
        let was_empty = std::mem::replace(&mut self.state, state) == State::Empty;
        self.since = turn.now;
        match (was_empty, state == State::Empty) {
            (true, false) => turn.effects.push(Effect::Used(self.id.clone())),
            (false, true) => turn.effects.push(Effect::Emptied(self.id.clone())),
            _ => (),
        }
    }

    /// Has the timer look at the group at `at` or before.
    pub(super) fn wake_by(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.bytes += member.cost();
        self.wake_by(member.expires);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// One was told its name, and may come back under it until then.
    pub(super) fn expect(&mut self, id: MemberId, until: Duration) {
        self.bytes += member::cost_of_pending(&id);
        self.pending.insert(id, until);
        self.wake_by(until);
    }

    /// It came back, or is not waited for any more.
    pub(super) fn remove_pending(&mut self, id: &MemberId) {
        if self.pending.remove(id).is_some() {
            self.bytes -= member::cost_of_pending(id);
        }
    }

    /// Takes a member out; the next one leads if it did.
    pub(super) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.bytes -= member.cost();
        if let Some(instance) = &member.instance
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes a member and counts what it takes then.
    pub(super) fn change<T>(&mut self, id: &MemberId, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let member = self.members.get_mut(id)?;
        let before = member.cost();
        let changed = change(member);
        let (after, expires) = (member.cost(), member.expires);
        self.bytes = self.bytes - before + after;
        self.wake_by(expires);
        Some(changed)
    }

    /// Begins a member's session anew.
    pub(super) fn renew(&mut self, id: &MemberId, now: Duration) {
        if let Some(member) = self.members.get_mut(id) {
            member.expires = now + member.session_timeout;
            // The timer, if it comes earlier, looks for itself.
            let expires = member.expires;
            self.wake_by(expires);
        }
    }

    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }
}
