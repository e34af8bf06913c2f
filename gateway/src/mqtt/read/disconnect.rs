//! DISCONNECT (section 3.14).

use super::super::input::Input;
use super::super::malformed::Malformed;
use super::super::packet::{Disconnect, Version};
use super::super::properties::{self as property, each, once};

/// The reason codes that a client may give (section 3.14.2.1).
const CODES: &[u8] = &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

pub(super) fn read(input: &mut Input<'_>, version: Version) -> Result<Disconnect, Malformed> {
    if version == Version::V4 || input.is_empty() {
        return Ok(Disconnect { reason: 0, session_expiry: None });
    }
    let reason = input.byte()?;
    // [MQTT-3.14.2-1]
    if !CODES.contains(&reason) {
        return Err(Malformed::protocol("a reason code that a client may not give"));
    }
    let (mut session_expiry, mut text) = (None, None);
    if !input.is_empty() {
        each(input, |id, value| match id {
            property::SESSION_EXPIRY => once(&mut session_expiry, value.four()?),
            property::REASON_STRING => once(&mut text, value.text()?.len()),
            property::USER_PROPERTY => property::user(value),
            _ => Err(property::NOT_HERE),
        })?;
    }
    Ok(Disconnect { reason, session_expiry })
}
