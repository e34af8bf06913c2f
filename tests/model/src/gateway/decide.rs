//! What becomes of a batch.

use super::log::Record;
use super::{DEAD, Gateway, LOSSES, READINGS};
use crate::rules::Rule;
use crate::sequences::Set;
use crate::uplink::Batch;
use crate::world::World;

impl Gateway {
    /// Decides a batch and appends what it adds; how far each log must be committed before it may be answered.
    /// `None`: it parks until what it touches is committed.
    pub(crate) fn decide(&mut self, world: &World, batch: &Batch) -> Option<[u8; 3]> {
        let pending = self.pending();
        let parks = batch.touches().meets(pending)
            && !(world.breaks(Rule::RepeatOfPending) && batch.readings.meets(pending))
            && !(world.breaks(Rule::ClaimAgainstPending) && batch.claims.meets(pending));
        if parks {
            return None;
        }
        let [stored, dead, lost] = self.known;
        let seen = if world.breaks(Rule::RepeatOfPending) { pending } else { Set::EMPTY };
        let before = self.ends();
        let mut own = Set::EMPTY;
        for sequence in (batch.readings - stored - seen).iter() {
            let one = Set::of(sequence);
            let unknown = sequence < self.floor && !world.breaks(Rule::AppendUnknownHistory);
            if world.poison.contains(sequence) || world.mute || unknown {
                if !dead.contains(sequence) {
                    self.logs[DEAD].records.push(Record::Dead { sequence, heals: lost.contains(sequence) });
                    own |= one;
                }
                continue;
            }
            if world.breaks(Rule::LostStaysLost) && lost.contains(sequence) {
                continue;
            }
            let heals = (lost | dead).contains(sequence) && !world.breaks(Rule::NoHeals);
            self.logs[READINGS].records.push(Record::Reading { sequence, heals });
            own |= one;
        }
        let known = stored | dead | lost;
        let mut gone = batch.claims - own;
        if !world.breaks(Rule::ClaimNotDeduplicated) {
            gone -= known;
        }
        if let Some(position) = batch.position.filter(|_| !world.breaks(Rule::NoPositions)) {
            gone |= position.unheld() - known - own;
        }
        if !gone.is_empty() {
            self.logs[LOSSES].records.push(Record::Loss(gone));
        }
        let after = self.ends();
        Some(std::array::from_fn(|log| if after[log] > before[log] { after[log] } else { 0 }))
    }

    /// An operator sends a dead letter again, and whatever was wrong with it is mended.
    pub(crate) fn redrivable(&self) -> Set {
        self.known[DEAD] - self.known[READINGS] - self.pending()
    }

    pub(crate) fn redrive(&mut self, sequence: u8) {
        self.logs[READINGS].records.push(Record::Reading { sequence, heals: true });
    }

    /// Whether a batch with these needs may be answered.
    pub(crate) fn may_answer(&self, world: &World, needs: [u8; 3]) -> bool {
        world.breaks(Rule::PubackBeforeCommit) || (0..3).all(|log| needs[log] <= self.logs[log].visible)
    }

    /// Answers: from here on the agent holds nothing of the batch.
    pub(crate) fn answer(&mut self, world: &World, batch: &Batch) {
        let mut promised = batch.touches();
        if world.breaks(Rule::NoPositions) {
            promised = batch.readings | batch.claims;
        }
        if !self.on_disk().contains_all(promised) {
            self.broken_promise = Some("PUBACK means that every sequence of the batch is on disk");
        }
    }

    fn ends(&self) -> [u8; 3] {
        std::array::from_fn(|log| self.logs[log].end())
    }
}
