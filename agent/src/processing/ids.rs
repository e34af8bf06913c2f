//! Ids of the channels that rules make: summaries, and channels with another unit or kind than the device describes.
//!
//! What an id has been once at the gateway it has to stay, or its readings become dead letters (`unit-changed`): a device's
//! own ids go on meaning what the device says. So what a rule makes has an id of its own that follows from its name, unit
//! and kind: it is the same after any restart, whatever rules are added beside it.

use std::collections::BTreeSet;
use std::ops::Range;

use weir_protocol::{ChannelId, ValueKind};

/// Above what the agent gives its own sources, and two bytes in a batch.
const PLACES: Range<u16> = 256..16_384;
/// What is neither a source's nor a rule's begins here.
pub(crate) const ABOVE_RULES: ChannelId = ChannelId(PLACES.end);

/// Gives ids to the channels of one plan.
pub(super) struct Ids {
    taken: BTreeSet<ChannelId>,
}

impl Ids {
    /// None of these is given.
    pub(super) fn beside(taken: impl IntoIterator<Item = ChannelId>) -> Self {
        Self { taken: taken.into_iter().collect() }
    }

    /// The id of a channel; of two with one hash the second has the next that is free.
    pub(super) fn of(&mut self, name: &str, unit: &str, kind: ValueKind) -> ChannelId {
        let text = format!("{name}\0{unit}\0{kind:?}");
        // FNV-1a, as schema hashes.
        let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let places = PLACES.end - PLACES.start;
        let first = (hash % u32::from(places)) as u16;
        let place = |at: u16| ChannelId(PLACES.start + (first + at) % places);
        // Descriptions have at most 256 channels, so that one is free.
        let id = (0..places).map(place).find(|id| !self.taken.contains(id)).unwrap_or(place(0));
        self.taken.insert(id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_what_the_channel_is_and_is_given_once() {
        let id = |name: &str, unit: &str, kind| Ids::beside([]).of(name, unit, kind);
        let inside = id("inside", "K", ValueKind::Float);
        assert_eq!(inside, id("inside", "K", ValueKind::Float));
        for other in [
            id("inside", "Cel", ValueKind::Float),
            id("inside", "K", ValueKind::Double),
            id("in", "K", ValueKind::Float),
        ] {
            assert_ne!(inside, other);
        }
        let mut beside = Ids::beside([inside]);
        let (moved, third) = (beside.of("inside", "K", ValueKind::Float), beside.of("inside", "K", ValueKind::Float));
        assert_eq!((moved.0, third.0), (inside.0 + 1, inside.0 + 2));
        assert!(PLACES.contains(&inside.0) && PLACES.contains(&third.0));
    }
}
