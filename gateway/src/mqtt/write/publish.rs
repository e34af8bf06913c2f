//! PUBLISH (section 3.3).

use bytes::{BufMut, BytesMut};

use super::super::packet::{QoS, Version};
use super::super::properties as property;
use super::{TooLarge, Writer, put_variable, variable_length};

/// A message to a client. MQTT 3.1.1 has no properties and leaves theirs out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// How surely.
    pub qos: QoS,
    /// Whether it is a retained one, or is sent as it was published.
    pub retain: bool,
    /// Where, at most 65,535 bytes; empty if the alias says it.
    pub topic: &'a [u8],
    /// The packet id; not sent at QoS 0.
    pub id: u16,
    /// The alias that stands for the topic, or will from here on.
    pub alias: Option<u16>,
    /// What.
    pub payload: &'a [u8],
    /// Seconds that are left of its life.
    pub expiry: Option<u32>,
    /// Properties as [`super::super::packet::Properties::forwarded`] has them.
    pub forwarded: &'a [u8],
    /// The identifiers of the subscriptions that it is for.
    pub identifiers: &'a [u32],
}

impl Writer {
    /// PUBLISH.
    ///
    /// # Errors
    /// [`TooLarge`]: as if it had been sent, says section 3.1.2.11.4.
    pub fn publish(self, out: &mut BytesMut, message: &Message<'_>) -> Result<(), TooLarge> {
        let id = if message.qos == QoS::AtMostOnce { 0 } else { 2 };
        let head = 2 + message.topic.len() + id;
        let properties = message.properties_length();
        let remaining = match self.version {
            Version::V4 => head + message.payload.len(),
            Version::V5 => head + variable_length(properties) + properties + message.payload.len(),
        };
        self.fits(remaining)?;
        out.reserve(5 + remaining);
        let flags = u8::from(message.dup) << 3 | (message.qos as u8) << 1 | u8::from(message.retain);
        out.put_u8(0x30 | flags);
        put_variable(out, remaining);
        out.put_u16(message.topic.len() as u16);
        out.put_slice(message.topic);
        if id != 0 {
            out.put_u16(message.id);
        }
        if self.version == Version::V5 {
            put_variable(out, properties);
            message.put_properties(out);
        }
        out.put_slice(message.payload);
        Ok(())
    }
}

impl Message<'_> {
    fn properties_length(&self) -> usize {
        let identifiers: usize = self.identifiers.iter().map(|id| 1 + variable_length(*id as usize)).sum();
        let expiry = if self.expiry.is_some() { 5 } else { 0 };
        let alias = if self.alias.is_some() { 3 } else { 0 };
        self.forwarded.len() + identifiers + expiry + alias
    }

    fn put_properties(&self, out: &mut BytesMut) {
        if let Some(seconds) = self.expiry {
            out.put_u8(property::MESSAGE_EXPIRY);
            out.put_u32(seconds);
        }
        if let Some(alias) = self.alias {
            out.put_u8(property::TOPIC_ALIAS);
            out.put_u16(alias);
        }
        for id in self.identifiers {
            out.put_u8(property::SUBSCRIPTION_IDENTIFIER);
            put_variable(out, *id as usize);
        }
        out.put_slice(self.forwarded);
    }
}
