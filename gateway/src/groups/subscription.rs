//! What consumers say to each other through the coordinator, as far as it reads along: which topics a member subscribes
//! to, and which partitions it was given.
//!
//! Format (big endian), that of `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json` of Apache
//! Kafka, whose later versions only add behind it: version i16, count i32, then topics (length i16, UTF-8), in an
//! assignment each with a count i32 and partitions i32. Other kinds of groups (Kafka Connect) say something else; of them
//! nothing is read.

use std::collections::BTreeSet;

/// The topics of a subscription, in order; `None` if it is none.
pub(super) fn topics(metadata: &[u8]) -> Option<BTreeSet<&str>> {
    let mut input = Input(metadata);
    input.version()?;
    (0..input.count()?).map(|_| input.text()).collect()
}

/// Topics and partitions of an assignment; `None` if it is none.
pub fn partitions(assignment: &[u8]) -> Option<Vec<(&str, Vec<i32>)>> {
    let mut input = Input(assignment);
    input.version()?;
    let topics = input.count()?;
    let mut found = Vec::new();
    for _ in 0..topics {
        let topic = input.text()?;
        let partitions: Option<Vec<i32>> = (0..input.count()?).map(|_| input.int()).collect();
        found.push((topic, partitions?));
    }
    Some(found)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn version(&mut self) -> Option<()> {
        (i16::from_be_bytes(self.take()?) >= 0).then_some(())
    }

    fn int(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    /// A count; what it counts is read one by one, so a lie ends where the bytes end.
    fn count(&mut self) -> Option<u32> {
        u32::try_from(self.int()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(i16::from_be_bytes(self.take()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_partitions_are_read_and_a_lie_is_not_believed() {
        let subscription = b"\x00\x01\x00\x00\x00\x02\x00\x01b\x00\x01a\xff\xff\xff\xff";
        assert_eq!(topics(subscription), Some(BTreeSet::from(["a", "b"])));
        let assignment = b"\x00\x00\x00\x00\x00\x01\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03";
        assert_eq!(partitions(assignment), Some(vec![("a", vec![0, 3])]));
        for lie in [&b""[..], b"\x00\x00", b"\x00\x00\x7f\xff\xff\xff\x00\x01a", b"\x00\x00\x00\x00\x00\x01\x7f\xffa"] {
            assert_eq!(topics(lie), None);
            assert_eq!(partitions(lie), None);
        }
        assert_eq!(topics(b"\x00\x00\xff\xff\xff\xff"), None, "a count below 0");
    }
}
