//! What is known about the sequences of one restart.
//!
//! Three sets, S settled, D dead-lettered and L lost, hold committed sequences only; a sequence may be in several, and S
//! counts before D before L. S holds what is stored, and what the rules of an agent left out: what comes for either is a
//! repeat. `pending` holds what is appended and not yet committed, whatever
//! it will become: a batch that touches any of it waits, so nothing is ever decided against it, except that a
//! batch sees what it has itself appended.
//!
//! S, D and L are exact for ever, for a reading that comes for any sequence is a repeat or heals by what they say. So what
//! takes turns in them, as the readings of a good channel and the dead letters of one that is always out of range, must be
//! cheap: sets hold it as bits ([`weir_protocol::ranges`]). Nothing smaller would do. That all below a sequence is settled
//! one way or another does not say which of it a redrive heals; the dead letters in the log would, but no batch can wait until
//! they are read, and retention removes them.

use std::ops::Range;

use weir_protocol::{AgentId, DeviceId, RangeSet, Restart, Tenant};

use super::shares::Shares;
use crate::record::reading::Head;
use crate::topics::TopicId;

/// The sequences of one restart.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// S; it, D and L change by the functions here alone.
    pub(crate) stored: RangeSet,
    /// Which topics hold what is in S.
    pub(crate) shares: Shares,
    /// How many of S are no readings and no messages: an agent's rules left them out.
    pub(crate) reduced: u64,
    pub(crate) dead: RangeSet,
    pub(crate) lost: RangeSet,
    counted: Counted,
    pub(crate) pending: RangeSet,
    pub(crate) end: End,
    /// Below this nobody knows what was stored; 0 unless checkpoints were lost.
    pub(crate) floor: u64,
    /// The fields that every reading of this restart starts with, when `head_agent` ships it.
    pub(crate) head: Head,
    head_agent: Option<AgentId>,
}

/// How many sequences count as what: to look for them in the sets takes long where these take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// In D, not in S.
    pub(crate) dead: u64,
    /// In L, neither in S nor in D.
    pub(crate) lost: u64,
}

/// Whether the log says that the restart ended with an unknown tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    #[default]
    Unknown,
    Pending,
    Recorded,
}

impl Ledger {
    /// Whether nothing is known about any sequence of the range.
    pub(crate) fn is_fresh(&self, range: Range<u64>) -> bool {
        !self.stored.intersects(range.clone())
            && !self.pending.intersects(range.clone())
            && !self.dead.intersects(range.clone())
            && !self.lost.intersects(range)
    }

    /// The parts of the range that are neither stored nor dead-lettered nor pending: what may become a dead
    /// letter.
    pub(crate) fn not_dead(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let stored = self.stored.gaps(range);
        stored.flat_map(|gap| self.dead.gaps(gap)).flat_map(|gap| self.pending.gaps(gap))
    }

    /// The parts of the range about which nothing is known: what may be counted lost.
    pub(crate) fn not_lost(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        self.not_dead(range).flat_map(|gap| self.lost.gaps(gap))
    }

    /// Whether this sequence was dead-lettered or counted lost.
    pub(crate) fn heals(&self, sequence: u64) -> bool {
        self.lost.contains(sequence) || self.dead.contains(sequence)
    }

    /// What all of it costs, in ranges: see [`RangeSet::cost`].
    pub(crate) fn cost(&self) -> usize {
        self.sets().map(RangeSet::cost).sum()
    }

    /// Whether the range goes on from what is known, leads up to it, or is known: a device that goes on in order
    /// does, whatever became of its last reading.
    pub(crate) fn extends(&self, range: Range<u64>) -> bool {
        let known = |sequence| self.sets().any(|set| set.contains(sequence));
        range.start.checked_sub(1).is_some_and(known) || known(range.end) || self.not_lost(range).next().is_none()
    }

    /// Whether all of the range is known, or what lies on both sides of it is.
    pub(crate) fn closes(&self, range: Range<u64>) -> bool {
        let known = |sequence| self.sets().any(|set| set.contains(sequence));
        range.start.checked_sub(1).is_none_or(known) && known(range.end) || self.not_lost(range).next().is_none()
    }

