//! What one sample is in flash: all its values in one item, so that a power cut leaves all or nothing.
//!
//! ```text
//! version u8 | restart u64 LE | schema u32 LE | first varint | time varint | clock u8 | values, postcard Items
//! ```
//!
//! Each item names its restart and schema: whatever page is lost, the rest still says what it is. A sample of
//! an SHT4x takes 45 to 50 bytes with the header of the item.

use heapless::Vec;
use serde::{Deserialize, Serialize};
use weir_protocol::items::ItemsWriter;
use weir_protocol::{ChannelId, Clock, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value};

use crate::ring::Sample;

/// The longest item, a bound of the format: an item of another firmware version fits the buffer too.
pub(super) const MAX_ITEM: usize = 256;
/// The most bytes of values in an item.
const MAX_ENCODED_VALUES: usize = MAX_ITEM - 40;
/// Other versions are not read: their readings count as damaged.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Item<'a> {
    version: u8,
    #[serde(with = "postcard::fixint::le")]
    restart: u64,
    #[serde(with = "postcard::fixint::le")]
    schema: u32,
    first: u64,
    time: Timestamp,
    clock: Clock,
    #[serde(borrow)]
    values: Items<'a, (ChannelId, Value<'a>)>,
}

impl<'a> Item<'a> {
    /// The item that `bytes` hold, if they are one of this version.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok().filter(|item: &Self| item.version == VERSION)
    }

    pub(super) fn restart(&self) -> Restart {
        Restart(self.restart)
    }

    pub(super) fn schema(&self) -> SchemaHash {
        SchemaHash(self.schema)
    }

    /// The sequence of the first value.
    pub(super) fn first(&self) -> Sequence {
        Sequence(self.first)
    }

    /// The first sequence after its values.
    pub(super) fn end(&self) -> Sequence {
        let count = self.values.iter().take_while(Result::is_ok).count();
        Sequence(self.first.saturating_add(count as u64))
    }

    /// Its readings with their sequences.
    pub(super) fn readings(&self) -> impl Iterator<Item = (Sequence, Reading<'a>)> {
        let (time, clock) = (self.time, self.clock);
        self.values
            .iter()
            .map_while(Result::ok)
            .zip(self.first..)
            .map(move |((channel, value), sequence)| (Sequence(sequence), Reading { channel, time, clock, value }))
    }
}

/// Encodes `sample` as the item at `first` of a restart, or `None` if it is too large.
pub(super) fn encode(
    restart: Restart,
    schema: SchemaHash,
    first: Sequence,
    sample: &Sample,
) -> Option<Vec<u8, MAX_ITEM>> {
    let mut buffer = [0; MAX_ENCODED_VALUES];
    let mut writer = ItemsWriter::new(&mut buffer);
    for value in &sample.values {
        if !writer.push(value) {
            return None;
        }
    }
    let item = Item {
        version: VERSION,
        restart: restart.0,
        schema: schema.0,
        first: first.0,
        time: sample.time,
        clock: sample.clock,
        values: writer.finish(),
    };
    let mut bytes = Vec::new();
    bytes.resize_default(MAX_ITEM).ok()?;
    let length = postcard::to_slice(&item, &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}
