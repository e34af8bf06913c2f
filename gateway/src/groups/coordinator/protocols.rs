//! Which assignment protocol a generation uses: one that every member has, by vote.

use std::collections::BTreeMap;

use super::group::{Group, State};
use super::member::Protocol;
use super::{ProtocolName, Turn};
use crate::groups::error::Error;

impl Group {
    /// Whether a member with these protocols fits in.
    ///
    /// # Errors
    /// [`Error::Protocol`].
    pub(super) fn check_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> Result<(), Error> {
        let named = !protocol_type.is_empty() && !protocols.is_empty();
        let fits = self.state == State::Empty
            || (self.protocol_type.as_deref() == Some(protocol_type)
                && protocols.iter().any(|protocol| self.members.values().all(|member| member.has(&protocol.name))));
        if named && fits { Ok(()) } else { Err(Error::Protocol) }
    }

    /// Whether what this adds to the group still fits.
    ///
    /// # Errors
    /// [`Error::GroupFull`], [`Error::TooMuch`].
    pub(super) fn check_room(&self, turn: &mut Turn<'_>, added: usize) -> Result<(), Error> {
        let bytes = self.bytes.saturating_add(added);
        let refused = if bytes > turn.options.group_bytes {
            Error::GroupFull
        } else if bytes > turn.room {
            Error::TooMuch
        } else {
            return Ok(());
        };
        turn.counts.over_bounds += 1;
        Err(refused)
    }

    /// The protocol with the most votes: each member votes for the first of its own that all have. Of several with as
    /// many, the first by name.
    pub(super) fn choose_protocol(&self) -> Option<ProtocolName> {
        let common = |protocol: &&Protocol| self.members.values().all(|member| member.has(&protocol.name));
        let candidates: Vec<ProtocolName> =
            self.members.values().next()?.protocols.iter().filter(common).map(|own| own.name.clone()).collect();
        let mut votes: BTreeMap<&ProtocolName, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find_map(|own| candidates.iter().find(|name| **name == own.name));
            *votes.entry(vote?).or_default() += 1;
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }
}
