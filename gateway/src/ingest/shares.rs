//! Which topics hold the settled sequences of one restart: those of readings and messages, and the losses, which hold what
//! the rules of agents left out ([`super::settled`]).
//!
//! S, the union, is the ledger's own set and always exact. What of it lies in which topic is needed for checkpoints, one
//! for each log, and to tell damage by identity. If all of it lies in one topic, as with routes by tenant or device,
//! that takes no memory. Routes by channel or unit, and rules for some
//! of the channels, may deal the sequences out in turns: then the exact share of a topic
//! would take a range for every reading. So a share of more than [`Shares::note`]'s bound of ranges becomes *coarse*: a
//! superset in fewer ranges, of which only what is in S counts. If any share is coarse, nothing of the restart leaves S any
//! more: the checkpoint of another topic might go on saying it.
//!
//! Guarantee: [`Shares::of`] never says a sequence that is not in S. A checkpoint that said one would make the gateway
//! drop a reading that it never stored.

use std::borrow::Cow;
use std::ops::Range;

use weir_protocol::RangeSet;

use crate::topics::TopicId;

/// What of S lies in which topic.
#[derive(Debug, Default)]
pub(crate) struct Shares(Vec<Share>);

#[derive(Debug)]
struct Share {
    topic: TopicId,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// All of S; it is the only share.
    All,
    Exact(RangeSet),
    /// A superset of the share.
    Coarse(RangeSet),
}

/// The part of S that a topic is taken to hold.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) ranges: Cow<'a, RangeSet>,
    /// Some of it may lie in other topics, or others say so of theirs.
    pub(crate) is_coarse: bool,
}

impl Shares {
    /// A range that was added to S, or is about to be, lies in `topic`; `stored` is S without it. A share of more than
    /// `most` ranges becomes coarse.
    pub(crate) fn note(&mut self, topic: TopicId, range: Range<u64>, stored: &RangeSet, most: usize) {
        let share = match self.share(topic, stored, most) {
            Held::All => return,
            Held::Exact(ranges) | Held::Coarse(ranges) if ranges.range_count() < most => {
                ranges.insert(range);
                return;
            }
            share => share,
        };
        if let Held::Exact(ranges) | Held::Coarse(ranges) = share {
            ranges.insert(range);
            if ranges.range_count() > most {
                *share = Held::Coarse(coarse(ranges, most / 2));
            }
        }
    }

    /// What a log of `topic` says, for recovery; `stored` is S without it.
    pub(crate) fn restore(
        &mut self,
        topic: TopicId,
        (said, is_coarse): (&RangeSet, bool),
        stored: &RangeSet,
        most: usize,
    ) {
        if said.is_empty() {
            return;
        }
        let share = self.share(topic, stored, most);
        let ranges = match share {
            Held::All if !is_coarse => return,
            Held::All => stored,
            Held::Exact(ranges) | Held::Coarse(ranges) => ranges,
        };
        let mut ranges = ranges.clone();
        ranges.union(said);
        let was_coarse = matches!(share, Held::Coarse(_));
        *share = match is_coarse || was_coarse {
            true => Held::Coarse(coarse(&ranges, if ranges.range_count() > most { most / 2 } else { most })),
            false => Held::bounded(ranges, most),
        };
    }

    /// Sequences left S because the records in `topic` that said them are damaged.
    pub(crate) fn remove(&mut self, topic: TopicId, range: &Range<u64>) {
        let share = self.0.iter_mut().find(|share| share.topic == topic);
        // A coarse share stays a superset.
        if let Some(Share { held: Held::Exact(ranges), .. }) = share {
            ranges.remove(range.clone());
        }
    }

    /// What of S, which is `stored`, lies in `topic`.
    pub(crate) fn of<'a>(&'a self, topic: TopicId, stored: &'a RangeSet) -> Option<Part<'a>> {
        let share = self.0.iter().find(|share| share.topic == topic)?;
        let ranges = match &share.held {
            Held::All => Cow::Borrowed(stored),
            Held::Exact(ranges) => Cow::Borrowed(ranges),
            Held::Coarse(ranges) => Cow::Owned(ranges.intersection(stored)),
        };
        Some(Part { ranges, is_coarse: self.0.iter().any(|share| matches!(share.held, Held::Coarse(_))) })
    }

    /// How many ranges all of it takes.
    #[cfg(test)]
    pub(crate) fn range_count(&self) -> usize {
        let count = |share: &Share| match &share.held {
            Held::All => 0,
            Held::Exact(ranges) | Held::Coarse(ranges) => ranges.range_count(),
        };
        self.0.iter().map(count).sum()
    }

