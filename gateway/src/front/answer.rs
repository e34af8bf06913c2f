//! Packets out: what the gateway answers, in the version of the client.
//!
//! Formats: OASIS MQTT 3.1.1 and 5.0, chapter 3. Every answer is small; they are collected in one buffer and
//! leave with one write.

use bytes::{BufMut, BytesMut};

use super::refusal::Refusal;
use super::wire::{MAX_PACKET, Version};

/// Writes the answers to one client.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The version that the client speaks.
    pub version: Version,
    /// Whether it wants reason strings; only MQTT 5 has them.
    pub reasons: bool,
}

impl Answer {
    /// CONNACK: accepted. There is never a session to go on with: what the agent has not seen acknowledged,
    /// it sends again.
    pub fn accepted(self, out: &mut BytesMut, receive_maximum: u16) {
        if self.version == Version::V4 {
            return out.put_slice(&[0x20, 2, 0, 0]);
        }
        let most = u32::try_from(MAX_PACKET).unwrap_or(u32::MAX).to_be_bytes();
        let window = receive_maximum.to_be_bytes();
        out.put_slice(&[0x20, 17, 0, 0, 14]);
        out.put_slice(&[0x21, window[0], window[1]]); // Receive Maximum
        out.put_slice(&[0x24, 1]); // Maximum QoS
        out.put_slice(&[0x27, most[0], most[1], most[2], most[3]]); // Maximum Packet Size
        out.put_slice(&[0x29, 0, 0x2a, 0]); // no subscription identifiers, no shared subscriptions
    }

    /// CONNACK: refused.
    pub fn refused(self, out: &mut BytesMut, refusal: Refusal) {
        let code = refusal.connack_code(self.version);
        match self.version {
            Version::V4 => out.put_slice(&[0x20, 2, 0, code]),
            Version::V5 => self.with_reason(out, 0x20, &[0, code], refusal.text()),
        }
    }

    /// PUBACK: success.
    pub fn acknowledged(self, out: &mut BytesMut, pkid: u16) {
        let [high, low] = pkid.to_be_bytes();
        out.put_slice(&[0x40, 2, high, low]);
    }

    /// PUBACK with a reason code; on 3.1.1, which has none, a plain one.
    pub fn acknowledged_with(self, out: &mut BytesMut, pkid: u16, code: u8, text: &str) {
        let [high, low] = pkid.to_be_bytes();
        match self.version {
            Version::V4 => self.acknowledged(out, pkid),
            Version::V5 => self.with_reason(out, 0x40, &[high, low, code], text),
        }
    }

    /// SUBACK; one code per filter.
    pub fn subscribed(self, out: &mut BytesMut, pkid: u16, codes: &[u8]) {
        self.listed(out, 0x90, pkid, codes);
    }

    /// UNSUBACK; one code per filter, which 3.1.1 leaves out.
    pub fn unsubscribed(self, out: &mut BytesMut, pkid: u16, codes: &[u8]) {
        self.listed(out, 0xb0, pkid, if self.version == Version::V4 { &[] } else { codes });
    }

    /// PINGRESP.
    pub fn pong(self, out: &mut BytesMut) {
        out.put_slice(&[0xd0, 0]);
    }

    /// PUBLISH at QoS 1 if `pkid` is not 0.
    pub fn publish(self, out: &mut BytesMut, topic: &str, pkid: u16, payload: &[u8]) {
        let properties = usize::from(self.version == Version::V5);
        let id = if pkid == 0 { 0 } else { 2 };
        out.put_u8(if pkid == 0 { 0x30 } else { 0x32 });
        put_length(out, 2 + topic.len() + id + properties + payload.len());
        put_text(out, topic);
        if pkid != 0 {
            out.put_u16(pkid);
        }
        out.put_bytes(0, properties);
        out.put_slice(payload);
    }

    /// DISCONNECT; 3.1.1 servers have none and just close.
    pub fn disconnect(self, out: &mut BytesMut, refusal: Refusal) {
        if self.version == Version::V5 {
            self.with_reason(out, 0xe0, &[refusal.code()], refusal.text());
        }
    }

    fn listed(self, out: &mut BytesMut, first: u8, pkid: u16, codes: &[u8]) {
        let properties = usize::from(self.version == Version::V5);
        out.put_u8(first);
        put_length(out, 2 + properties + codes.len());
        out.put_u16(pkid);
        out.put_bytes(0, properties);
        out.put_slice(codes);
    }

