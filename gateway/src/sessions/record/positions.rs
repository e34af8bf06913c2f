//! `session u64`, then positions: `count u16`, for each `topic (length u16, UTF-8), partition u32, offset u64`.

use super::{begin_of, begun_of};
use crate::delivery::{Position, Positions};
use crate::keyed_log::fields::{Input, Malformed, put_text};

/// Replaces `out` by the value.
pub fn encode(number: u64, positions: &Positions, out: &mut Vec<u8>) {
    begin_of(out, number);
    put(positions, out);
}

/// Reads one: the number of the session, and its positions.
///
/// # Errors
/// [`Malformed`].
pub fn decode(value: &[u8]) -> Result<(u64, Positions), Malformed> {
    let (number, mut input) = begun_of(value)?;
    let positions = take(&mut input)?;
    input.end()?;
    Ok((number, positions))
}

/// Adds positions. There are as many as partitions, which are far fewer than 64 Ki.
pub(super) fn put(positions: &Positions, out: &mut Vec<u8>) {
    let count = u16::try_from(positions.len()).unwrap_or(u16::MAX);
    out.extend(count.to_be_bytes());
    for Position { topic, partition, offset } in positions.iter().take(usize::from(count)) {
        put_text(out, topic);
        out.extend(partition.to_be_bytes());
        out.extend(offset.to_be_bytes());
    }
}

/// Reads what [`put`] added. What is there twice is there once.
pub(super) fn take(input: &mut Input<'_>) -> Result<Positions, Malformed> {
    let count = u16::from_be_bytes(input.take("count")?);
    let mut position = || {
        Ok(Position {
            topic: input.text("topic")?.into(),
            partition: u32::from_be_bytes(input.take("partition")?),
            offset: u64::from_be_bytes(input.take("offset")?),
        })
    };
    (0..count).map(|_| position()).collect()
}
