//! The coordinator: who is in which group, and which assignment holds.
//!
//! What it guarantees: a group has one assignment a generation, given by the leader that the coordinator named, to the
//! members that joined it; whoever is not one of them, or speaks of another generation, is told so and can commit nothing;
//! a member that is silent for its session timeout, or does not join a rebalance in time, is out; no request waits
//! longer than the longest rebalance. Groups, members and bytes are bounded.
//!
//! ```text
//!            join                       all have joined,               leader has synced
//!  Empty -----------> PreparingRebalance ----------------> CompletingRebalance ---------> Stable
//!    ^                   |    ^   ^       or time is up         |                            |
//!    +--- nobody is left-+    |   +--- join, leave, end --------+                            |
//!                             +------ join with another subscription, leave, end of session -+
//! ```
//!
//! It is what Kafka's coordinator of the classic group protocol does, as a state machine: time since the start and
//! randomness come in, [`Effect`]s go out, and nothing waits. A request that has to wait has a [`Ticket`] by which its
//! answer is found.

mod expiry;
mod group;
mod join;
mod leave;
mod member;
mod protocols;
mod rebalance;
mod session;
mod sync;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::Error;
use super::names::{GroupId, MemberId};
use super::options::Options;
use group::Group;

pub use group::State;
pub use join::{JoinRequest, Joined, JoinedMember};
pub use leave::Leaver;
pub use member::{Client, Protocol};
pub use session::Speaker;
pub use sync::{SyncRequest, Synced};
pub use view::{GroupView, Listed, MemberView, Subscriptions};

/// How long a group without members and offsets is remembered.
const IDLE: Duration = Duration::from_secs(60);

/// Names a request that waits.
pub type Ticket = u64;

/// What the coordinator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A join is answered.
    Joined(Ticket, Result<Joined, Error>),
    /// A sync is answered.
    Synced(Ticket, Result<Synced, Error>),
    /// A group got its first members.
    Used(GroupId),
    /// A group lost its last member.
    Emptied(GroupId),
}

/// What one request works with.
struct Turn<'a> {
    /// Since the start.
    now: Duration,
    options: &'a Options,
    effects: &'a mut Vec<Effect>,
    counts: &'a mut Counts,
    /// Bytes that other groups leave to this one.
    room: usize,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rebalances that ended.
    pub rebalances: u64,
    /// Members whose session ended, or who did not join or sync in time.
    pub expired: u64,
    /// Requests refused because a bound was reached.
    pub over_bounds: u64,
    /// Requests of members whose instance another one has taken over.
    pub fenced: u64,
}

/// All groups.
pub struct Coordinator {
    options: Options,
    groups: BTreeMap<GroupId, Group>,
    /// When to look at a group again.
    timers: BTreeSet<(Duration, GroupId)>,
    /// Bytes that the members of all groups take.
    bytes: usize,
    effects: Vec<Effect>,
    counts: Counts,
    random: Box<dyn FnMut() -> u128 + Send>,
}

impl Coordinator {
    /// Without groups. Member ids end in what `random` gives: nobody may guess it.
    pub fn new(options: Options, random: Box<dyn FnMut() -> u128 + Send>) -> Self {
        Self {
            options,
            groups: BTreeMap::new(),
            timers: BTreeSet::new(),
            bytes: 0,
            effects: Vec::new(),
            counts: Counts::default(),
            random,
        }
    }

    /// What is to be done, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Makes a group without members, if it is not there: one that offsets are stored for.
    ///
    /// # Errors
    /// [`Error::TooMuch`] with as many groups as there may be.
    pub fn ensure(&mut self, now: Duration, id: &GroupId) -> Result<(), Error> {
        if self.groups.contains_key(id) {
            return Ok(());
        }
        if self.groups.len() >= self.options.groups {
            self.counts.over_bounds += 1;
            return Err(Error::TooMuch);
        }
        self.groups.insert(id.clone(), Group::new(id.clone(), now));
        Ok(())
    }

