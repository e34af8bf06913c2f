//! CONNACK: what a client that was let in learns.

use bytes::BytesMut;
use weir_protocol::mqtt::SERVER_PROPERTY;

use super::refusal::Refusal;
use super::session::Limits;
use super::session::aliases::MAX_ALIASES;
use crate::access::Identity;
use crate::mqtt::packet::Connect;
use crate::mqtt::read::MAX_PACKET;
use crate::mqtt::write::{ConnAck, Writer};

/// The longest keep alive, in seconds. A client that allows itself more, or any silence, is told this one: its peer may be
/// gone without a word.
const MAX_KEEP_ALIVE: u16 = 2400;

/// The keep alive that holds for a client which asked for `asked` seconds.
pub(super) fn keep_alive(asked: u16) -> u16 {
    if asked == 0 { MAX_KEEP_ALIVE } else { asked.min(MAX_KEEP_ALIVE) }
}

/// What is agreed on.
pub(super) struct Agreed<'a> {
    pub(super) identity: &'a Identity,
    pub(super) session_present: bool,
    /// Seconds that the session outlives its connection.
    pub(super) session_expiry: u32,
}

/// Writes CONNACK.
///
/// # Errors
/// [`Refusal::PacketTooLarge`]: the client takes not even this one.
pub(super) fn greet(
    writer: Writer,
    connect: &Connect,
    limits: Limits,
    agreed: &Agreed<'_>,
    out: &mut BytesMut,
) -> Result<(), Refusal> {
    let Agreed { identity, session_present, session_expiry } = *agreed;
    let keep_alive = keep_alive(connect.keep_alive);
    let ack = ConnAck {
        session_present,
        receive_maximum: limits.receive_maximum,
        max_packet: u32::try_from(MAX_PACKET).unwrap_or(u32::MAX),
        topic_alias_maximum: MAX_ALIASES,
        session_expiry: (session_expiry != connect.session_expiry).then_some(session_expiry),
        // [MQTT-3.1.3-7]
        assigned_client_id: connect.client_id.is_empty().then(|| identity.client.as_str()),
        server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
        response_information: None,
        user_property: Some((SERVER_PROPERTY, env!("CARGO_PKG_VERSION"))),
    };
    writer.accepted(out, &ack).map_err(|_| Refusal::PacketTooLarge)
}
