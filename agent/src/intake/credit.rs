//! Credit: how far ahead of its acknowledgement a device may send.
//!
//! An absolute limit, computed from the room in the queue and shared among the lines. No room: no credit,
//! and the device's own ring fills, which is the backpressure that loses nothing before that ring is full.

use weir_protocol::Sequence;
use weir_protocol::serial::Down;

use super::link::Link;
use super::{Intake, LinkId};
use crate::queue::{Key, Policy};

/// The most readings that a device may be ahead.
const MAX_AHEAD: u64 = 1024;
/// What a reading takes in the queue, for the estimate; what really comes is measured when it is staged.
const READING_COST: u64 = 40;
/// What a claim or an end takes in the queue, at most.
const CLAIM_COST: usize = 256;

impl Intake {
    /// Says how many bytes readings may take; called when that changed.
    pub fn set_room(&mut self, bytes: u64) {
        self.room = bytes;
        if self.ahead_allowed() == 0 {
            return;
        }
        let starved = |(id, link): (&LinkId, &mut Link)| {
            let device = link.device.filter(|_| core::mem::take(&mut link.starved))?;
            Some((*id, device, link.held.clone()))
        };
        let links: Vec<_> = self.links.iter_mut().filter_map(starved).collect();
        let keys: Vec<(LinkId, Key)> = links
            .iter()
            .flat_map(|(id, device, held)| held.iter().map(move |restart| (*id, (*device, *restart))))
            .collect();
        for (link, key) in keys {
            self.give_credit(link, key);
        }
    }

    /// Whether `bytes` more of readings fit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.stage.bytes() + bytes as u64 <= self.room
    }

    /// Whether claims go into the log; else they go beside it, where room is kept for them.
    pub(super) fn takes_claims(&self) -> bool {
        self.has_room(CLAIM_COST)
    }

    pub(super) fn give_credit(&mut self, link: LinkId, key: Key) {
        let accepted = self.position(&key).map_or(0, |position| position.accepted.0);
        let ahead = self.ahead_allowed();
        if ahead == 0
            && let Some(link) = self.links.get_mut(&link)
        {
            link.starved = true;
        }
        self.reply(link, Down::Credit { restart: key.1, upto: Sequence(accepted.saturating_add(ahead)) });
    }

    fn ahead_allowed(&self) -> u64 {
        if self.policy == Policy::DropNewest {
            // What finds no room is dropped, which takes the device's sending it.
            return MAX_AHEAD;
        }
        let share = self.room.saturating_sub(self.stage.bytes()) / self.links.len().max(1) as u64;
        (share / READING_COST).min(MAX_AHEAD)
    }
}
