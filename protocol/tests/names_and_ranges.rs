//! Small nouns: names, topics, restarts, and range sets against the obvious set of numbers.
#![cfg(feature = "std")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::name::{MAX_NAME, Name, NameError};
use weir_protocol::{AgentId, RangeSet, Restart, Tenant};

#[test]
fn a_name_that_is_refused_says_which_byte() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new("a/b"), Err(NameError::BadByte { position: 1, byte: b'/' }));
    assert_eq!(Name::new(".hidden"), Err(NameError::BadByte { position: 0, byte: b'.' }));
    assert_eq!(Name::new(&"x".repeat(MAX_NAME + 1)), Err(NameError::TooLong(MAX_NAME + 1)));
    for wild in ["+", "#", "$share", "a b", "ä"] {
        assert!(Name::new(wild).is_err(), "{wild}");
    }
    assert_eq!(Name::new("aa:bb-1_x.y").expect("good").as_str(), "aa:bb-1_x.y");
}

#[test]
fn a_topic_is_ours_only_whole() {
    let topic =
        Topic { tenant: Tenant::DEFAULT, agent: AgentId::new("box-7").expect("a name"), purpose: Purpose::Batch };
    assert_eq!(topic.to_string(), "weir/1/default/box-7/batch");
    assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
    for other in
        ["weir/1/default/box-7", "weir/1/default/box-7/batch/x", "weir/2/default/box-7/batch", "weir/1/+/a/batch", ""]
    {
        assert_eq!(Topic::parse(other), None, "{other}");
    }
}

#[test]
fn device_and_agent_number_restarts_apart() {
    assert_eq!(Restart::from_boot(3, 0xffff_ffff).boot(), Some(3));
    assert!(!Restart::from_boot(u32::MAX, u32::MAX).is_from_agent());
    assert!(Restart::from_agent(3).is_from_agent());
    assert_ne!(Restart::from_boot(1, 0), Restart::UNBOUND);
}

/// An operation on a set of small numbers.
#[derive(Clone, Debug)]
enum Op {
    Insert(u64, u64),
    Remove(u64, u64),
}

proptest! {
    #[test]
    fn a_range_set_is_a_set(
        ops in prop::collection::vec((any::<bool>(), 0..60u64, 0..12u64).prop_map(|(insert, start, length)| {
            if insert { Op::Insert(start, start + length) } else { Op::Remove(start, start + length) }
        }), 0..40),
        probe in 0..60u64, width in 0..20u64,
    ) {
        let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
        for op in ops {
            match op {
                Op::Insert(a, b) => { set.insert(a..b); model.extend(a..b); }
                Op::Remove(a, b) => { set.remove(a..b); model.retain(|n| !(a..b).contains(n)); }
            }
        }
        prop_assert_eq!(set.iter().flatten().collect::<BTreeSet<_>>(), model.clone());
        prop_assert_eq!(set.len(), model.len() as u64);
        let ranges: Vec<_> = set.iter().collect();
        prop_assert!(ranges.windows(2).all(|w| w[0].end < w[1].start), "disjoint, ascending, joined: {:?}", ranges);
        let (whole, split) = (set.clone(), model.iter().copied().partition::<BTreeSet<_>, _>(|n| n % 3 > 0));
        let mut halves = [split.0, split.1].map(|half| half.into_iter().map(|n| n..n + 1).collect::<RangeSet>());
        let [one, other] = &mut halves;
        one.union(other);
        prop_assert_eq!(&*one, &whole, "a union is all of both");
        let range = probe..probe + width;
        let inside: BTreeSet<_> = range.clone().filter(|n| model.contains(n)).collect();
        prop_assert_eq!(set.contains(probe), model.contains(&probe));
        prop_assert_eq!(set.contains_all(range.clone()), inside.len() as u64 == width);
        prop_assert_eq!(set.intersects(range.clone()), !inside.is_empty());
        prop_assert_eq!(set.overlaps(range.clone()).flatten().collect::<BTreeSet<_>>(), inside.clone());
        prop_assert_eq!(set.gaps(range.clone()).flatten().collect::<BTreeSet<_>>(), range.filter(|n| !inside.contains(n)).collect());
    }
}
