//! CONNACK (section 3.2).

use bytes::{BufMut, BytesMut};

use super::super::packet::Version;
use super::super::properties as property;
use super::{Tail, TooLarge, Writer, put_text, put_variable};

/// What a client that was let in learns. MQTT 3.1.1 has only `session_present`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnAck<'a> {
    /// Whether the gateway goes on with a session that it has.
    pub session_present: bool,
    /// How many messages above QoS 0 the client may send unacknowledged; not 0.
    pub receive_maximum: u16,
    /// The largest packet that the client may send, in bytes; not 0.
    pub max_packet: u32,
    /// The highest topic alias that the client may use.
    pub topic_alias_maximum: u16,
    /// Seconds that the session outlives the connection, if that is not what the client asked for.
    pub session_expiry: Option<u32>,
    /// The client id, if the gateway chose it.
    pub assigned_client_id: Option<&'a str>,
    /// Seconds of silence that the client may allow itself, if that is not what it asked for.
    pub server_keep_alive: Option<u16>,
    /// Where the client may have responses sent, if it asked.
    pub response_information: Option<&'a str>,
    /// A name and a value of the server's own; left out where they do not fit.
    pub user_property: Option<(&'a str, &'a str)>,
}

impl Writer {
    /// CONNACK: accepted.
    ///
    /// # Errors
    /// [`TooLarge`]: the client takes not even this packet, and cannot be served.
    pub fn accepted(self, out: &mut BytesMut, ack: &ConnAck<'_>) -> Result<(), TooLarge> {
        let present = u8::from(ack.session_present);
        if self.version == Version::V4 {
            self.fits(2)?;
            out.put_slice(&[0x20, 2, present, 0]);
            return Ok(());
        }
        let mut properties = BytesMut::new();
        ack.put_properties(&mut properties);
        let remaining_with = |properties: usize| 2 + super::variable_length(properties) + properties;
        if let Some((name, value)) = ack.user_property
            && self.fits(remaining_with(properties.len() + 5 + name.len() + value.len())).is_ok()
        {
            properties.put_u8(property::USER_PROPERTY);
            put_text(&mut properties, name);
            put_text(&mut properties, value);
        }
        let remaining = remaining_with(properties.len());
        self.fits(remaining)?;
        out.put_u8(0x20);
        put_variable(out, remaining);
        out.put_slice(&[present, 0]);
        put_variable(out, properties.len());
        out.put_slice(&properties);
        Ok(())
    }

    /// CONNACK: refused, with the code of the client's version and, for MQTT 5, a sentence of at most
    /// [`super::MAX_REASON`] bytes.
    pub fn refused(self, out: &mut BytesMut, code: u8, text: &str) {
        match self.version {
            Version::V4 => out.put_slice(&[0x20, 2, 0, code]),
            Version::V5 => self.told(out, 0x20, &[0, code], text, Tail::Length),
        }
    }
}

impl ConnAck<'_> {
    /// Properties of section 3.2.2.3. What is left out has the value that is meant: QoS 2, retained messages, wildcards and
    /// subscription identifiers are available.
    fn put_properties(&self, out: &mut BytesMut) {
        if let Some(seconds) = self.session_expiry {
            out.put_u8(property::SESSION_EXPIRY);
            out.put_u32(seconds);
        }
        out.put_u8(property::RECEIVE_MAXIMUM);
        out.put_u16(self.receive_maximum);
        out.put_u8(property::MAXIMUM_PACKET_SIZE);
        out.put_u32(self.max_packet);
        if let Some(client_id) = self.assigned_client_id {
            out.put_u8(property::ASSIGNED_CLIENT_ID);
            put_text(out, client_id);
        }
        if self.topic_alias_maximum > 0 {
            out.put_u8(property::TOPIC_ALIAS_MAXIMUM);
            out.put_u16(self.topic_alias_maximum);
        }
        out.put_slice(&[property::SHARED_SUBSCRIPTION_AVAILABLE, 0]);
        if let Some(seconds) = self.server_keep_alive {
            out.put_u8(property::SERVER_KEEP_ALIVE);
            out.put_u16(seconds);
        }
        if let Some(topic) = self.response_information {
            out.put_u8(property::RESPONSE_INFORMATION);
            put_text(out, topic);
        }
    }
}
