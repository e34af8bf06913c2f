//! The records of `weir.offsets`, version 1.
//!
//! ```text
//! key    version u8 = 1, kind u8, group (length u16, UTF-8); of an offset also topic (the same), partition u32
//! value  of an offset (kind 1): version u8 = 1, offset u64, leader epoch i32, clock i64, metadata (length u16, UTF-8)
//!        of a group (kind 2):   version u8 = 1, in use u8 (0 or 1), clock i64
//!        none: the offset was deleted, or the group forgotten
//! ```
//!
//! Numbers are big endian; the clock is that of [`crate::keyed_log::clock`]; the record's timestamp is the wall clock. The checksum is
//! that of the batch. Nothing follows the last field; a reader leaves alone what is of another version or kind, so that a
//! newer build may write one, and compaction keeps it by its key like any other.

use super::Committed;
use crate::keyed_log::fields::{Input, Malformed, put_text};

const VERSION: u8 = 1;
const OFFSET: u8 = 1;
const GROUP: u8 = 2;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An offset of a group.
    Offset {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// The partition.
        partition: u32,
    },
    /// A group itself.
    Group(&'a str),
}

/// Whether a group has members, and since when on the clock of the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// It has, or it had when the gateway ended.
    pub in_use: bool,
    /// Since when, in milliseconds of [`crate::keyed_log::clock`].
    pub clock_ms: i64,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An offset; `None` if it was deleted.
    Offset(Option<Committed>),
    /// Whether a group has members; `None` if it was forgotten.
    Group(Option<Usage>),
}

impl Key<'_> {
    /// Replaces `out` by its bytes. Names are shorter than 64 KiB.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Offset { group, topic, partition } => {
                out.extend([VERSION, OFFSET]);
                put_text(out, group);
                put_text(out, topic);
                out.extend(partition.to_be_bytes());
            }
            Self::Group(group) => {
                out.extend([VERSION, GROUP]);
                put_text(out, group);
            }
        }
    }
}

impl Committed {
    /// Replaces `out` by the value of its record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(VERSION);
        out.extend(self.offset.to_be_bytes());
        out.extend(self.leader_epoch.to_be_bytes());
        out.extend(self.clock_ms.to_be_bytes());
        put_text(out, &self.metadata);
    }
}

impl Usage {
    /// Replaces `out` by the value of its record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend([VERSION, u8::from(self.in_use)]);
        out.extend(self.clock_ms.to_be_bytes());
    }
}

/// Reads a record that was written at `timestamp_ms`.
///
/// # Errors
/// [`Malformed`].
pub fn decode<'a>(key: &'a [u8], value: Option<&[u8]>, timestamp_ms: i64) -> Result<(Key<'a>, Said), Malformed> {
    let mut input = Input(key);
    input.version(VERSION)?;
    let kind = input.byte("kind")?;
    let group = input.text("group")?;
    let decoded = match kind {
        OFFSET => {
            let (topic, partition) = (input.text("topic")?, u32::from_be_bytes(input.take("partition")?));
            let committed = value.map(|value| decode_offset(value, timestamp_ms)).transpose()?;
            (Key::Offset { group, topic, partition }, Said::Offset(committed))
        }
        GROUP => (Key::Group(group), Said::Group(value.map(decode_usage).transpose()?)),
        got => return Err(Malformed::Kind { got }),
    };
    input.end()?;
    Ok(decoded)
}

fn decode_offset(value: &[u8], at_ms: i64) -> Result<Committed, Malformed> {
    let mut input = Input(value);
    input.version(VERSION)?;
    let committed = Committed {
        offset: u64::from_be_bytes(input.take("offset")?),
        leader_epoch: i32::from_be_bytes(input.take("leader epoch")?),
        clock_ms: i64::from_be_bytes(input.take("clock")?),
        metadata: input.text("metadata")?.into(),
        at_ms,
    };
    input.end()?;
    Ok(committed)
}

fn decode_usage(value: &[u8]) -> Result<Usage, Malformed> {
    let mut input = Input(value);
    input.version(VERSION)?;
    let in_use = input.flag("in use")?;
    let usage = Usage { in_use, clock_ms: i64::from_be_bytes(input.take("clock")?) };
    input.end()?;
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 as it is on disks. Never edited: another version is another number.
    #[test]
    fn version_1_is_what_it_was() {
        let key = Key::Offset { group: "lake", topic: "readings", partition: 3 };
        let committed =
            Committed { offset: 42, leader_epoch: -1, metadata: "m".into(), at_ms: 1_795_230_000_000, clock_ms: 5_000 };
        let pinned_key = b"\x01\x01\x00\x04lake\x00\x08readings\x00\x00\x00\x03";
        let pinned = b"\x01\x00\x00\x00\x00\x00\x00\x00\x2a\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x13\x88\x00\x01m";
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        assert_eq!(bytes, pinned_key);
        committed.encode(&mut bytes);
        assert_eq!(bytes, pinned);
        let said = decode(pinned_key, Some(pinned), 1_795_230_000_000);
        assert_eq!(said, Ok((key, Said::Offset(Some(committed)))));
        assert_eq!(decode(pinned_key, None, 0), Ok((key, Said::Offset(None))));

        let (key, usage) = (Key::Group("lake"), Usage { in_use: true, clock_ms: 5_000 });
        let (pinned_key, pinned) = (b"\x01\x02\x00\x04lake", b"\x01\x01\x00\x00\x00\x00\x00\x00\x13\x88");
        key.encode(&mut bytes);
        assert_eq!(bytes, pinned_key);
        usage.encode(&mut bytes);
        assert_eq!(bytes, pinned);
        assert_eq!(decode(pinned_key, Some(pinned), 0), Ok((key, Said::Group(Some(usage)))));
    }

    #[test]
    fn what_is_none_of_ours_is_refused_byte_by_byte() {
        let key = b"\x01\x01\x00\x01g\x00\x01t\x00\x00\x00\x03";
        let value = b"\x01\x00\x00\x00\x00\x00\x00\x00\x2a\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x13\x88\x00\x01m";
        assert!(decode(key, Some(value), 0).is_ok());
        for end in 0..key.len() {
            assert!(decode(&key[..end], None, 0).is_err());
        }
        for end in 0..value.len() {
            assert!(decode(key, Some(&value[..end]), 0).is_err());
        }
        assert_eq!(decode(b"\x02\x01\x00\x00", None, 0), Err(Malformed::Version { got: 2, expected: 1 }));
        assert_eq!(decode(b"\x01\x09\x00\x00", None, 0), Err(Malformed::Kind { got: 9 }));
        assert_eq!(decode(b"\x01\x02\x00\x01gx", None, 0), Err(Malformed::Field { field: "end" }));
        assert_eq!(decode(b"\x01\x02\x00\x01\xff", None, 0), Err(Malformed::Field { field: "group" }));
    }
}