    /// The share of a topic, made if there is none.
    fn share(&mut self, topic: TopicId, stored: &RangeSet, most: usize) -> &mut Held {
        if let Some(at) = self.0.iter().position(|share| share.topic == topic) {
            return &mut self.0[at].held;
        }
        if let [only @ Share { held: Held::All, .. }] = &mut self.0[..] {
            only.held = Held::bounded(stored.clone(), most);
        }
        let held = if self.0.is_empty() && stored.is_empty() { Held::All } else { Held::Exact(RangeSet::new()) };
        let at = self.0.len();
        self.0.push(Share { topic, held });
        &mut self.0[at].held
    }
}

impl Held {
    /// Exactly these, or roughly if they are more than `most` ranges.
    fn bounded(ranges: RangeSet, most: usize) -> Self {
        match ranges.range_count() > most {
            true => Self::Coarse(coarse(&ranges, most / 2)),
            false => Self::Exact(ranges),
        }
    }
}

/// A superset in at most `most` ranges: the narrowest gaps are closed.
pub(crate) fn coarse(ranges: &RangeSet, most: usize) -> RangeSet {
    if ranges.range_count() <= most.max(1) {
        return ranges.clone();
    }
    // Gaps between ranges that lie so close that they are held as bits: to look at each would take far more than the set.
    let ranges = ranges.hull();
    let surplus = ranges.range_count().saturating_sub(most.max(1));
    if surplus == 0 {
        return ranges;
    }
    let gaps = || ranges.iter().zip(ranges.iter().skip(1)).map(|(range, next)| (range.end, next.start));
    let mut widths: Vec<u64> = gaps().map(|(start, end)| end - start).collect();
    // The widest gap that is closed; of those as wide, more may be.
    let (_, widest, _) = widths.select_nth_unstable(surplus - 1);
    let closed = gaps().filter(|(start, end)| end - start <= *widest).map(|(start, end)| start..end);
    let mut all: Vec<_> = ranges.iter().chain(closed).collect();
    all.sort_unstable_by_key(|range| range.start);
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const MOST: usize = 8;

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn the_narrowest_gaps_are_closed() {
        let ranges = set(&[0..1, 2..3, 10..11, 12..13, 30..31]);
        assert_eq!(coarse(&ranges, 3), set(&[0..3, 10..13, 30..31]));
        assert_eq!(coarse(&ranges, 5), ranges);
        assert_eq!(coarse(&ranges, 1), std::iter::once(0..31).collect());
    }

    #[test]
    fn one_topic_takes_no_memory() {
        let (mut shares, mut stored) = (Shares::default(), RangeSet::new());
        for sequence in (0..100).step_by(2) {
            shares.note(TopicId::READINGS, sequence..sequence + 1, &stored, MOST);
            stored.insert(sequence..sequence + 1);
        }
        assert!(matches!(shares.0[..], [Share { held: Held::All, .. }]));
        let held = shares.of(TopicId::READINGS, &stored).unwrap();
        assert!(!held.is_coarse && *held.ranges == stored);
        assert!(shares.of(TopicId::at(4), &stored).is_none());
    }

    /// Whatever is stored where, and damaged: a share covers what the topic holds, and never more than S.
    #[test]
    fn a_share_holds_what_its_topic_holds_and_nothing_that_is_not_stored() {
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut shares, mut stored) = (Shares::default(), RangeSet::new());
            let mut truth = [RangeSet::new(), RangeSet::new(), RangeSet::new()];
            for _ in 0..random.random_range(1..120) {
                let topic = random.random_range(0..3);
                let start = random.random_range(0..200);
                let range = start..start + random.random_range(1..4);
                if random.random_range(0..5) > 0 {
                    for gap in stored.clone().gaps(range) {
                        shares.note(TopicId::at(topic), gap.clone(), &stored, MOST);
                        stored.insert(gap.clone());
                        truth[topic].insert(gap);
                    }
                } else if shares.of(TopicId::at(topic), &stored).is_some_and(|held| !held.is_coarse) {
                    let gone: Vec<_> = truth[topic].overlaps(range).collect();
                    for range in gone {
                        stored.remove(range.clone());
                        shares.remove(TopicId::at(topic), &range);
                        truth[topic].remove(range);
                    }
                }
                for (topic, truth) in truth.iter().enumerate() {
                    let Some(held) = shares.of(TopicId::at(topic), &stored) else {
                        assert!(truth.is_empty(), "seed {seed}");
                        continue;
                    };
                    assert!(truth.iter().all(|range| held.ranges.contains_all(range)), "seed {seed}: all of it");
                    assert!(held.ranges.iter().all(|range| stored.contains_all(range)), "seed {seed}: only S");
                    assert!(held.is_coarse || *held.ranges == *truth, "seed {seed}: exactly");
                }
            }
        }
    }
}
