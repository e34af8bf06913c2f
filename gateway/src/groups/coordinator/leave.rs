//! Leaving a group.

use super::group::{Group, State};
use super::{Effect, Turn};
use crate::groups::error::Error;
use crate::groups::names::{InstanceId, MemberId};

/// Who leaves, or is sent away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// The member; `None` if an operator names the instance alone.
    pub member: Option<MemberId>,
    /// Its instance, if it is static.
    pub instance: Option<InstanceId>,
}

impl Group {
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, leaver: &Leaver) -> Result<(), Error> {
        let named = leaver.instance.as_ref();
        let id = match &leaver.member {
            Some(id) if self.pending.contains_key(id) => {
                if named.is_some() {
                    return Err(Error::Invalid);
                }
                let id = id.clone();
                self.forget_pending(turn, &id);
                return Ok(());
            }
            Some(id) => {
                self.check_member(turn, id, named)?;
                id.clone()
            }
            None => named.and_then(|instance| self.instances.get(instance)).ok_or(Error::UnknownMember)?.clone(),
        };
        self.expel(turn, &id);
        Ok(())
    }

    /// Gives up on one who was told its name.
    pub(super) fn forget_pending(&mut self, turn: &mut Turn<'_>, id: &MemberId) {
        self.remove_pending(id);
        if self.state == State::PreparingRebalance {
            self.rebalance_or_go_on(turn);
        }
    }

    /// Takes a member out, and shares its partitions out to the others.
    pub(super) fn expel(&mut self, turn: &mut Turn<'_>, id: &MemberId) {
        let Some(member) = self.remove(id) else { return };
        if let Some(waiting) = member.joining {
            turn.effects.push(Effect::Joined(waiting, Err(Error::UnknownMember)));
        }
        if let Some(waiting) = member.syncing {
            turn.effects.push(Effect::Synced(waiting, Err(Error::UnknownMember)));
        }
        self.rebalance_or_go_on(turn);
    }
}
