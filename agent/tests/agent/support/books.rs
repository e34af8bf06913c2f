//! A gateway's books: what it stored and what it counted as lost, each sequence once and stored before lost.

use std::collections::BTreeMap;
use std::ops::Range;

use weir_agent::queue::{Key, Queue};
use weir_agent::uplink::spool::Spool;
use weir_protocol::RangeSet;
use weir_protocol::batch::{Envelope, LossKind};

use super::kept::Kept;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) stored: BTreeMap<Key, RangeSet>,
    pub(crate) lost: BTreeMap<(Key, LossKind), RangeSet>,
    /// Sequences that were lost and then stored.
    pub(crate) healed: BTreeMap<Key, RangeSet>,
}

impl Books {
    /// Takes everything that a queue has to say: its records, its claims and where its restarts stand.
    pub(crate) fn ship(&mut self, queue: &Queue) {
        let mut spool = Spool::new(queue, 4096, true);
        loop {
            let batch = spool.lanes().find_map(|lane| {
                spool.fill(lane, usize::MAX).expect("a readable queue");
                spool.take(lane)
            });
            let Some(batch) = batch else { break };
            let envelope = Envelope::open(&batch.payload).expect("a good envelope");
            let mut buffer = Vec::new();
            for section in envelope.sections(&mut buffer).expect("a good body") {
                self.take(&Kept::of(&section.expect("a good section")));
            }
            spool.shipped(&batch);
        }
        let claims = queue.state().lock().claims.sections(usize::MAX);
        for claim in claims {
            self.take(&Kept::of(&claim));
            queue.state().lock().claims.remove(&claim);
        }
        assert!(queue.is_empty());
        let standings = queue.standings();
        for stands in standings {
            assert!(stands.held.is_empty(), "an empty queue holds nothing: {stands:?}");
            self.lose(stands.key, LossKind::Unaccounted, 0..stands.upto);
        }
    }

    pub(crate) fn take(&mut self, kept: &Kept) {
        match kept {
            Kept::Readings(device, restart, range) => {
                let key = (*device, *restart);
                let new: Vec<_> = self.stored.entry(key).or_default().gaps(range.clone()).collect();
                for gap in new {
                    let lost: RangeSet = self.lost_of(key).overlaps(gap.clone()).collect();
                    self.healed.entry(key).or_default().union(&lost);
                    self.stored.entry(key).or_default().insert(gap);
                }
            }
            Kept::Claim(device, restart, kind, range) => self.lose((*device, *restart), *kind, range.clone()),
            Kept::End(..) => {}
        }
    }

    fn lose(&mut self, key: Key, kind: LossKind, range: Range<u64>) {
        let mut known = self.stored.get(&key).cloned().unwrap_or_default();
        known.union(&self.lost_of(key));
        let new: Vec<_> = known.gaps(range).collect();
        let lost = self.lost.entry((key, kind)).or_default();
        new.into_iter().for_each(|gap| lost.insert(gap));
    }

    fn lost_of(&self, key: Key) -> RangeSet {
        let mut all = RangeSet::new();
        self.lost.iter().filter(|((of, _), _)| *of == key).for_each(|(_, set)| all.union(set));
        all
    }

    pub(crate) fn stored(&self, key: Key) -> Vec<Range<u64>> {
        self.stored.get(&key).map(|set| set.iter().collect()).unwrap_or_default()
    }

    pub(crate) fn lost(&self, key: Key, kind: LossKind) -> Vec<Range<u64>> {
        self.lost.get(&(key, kind)).map(|set| set.iter().collect()).unwrap_or_default()
    }

    /// Whether every sequence of `range` is stored or lost, and none is both.
    pub(crate) fn balances(&self, key: Key, range: Range<u64>) -> bool {
        let (stored, lost) = (self.stored.get(&key).cloned().unwrap_or_default(), self.lost_of(key));
        let healed = self.healed.get(&key).map_or(0, RangeSet::len);
        let mut all = stored.clone();
        all.union(&lost);
        all.iter().eq([range]) && stored.len() + lost.len() - healed == all.len()
    }
}