    /// A packet of MQTT 5 that ends with a reason string as its only property, if the client wants it.
    fn with_reason(self, out: &mut BytesMut, first: u8, head: &[u8], text: &str) {
        debug_assert!(text.len() <= MAX_REASON, "{text}");
        out.put_u8(first);
        if !self.reasons {
            put_length(out, head.len() + 1);
            out.put_slice(head);
            return out.put_u8(0);
        }
        put_length(out, head.len() + 1 + 3 + text.len());
        out.put_slice(head);
        put_length(out, 3 + text.len());
        out.put_u8(0x1f); // Reason String
        put_text(out, text);
    }
}

/// The longest reason string, in bytes: all of ours fit into the smallest packet that gets them.
const MAX_REASON: usize = 200;

/// A variable byte integer (section 1.5.5); callers write far less than its 256 MiB.
fn put_length(out: &mut BytesMut, mut length: usize) {
    while length >= 0x80 {
        out.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

/// A string with its length (section 1.5.4); ours are topics and reasons, far shorter than 64 KiB.
fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::mqttbytes::v4;
    use rumqttc::v5::mqttbytes::v5;

    fn written(version: Version, reasons: bool, write: impl Fn(Answer, &mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        write(Answer { version, reasons }, &mut out);
        out
    }

    fn read_v4(write: impl Fn(Answer, &mut BytesMut)) -> v4::Packet {
        let mut out = written(Version::V4, false, write);
        let packet = v4::Packet::read(&mut out, 1 << 20).unwrap();
        assert!(out.is_empty());
        packet
    }

    fn read_v5(reasons: bool, write: impl Fn(Answer, &mut BytesMut)) -> v5::Packet {
        let mut out = written(Version::V5, reasons, write);
        let packet = v5::Packet::read(&mut out, None).unwrap();
        assert!(out.is_empty());
        packet
    }

    #[test]
    fn a_client_learns_the_limits_from_connack() {
        let v5::Packet::ConnAck(ack) = read_v5(true, |answer, out| answer.accepted(out, 100)) else { panic!() };
        let limits = ack.properties.unwrap();
        assert!(!ack.session_present);
        assert_eq!(limits.receive_max, Some(100));
        assert_eq!(limits.max_qos, Some(1));
        assert_eq!(limits.max_packet_size, Some(MAX_PACKET as u32));
        assert_eq!(limits.wildcard_subscription_available, None, "live readings are subscribed to with wildcards");
        assert_eq!(limits.shared_subscription_available, Some(0));
        assert!(matches!(read_v4(|answer, out| answer.accepted(out, 100)), v4::Packet::ConnAck(ack)
            if !ack.session_present && ack.code == v4::ConnectReturnCode::Success));
    }

    #[test]
    fn reasons_are_told_to_those_who_want_them() {
        let refused = |answer: Answer, out: &mut BytesMut| answer.acknowledged_with(out, 7, 0x99, "unknown-channel");
        let v5::Packet::PubAck(ack) = read_v5(true, refused) else { panic!() };
        assert_eq!((ack.pkid, ack.reason), (7, v5::PubAckReason::PayloadFormatInvalid));
        assert_eq!(ack.properties.unwrap().reason_string.unwrap(), "unknown-channel");
        let v5::Packet::PubAck(ack) = read_v5(false, refused) else { panic!() };
        assert_eq!((ack.pkid, ack.properties), (7, None));
        assert!(matches!(read_v4(refused), v4::Packet::PubAck(ack) if ack.pkid == 7));
        for refusal in Refusal::ALL {
            assert!(refusal.text().len() <= MAX_REASON);
        }
        assert!(matches!(
            read_v5(true, |answer, out| answer.disconnect(out, Refusal::KeepAlive)),
            v5::Packet::Disconnect(_)
        ));
    }

    #[test]
    fn commands_and_lists_are_read_back_by_an_independent_client() {
        let payload = [9_u8; 300];
        let v5::Packet::Publish(publish) = read_v5(true, |answer, out| answer.publish(out, "a/b", 5, &payload)) else {
            panic!()
        };
        assert_eq!((&publish.topic[..], publish.pkid, &publish.payload[..]), (&b"a/b"[..], 5, &payload[..]));
        assert!(matches!(read_v4(|answer, out| answer.publish(out, "a/b", 5, &payload)), v4::Packet::Publish(publish)
            if publish.topic == "a/b" && publish.payload[..] == payload));
        assert!(matches!(read_v5(true, |answer, out| answer.subscribed(out, 3, &[1, 0x87])), v5::Packet::SubAck(ack)
            if ack.pkid == 3 && ack.return_codes.len() == 2));
        assert!(matches!(read_v5(true, |answer, out| answer.unsubscribed(out, 3, &[0])), v5::Packet::UnsubAck(ack)
            if ack.pkid == 3));
        assert!(matches!(read_v4(|answer, out| answer.unsubscribed(out, 3, &[0])), v4::Packet::UnsubAck(ack)
            if ack.pkid == 3));
    }
}
