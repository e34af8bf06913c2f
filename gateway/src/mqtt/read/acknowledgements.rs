//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7).

use super::super::input::Input;
use super::super::malformed::Malformed;
use super::super::packet::{Ack, Version};
use super::super::properties::{self as property, each, once};

/// The reason codes of each ([MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]).
pub(super) const PUBACK: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
pub(super) const PUBREC: &[u8] = PUBACK;
pub(super) const PUBREL: &[u8] = &[0x00, 0x92];
pub(super) const PUBCOMP: &[u8] = PUBREL;

/// Reads one whose reason code may be one of `codes`; what is left out means success.
pub(super) fn read(input: &mut Input<'_>, version: Version, codes: &[u8]) -> Result<Ack, Malformed> {
    let id = input.packet_id()?;
    if version == Version::V4 || input.is_empty() {
        return Ok(Ack { id, reason: 0 });
    }
    let reason = input.byte()?;
    if !codes.contains(&reason) {
        return Err(Malformed::protocol("a reason code that this packet may not have"));
    }
    if !input.is_empty() {
        reasons(input)?;
    }
    Ok(Ack { id, reason })
}

/// A reason string and user properties, which are for people.
fn reasons(input: &mut Input<'_>) -> Result<(), Malformed> {
    let mut text = None;
    each(input, |id, value| match id {
        property::REASON_STRING => once(&mut text, value.text()?.len()),
        property::USER_PROPERTY => property::user(value),
        _ => Err(property::NOT_HERE),
    })
}
