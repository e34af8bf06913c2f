//! Groups as operators see them.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::group::{Group, State};
use super::member::{Client, Member};
use super::{Coordinator, ProtocolName};
use crate::groups::names::{Generation, GroupId, InstanceId, MemberId};
use crate::groups::subscription;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its name.
    pub id: GroupId,
    /// What it is doing.
    pub state: State,
    /// Since when, as time since the start.
    pub since: Duration,
    /// Its generation.
    pub generation: Generation,
    /// Its kind; none for one that has only had offsets.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol that its assignment was made with.
    pub protocol: Option<ProtocolName>,
    /// Who assigns.
    pub leader: Option<MemberId>,
    /// Its members.
    pub members: Vec<MemberView>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: GroupId,
    /// What it is doing.
    pub state: State,
    /// Its kind; none for one that has only had offsets.
    pub protocol_type: Option<ProtocolName>,
    /// How many members it has.
    pub members: usize,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its name.
    pub id: MemberId,
    /// Its instance, if it is static.
    pub instance: Option<InstanceId>,
    /// Who connects.
    pub client: Client,
    /// Its subscription in the protocol of this generation.
    pub metadata: Bytes,
    /// What it was given.
    pub assignment: Bytes,
}

impl Coordinator {
    /// Every group, by name.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        self.groups.values().map(|group| Listed {
            id: group.id.clone(),
            state: group.state,
            protocol_type: group.protocol_type.clone(),
            members: group.members.len(),
        })
    }

    /// One group.
    pub fn view(&self, id: &str) -> Option<GroupView> {
        self.groups.get(id).map(Group::view)
    }

    /// Whether there is such a group.
    pub fn has(&self, id: &str) -> bool {
        self.groups.contains_key(id)
    }

    /// Since when a group has had no members; `None` if it has some.
    pub fn empty_since(&self, id: &str) -> Option<Duration> {
        self.groups.get(id).filter(|group| group.is_empty()).map(|group| group.since)
    }

    /// The topics that members of a group subscribe to; none of a group whose subscriptions cannot be read.
    pub fn subscriptions(&self, id: &str) -> Subscriptions {
        let Some(group) = self.groups.get(id).filter(|group| !group.members.is_empty()) else {
            return Subscriptions::Topics(BTreeSet::new());
        };
        let mut topics = BTreeSet::new();
        for protocol in group.members.values().flat_map(|member| &member.protocols) {
            match subscription::topics(&protocol.metadata) {
                Some(found) => topics.extend(found.into_iter().map(str::to_owned)),
                None => return Subscriptions::Unknown,
            }
        }
        Subscriptions::Topics(topics)
    }
}

/// What the members of a group subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscriptions {
    /// These topics.
    Topics(BTreeSet<String>),
    /// It is another kind of group.
    Unknown,
}

impl Group {
    fn view(&self) -> GroupView {
        let member = |member: &Member| MemberView {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            metadata: member.metadata(self.protocol.as_ref()),
            assignment: member.assignment.clone(),
        };
        GroupView {
            id: self.id.clone(),
            state: self.state,
            since: self.since,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.values().map(member).collect(),
        }
    }
}
