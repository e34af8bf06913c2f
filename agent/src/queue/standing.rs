//! Where each restart stands: what a position says of it.

use std::collections::BTreeMap;

use weir_protocol::RangeSet;

use super::cover::coarsen;
use super::{Key, State};

/// The most ranges that are said to be held of one restart; [`weir_protocol::batch::MAX_HELD`] is what a gateway
/// takes.
const MAX_HELD: usize = 64;

/// Where one restart stands. Stays true however late it is said: what is accepted later is not below `upto`, and
/// what leaves `held` is with the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The restart.
    pub key: Key,
    /// The first sequence that was not accepted. Every one below it was accepted here as a reading or as a claim, from
    /// 0 on, because what came before the first reading was claimed as unknown history.
    pub upto: u64,
    /// Covers what is not known to be with the gateway.
    pub held: RangeSet,
}

impl State {
    /// Where every restart stands, for logs that begin at `starts`, in the order of the classes.
    pub fn standings(&self, starts: &[u64]) -> Vec<Standing> {
        let mut held: BTreeMap<Key, RangeSet> = BTreeMap::new();
        let mut anything = false;
        for (class, start) in self.classes.iter().zip(starts) {
            let (of_class, is_unknown) = class.blocks.held(*start, &class.shipped);
            anything |= is_unknown;
            for (key, ranges) in of_class {
                held.entry(key).or_default().union(&ranges);
            }
        }
        let mut claimed: BTreeMap<Key, RangeSet> = BTreeMap::new();
        for (key, _, set) in self.claims.lost() {
            claimed.entry(key).or_default().union(set);
        }
        for (key, range) in self.held.ranges() {
            held.entry(key).or_default().insert(range);
        }
        let standing = |(key, progress): (&Key, &super::Progress)| {
            let upto = progress.reached().0;
            let mut held = held.remove(key).unwrap_or_default();
            claimed.get(key).into_iter().for_each(|set| held.union(set));
            if anything {
                held.insert(0..upto);
            }
            let mut held: RangeSet = held.overlaps(0..upto).collect();
            coarsen(&mut held, MAX_HELD);
            Standing { key: *key, upto, held }
        };
        self.restarts.iter().map(standing).filter(|standing| standing.upto > 0).collect()
    }
}