    fn sets(&self) -> impl Iterator<Item = &RangeSet> {
        [&self.stored, &self.dead, &self.lost, &self.pending].into_iter()
    }

    /// Sequences are stored in a topic; see [`Shares::note`] about `most`.
    pub(crate) fn store(&mut self, topic: TopicId, range: Range<u64>, most: usize) {
        self.pending.remove(range.clone());
        self.shares.note(topic, range.clone(), &self.stored, most);
        self.change(range.clone(), |ledger| ledger.stored.insert(range));
    }

    /// Sequences are dead letters.
    pub(crate) fn bury(&mut self, range: Range<u64>) {
        self.pending.remove(range.clone());
        self.change(range.clone(), |ledger| ledger.dead.insert(range));
    }

    /// Sequences are lost.
    pub(crate) fn lose(&mut self, range: Range<u64>) {
        self.pending.remove(range.clone());
        self.change(range.clone(), |ledger| ledger.lost.insert(range));
    }

    /// The records that said that these are stored cannot be read any more.
    pub(crate) fn forget_stored(&mut self, range: Range<u64>) {
        self.change(range.clone(), |ledger| ledger.stored.remove(range));
    }

    /// The same of dead letters.
    pub(crate) fn forget_dead(&mut self, range: Range<u64>) {
        self.change(range.clone(), |ledger| ledger.dead.remove(range));
    }

    /// The losses hold that the rules of an agent left these out; see [`Shares::note`] about `most`.
    pub(crate) fn settle(&mut self, ranges: &RangeSet, most: usize) {
        for range in ranges.iter() {
            self.pending.remove(range.clone());
            self.shares.note(TopicId::LOSS, range.clone(), &self.stored, most);
            let counted = self.count(range);
            self.counted.dead -= counted.dead;
            self.counted.lost -= counted.lost;
        }
        self.stored.union(ranges);
        self.reduced += ranges.len();
    }

    /// Changes a set in that range alone.
    fn change(&mut self, range: Range<u64>, change: impl FnOnce(&mut Self)) {
        let before = self.count(range.clone());
        change(self);
        let after = self.count(range);
        self.counted.dead = self.counted.dead - before.dead + after.dead;
        self.counted.lost = self.counted.lost - before.lost + after.lost;
    }

    /// How many of the range count as what.
    fn count(&self, range: Range<u64>) -> Counted {
        let sum = |sum: u64, part: Range<u64>| sum + (part.end - part.start);
        let dead = self.dead.overlaps(range.clone()).flat_map(|part| self.stored.gaps(part));
        let lost = self.lost.overlaps(range).flat_map(|part| self.stored.gaps(part));
        Counted { dead: dead.fold(0, sum), lost: lost.flat_map(|part| self.dead.gaps(part)).fold(0, sum) }
    }

    /// Counts everything, after recovery has filled the sets.
    pub(crate) fn recount(&mut self) {
        self.counted = self.count(0..u64::MAX);
    }

    /// How many sequences count as what.
    pub(crate) fn counted(&self) -> Counted {
        debug_assert_eq!(self.counted, self.count(0..u64::MAX));
        self.counted
    }

    /// The first sequence behind everything that is known.
    pub(crate) fn next(&self) -> u64 {
        [&self.stored, &self.dead, &self.lost].into_iter().filter_map(RangeSet::end).max().unwrap_or(0)
    }

    /// How many sequences are stored as readings or messages.
    pub(crate) fn readings(&self) -> u64 {
        self.stored.len().saturating_sub(self.reduced)
    }

    /// Makes `head` that of `agent`.
    pub(crate) fn prepare_head(&mut self, tenant: Tenant, agent: AgentId, device: DeviceId, restart: Restart) {
        if self.head_agent != Some(agent) {
            self.head = Head::new(tenant, agent, device, restart);
            self.head_agent = Some(agent);
        }
    }
}