    /// Makes a group that was there before, however many there are.
    pub fn restore(&mut self, id: &GroupId) {
        self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone(), Duration::ZERO));
    }

    /// Forgets a group without members.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::NotEmpty`] while it has members or members are about to join.
    pub fn delete(&mut self, id: &str) -> Result<(), Error> {
        let group = self.groups.get(id).ok_or(Error::NotFound)?;
        if !group.is_empty() {
            return Err(Error::NotEmpty);
        }
        if let Some(group) = self.groups.remove(id) {
            self.forget(&group);
        }
        Ok(())
    }

    /// Forgets groups that have been empty for a while and of which nothing is stored.
    pub fn forget_idle(&mut self, now: Duration, is_stored: impl Fn(&GroupId) -> bool) {
        let idle = |group: &Group| group.is_empty() && now.saturating_sub(group.since) >= IDLE && !is_stored(&group.id);
        let idle: Vec<GroupId> =
            self.groups.values().filter(|group| idle(group)).map(|group| group.id.clone()).collect();
        for id in idle {
            if let Some(group) = self.groups.remove(&id) {
                self.forget(&group);
            }
        }
    }

    /// A group was taken out.
    fn forget(&mut self, group: &Group) {
        self.bytes -= group.bytes;
        if let Some(wake) = group.wake {
            self.timers.remove(&(wake, group.id.clone()));
        }
    }

    /// Does something to a group; then sees to its timer and to what it takes. `None` if there is no such group.
    fn at<T>(&mut self, now: Duration, id: &str, act: impl FnOnce(&mut Group, &mut Turn<'_>) -> T) -> Option<T> {
        let group = self.groups.get_mut(id)?;
        let (before, woken) = (group.bytes, group.wake);
        let room = self.options.bytes.saturating_sub(self.bytes - before);
        let (options, effects, counts) = (&self.options, &mut self.effects, &mut self.counts);
        let done = act(group, &mut Turn { now, options, effects, counts, room });
        self.bytes = self.bytes - before + group.bytes;
        if group.wake != woken {
            let (id, wake) = (group.id.clone(), group.wake);
            if let Some(woken) = woken {
                self.timers.remove(&(woken, id.clone()));
            }
            if let Some(wake) = wake {
                self.timers.insert((wake, id));
            }
        }
        Some(done)
    }

    /// Has a consumer join a group. The answer is an effect, perhaps at once.
    pub fn join(&mut self, now: Duration, ticket: Ticket, id: &GroupId, join: JoinRequest) {
        let refused = match join.member {
            // Only a consumer that is new may begin a group.
            None => self.check_session(&join).and_then(|()| self.ensure(now, id)).err(),
            Some(_) if !self.groups.contains_key(id) => Some(Error::UnknownMember),
            Some(_) => self.check_session(&join).err(),
        };
        if let Some(error) = refused {
            self.effects.push(Effect::Joined(ticket, Err(error)));
            return;
        }
        let random = (self.random)();
        self.at(now, id.as_str(), |group, turn| group.join(turn, ticket, join, random));
    }

    fn check_session(&self, join: &JoinRequest) -> Result<(), Error> {
        let (least, most) = (self.options.session_timeout_min, self.options.session_timeout_max);
        let got = join.session_timeout;
        if (least..=most).contains(&got) { Ok(()) } else { Err(Error::SessionTimeout { got, least, most }) }
    }

    /// Has a member ask for its assignment, or the leader give it. The answer is an effect.
    pub fn sync(&mut self, now: Duration, ticket: Ticket, id: &str, sync: SyncRequest) {
        let known = self.at(now, id, |group, turn| group.sync(turn, ticket, sync));
        if known.is_none() {
            self.effects.push(Effect::Synced(ticket, Err(Error::UnknownMember)));
        }
    }

    /// Has a member say that it lives.
    ///
    /// # Errors
    /// [`Error::Rebalancing`] when it is to join again; what [`Speaker`] says.
    pub fn heartbeat(&mut self, now: Duration, id: &str, speaker: &Speaker) -> Result<(), Error> {
        self.at(now, id, |group, turn| group.heartbeat(turn, speaker)).unwrap_or(Err(Error::UnknownMember))
    }

    /// Has members leave; how it went, one by one.
    pub fn leave(&mut self, now: Duration, id: &str, leavers: &[Leaver]) -> Vec<Result<(), Error>> {
        let left = self.at(now, id, |group, turn| leavers.iter().map(|leaver| group.leave(turn, leaver)).collect());
        left.unwrap_or_else(|| leavers.iter().map(|_| Err(Error::UnknownMember)).collect())
    }

    /// Decides whether a speaker may commit offsets of a group.
    ///
    /// # Errors
    /// Why not.
    pub fn check_commit(&mut self, now: Duration, id: &GroupId, speaker: &Speaker) -> Result<(), Error> {
        if !self.groups.contains_key(id) {
            // Whoever says that it is in a generation was in a group that is gone.
            return if speaker.is_alone() { self.ensure(now, id) } else { Err(Error::Generation) };
        }
        self.at(now, id.as_str(), |group, turn| group.check_commit(turn, speaker)).unwrap_or(Err(Error::UnknownMember))
    }

    /// When [`Coordinator::tick`] is to be called next.
    pub fn next_wake(&self) -> Option<Duration> {
        self.timers.first().map(|(wake, _)| *wake)
    }

    /// Lets time pass: ends sessions and rebalances that are due.
    pub fn tick(&mut self, now: Duration) {
        while let Some((wake, id)) = self.timers.first().cloned()
            && wake <= now
        {
            self.at(now, id.as_str(), Group::expire);
        }
    }
}

/// Assignments by member.
pub type Assignments = Vec<(MemberId, Bytes)>;

/// The name of a protocol, or of a kind of group.
pub type ProtocolName = Arc<str>;
