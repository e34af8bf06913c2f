//! Who may speak for a member: heartbeats, and leave to commit.

use super::Turn;
use super::group::{Group, State};
use crate::groups::error::Error;
use crate::groups::names::{Generation, InstanceId, MemberId};

/// Who speaks, as it says of itself.
///
/// [`Error::UnknownMember`] if it is not in the group, [`Error::Fenced`] if its instance has restarted under another
/// name, [`Error::Generation`] if it speaks of another generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The member; `None` for a consumer without a group's assignment.
    pub member: Option<MemberId>,
    /// Its instance, if it is static.
    pub instance: Option<InstanceId>,
    /// The generation that it believes to be in.
    pub generation: Generation,
}

impl Speaker {
    /// A consumer that assigns its partitions by itself, and the tools of an operator.
    pub const ALONE: Self = Self { member: None, instance: None, generation: Generation::NONE };

    pub(super) fn is_alone(&self) -> bool {
        self.generation < Generation(0)
    }
}

impl Group {
    /// Whether a member is in the group and is itself.
    pub(super) fn check_member(
        &self,
        turn: &mut Turn<'_>,
        id: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), Error> {
        if let Some(instance) = instance {
            let current = self.instances.get(instance).ok_or(Error::UnknownMember)?;
            if current != id {
                turn.counts.fenced += 1;
                return Err(Error::Fenced);
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(Error::UnknownMember) }
    }

    /// The member that speaks, if it is one of this generation.
    pub(super) fn check_speaker(&self, turn: &mut Turn<'_>, speaker: &Speaker) -> Result<MemberId, Error> {
        let id = speaker.member.as_ref().ok_or(Error::UnknownMember)?;
        self.check_member(turn, id, speaker.instance.as_ref())?;
        if speaker.generation == self.generation { Ok(id.clone()) } else { Err(Error::Generation) }
    }

    pub(super) fn heartbeat(&mut self, turn: &mut Turn<'_>, speaker: &Speaker) -> Result<(), Error> {
        let id = self.check_speaker(turn, speaker)?;
        self.renew(&id, turn.now);
        match self.state {
            State::PreparingRebalance => Err(Error::Rebalancing),
            _ => Ok(()),
        }
    }

    pub(super) fn check_commit(&mut self, turn: &mut Turn<'_>, speaker: &Speaker) -> Result<(), Error> {
        // Whoever assigns partitions by itself must not disturb those who share them.
        if speaker.is_alone() && self.state == State::Empty {
            return Ok(());
        }
        let id = self.check_speaker(turn, speaker)?;
        match self.state {
            // It is about to get another assignment, and should join again before it commits for this one.
            State::CompletingRebalance => Err(Error::Rebalancing),
            _ => {
                self.renew(&id, turn.now);
                Ok(())
            }
        }
    }
}
