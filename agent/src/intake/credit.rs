//! Credit: how far ahead of its acknowledgement a device may send.
//!
//! An absolute limit, computed from the room in the class `default` and in the stage, and shared among the lines; a
//! reading that finds another class full stops its line. No room: no credit, and the device's own ring fills, which is
//! the backpressure that loses nothing before that ring is full.

use weir_protocol::Sequence;
use weir_protocol::serial::Down;

use super::link::Link;
use super::{Intake, LinkId};
use crate::counters::Event;
use crate::queue::{ClassId, Key, Policy};

/// The most readings that a device may be ahead.
const MAX_AHEAD: u64 = 1024;
/// So far a device may be ahead however many there are, while something can be staged: with commits that are far apart
/// its ring would overflow sooner than all of them send at once.
const LEAST_AHEAD: u64 = 256;
/// What a reading takes in the queue, for the estimate; what really comes is measured when it is staged.
const READING_COST: u64 = 40;
/// What a claim or an end takes in the queue, at most.
const CLAIM_COST: usize = 256;
/// The least room in a class that stopped a line before the line goes on.
const LEAST_ROOM: u64 = 1024;

impl Intake {
    /// Says how many bytes readings of each class may take; called when that changed.
    pub fn set_rooms(&mut self, bytes: Vec<u64>) {
        self.rooms = bytes;
        if self.ahead_allowed() == 0 {
            return;
        }
        let rooms = &self.rooms;
        let starved = |(id, link): (&LinkId, &mut Link)| {
            if link.stopped_by.is_some_and(|class| rooms.get(class.index()).is_none_or(|room| *room < LEAST_ROOM)) {
                return None;
            }
            link.stopped_by = None;
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

    /// Whether `bytes` more of readings fit into a class.
    pub(super) fn has_room(&self, class: ClassId, bytes: usize) -> bool {
        let room = self.rooms.get(class.index()).copied().unwrap_or(0);
        self.stage.bytes_of(class) + bytes as u64 <= room
    }

    /// What a class does when it is full.
    pub(super) fn policy(&self, class: ClassId) -> Policy {
        self.policies.get(class.index()).copied().unwrap_or_default()
    }

    /// Whether claims go into the log; else they go beside it, where room is kept for them.
    pub(super) fn takes_claims(&self) -> bool {
        self.has_room(ClassId::DEFAULT, CLAIM_COST)
    }

    /// A reading of this line found a class full that blocks: the line gets no credit before there is room.
    pub(super) fn stop(&mut self, link: LinkId, class: ClassId) {
        self.counters.warn(Event::QueueFull, || "the queue is full; devices get no credit".to_owned());
        if let Some(link) = self.links.get_mut(&link) {
            link.stopped_by = Some(class);
        }
    }

    pub(super) fn give_credit(&mut self, link: LinkId, key: Key) {
        let accepted = self.position(&key).map_or(0, |position| position.accepted.0);
        let is_stopped = self.links.get(&link).is_some_and(|link| link.stopped_by.is_some());
        let ahead = if is_stopped { 0 } else { self.ahead_allowed() };
        if ahead == 0
            && let Some(link) = self.links.get_mut(&link)
        {
            link.starved = true;
        }
        self.reply(link, Down::Credit { restart: key.1, upto: Sequence(accepted.saturating_add(ahead)) });
    }

    fn ahead_allowed(&self) -> u64 {
        let room = match self.policy(ClassId::DEFAULT) {
            // What finds no room is dropped, which takes the device's sending it.
            Policy::DropNewest => u64::MAX,
            Policy::Block | Policy::DropOldest => {
                self.rooms.first().copied().unwrap_or(0).saturating_sub(self.stage.bytes_of(ClassId::DEFAULT))
            }
        };
        let links = self.links.len().max(1) as u64;
        // What finds the stage full has to be sent again.
        let stageable = match self.stage.room() {
            0 => 0,
            bytes => (bytes / links / READING_COST).max(LEAST_AHEAD),
        };
        (room / links / READING_COST).min(stageable).min(MAX_AHEAD)
    }
}
