//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10). Whether a filter is one is answered filter by filter, not here.

use super::super::input::Input;
use super::super::malformed::Malformed;
use super::super::packet::{Filter, QoS, RetainHandling, Subscribe, Unsubscribe, Version};
use super::super::properties::{self as property, each, once};
use super::super::topic;

/// Subscription options (section 3.8.3.1); 3.1.1 has the QoS alone.
const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RESERVED: u8 = 0xc0;
const RESERVED_V4: u8 = 0xfc;

pub(super) fn read(input: &mut Input<'_>, version: Version) -> Result<Subscribe, Malformed> {
    let id = input.packet_id()?;
    let mut identifier = None;
    if version == Version::V5 {
        each(input, |id, value| match id {
            property::SUBSCRIPTION_IDENTIFIER => match value.variable()? {
                0 => Err(Malformed::protocol("a subscription identifier of 0")),
                number => once(&mut identifier, number),
            },
            property::USER_PROPERTY => property::user(value),
            _ => Err(property::NOT_HERE),
        })?;
    }
    // [MQTT-3.8.3-2]
    if input.is_empty() {
        return Err(Malformed::protocol("a SUBSCRIBE without a filter"));
    }
    let mut filters = Vec::new();
    while !input.is_empty() {
        filters.push(filter(input, version)?);
    }
    Ok(Subscribe { id, identifier, filters })
}

fn filter(input: &mut Input<'_>, version: Version) -> Result<Filter, Malformed> {
    let filter = input.text()?.to_owned();
    let options = input.byte()?;
    // [MQTT-3.8.3-5]
    if options & if version == Version::V4 { RESERVED_V4 } else { RESERVED } != 0 {
        return Err(Malformed::new("reserved options of a subscription"));
    }
    let qos = match options & 3 {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        2 => QoS::ExactlyOnce,
        _ => return Err(Malformed::protocol("a subscription with QoS 3")),
    };
    let retain_handling = match (options >> 4) & 3 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(Malformed::protocol("a subscription with retain handling 3")),
    };
    let no_local = options & NO_LOCAL != 0;
    // [MQTT-3.8.3-4]
    if no_local && topic::is_shared(&filter) {
        return Err(Malformed::protocol("a shared subscription with no local"));
    }
    Ok(Filter { filter, qos, no_local, retain_as_published: options & RETAIN_AS_PUBLISHED != 0, retain_handling })
}

pub(super) fn read_unsubscribe(input: &mut Input<'_>, version: Version) -> Result<Unsubscribe, Malformed> {
    let id = input.packet_id()?;
    if version == Version::V5 {
        each(input, |id, value| match id {
            property::USER_PROPERTY => property::user(value),
            _ => Err(property::NOT_HERE),
        })?;
    }
    // [MQTT-3.10.3-2]
    if input.is_empty() {
        return Err(Malformed::protocol("an UNSUBSCRIBE without a filter"));
    }
    let mut filters = Vec::new();
    while !input.is_empty() {
        filters.push(input.text()?.to_owned());
    }
    Ok(Unsubscribe { id, filters })
}
