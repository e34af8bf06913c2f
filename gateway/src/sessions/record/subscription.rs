//! `session u64, options u8, identifier u32`, then positions as in [`super::positions`]: where it began. The options are those
//! of MQTT 5, section 3.8.3.1: QoS in bits 0 and 1, no local 2, retain as published 3, retain handling 4 and 5. Identifier
//! 0: none.

use super::{begin_of, begun_of, positions};
use crate::delivery::Subscription;
use crate::keyed_log::fields::Malformed;
use crate::mqtt::packet::{Filter, QoS, RetainHandling};

/// Replaces `out` by the value.
pub fn encode(number: u64, subscription: &Subscription, out: &mut Vec<u8>) {
    let Filter { qos, no_local, retain_as_published, retain_handling, .. } = &subscription.filter;
    let handling = match retain_handling {
        RetainHandling::Always => 0,
        RetainHandling::IfNew => 1,
        RetainHandling::Never => 2,
    };
    begin_of(out, number);
    out.push(*qos as u8 | u8::from(*no_local) << 2 | u8::from(*retain_as_published) << 3 | handling << 4);
    out.extend(subscription.identifier.unwrap_or(0).to_be_bytes());
    positions::put(&subscription.since, out);
}

/// Reads the subscription to `filter`: the number of the session, and what it asked for.
///
/// # Errors
/// [`Malformed`].
pub fn decode(filter: &str, value: &[u8]) -> Result<(u64, Subscription), Malformed> {
    const FIELD: Malformed = Malformed::Field { field: "options" };
    let (number, mut input) = begun_of(value)?;
    let options = input.byte("options")?;
    let qos = match options & 3 {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        2 => QoS::ExactlyOnce,
        _ => return Err(FIELD),
    };
    let retain_handling = match options >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(FIELD),
    };
    let (no_local, retain_as_published) = (options & 4 != 0, options & 8 != 0);
    let identifier = u32::from_be_bytes(input.take("identifier")?);
    let since = positions::take(&mut input)?;
    input.end()?;
    let filter = Filter { filter: filter.to_owned(), qos, no_local, retain_as_published, retain_handling };
    Ok((number, Subscription { filter, identifier: (identifier != 0).then_some(identifier), since }))
}
