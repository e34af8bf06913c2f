//! The record of a message that an MQTT client published: the payload as it came, and all that was said beside it.
//!
//! Guarantees: whatever the payload is, it is never taken for another record, because no record but this has the header
//! `mqtt-topic`; what is forwarded to subscribers comes back byte by byte.
//!
//! Format, version 1, frozen: key = the client id; value = the payload; timestamp = when it came. Headers in this order, those
//! that do not apply left out; numbers are decimal text:
//!
//! | header | value |
//! |---|---|
//! | `mqtt-topic` | the topic name |
//! | `tenant` | the tenant of the client |
//! | `mqtt-qos` | `0`, `1` or `2`: how surely it was published |
//! | `mqtt-retain` | empty: it was to be retained |
//! | `mqtt-expiry` | seconds from the timestamp on, after which nobody wants it |
//! | `content-type` | its property of that name |
//! | `mqtt-properties` | what goes to every subscriber unchanged, as MQTT 5 encodes it (section 2.2.2), without a length |
//! | `restart`, `sequence` | the identity of a message that is stored exactly once |
//! | `heals` | empty: this sequence was counted lost before |
//!
//! A message without an identity is stored at least once, or at QoS 0 at most once.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use weir_protocol::{Restart, Sequence, Tenant};
use weir_storage::Record;

use super::{Malformed, base64_of};
use crate::mqtt::packet::QoS;

const TOPIC: &str = "mqtt-topic";
const TENANT: &str = "tenant";
const QOS: &str = "mqtt-qos";
const RETAIN: &str = "mqtt-retain";
const EXPIRY: &str = "mqtt-expiry";
const CONTENT_TYPE: &str = "content-type";
const PROPERTIES: &str = "mqtt-properties";
const RESTART: &str = "restart";
const SEQUENCE: &str = "sequence";
const HEALS: &str = "heals";
/// How many headers there may be.
const MAX_HEADERS: usize = 10;

/// The property of MQTT 5 that says what the payload is, section 3.3.2.3.9.
const CONTENT_TYPE_PROPERTY: u8 = 0x03;
/// The other properties that are forwarded.
const PAYLOAD_FORMAT: u8 = 0x01;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const USER_PROPERTY: u8 = 0x26;

/// A message as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whose it is.
    pub tenant: Tenant,
    /// Who published it.
    pub client: &'a str,
    /// Where.
    pub topic: &'a str,
    /// How surely.
    pub qos: QoS,
    /// Whether it was to be retained.
    pub retain: bool,
    /// Seconds after which nobody wants it, counted from the record's timestamp.
    pub expiry: Option<u32>,
    /// Properties that go to every subscriber unchanged, as in [`crate::mqtt::packet::Properties::forwarded`].
    pub forwarded: &'a [u8],
    /// The identity, if it is stored exactly once.
    pub identity: Option<(Restart, Sequence)>,
    /// Whether that sequence was counted lost before.
    pub heals: bool,
    /// As it came.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Hands key, value and headers of the record to `take`.
    pub fn encode<T>(&self, take: impl FnOnce(&[u8], &[u8], &[(&str, &[u8])]) -> T) -> T {
        let (mut expiry, mut restart, mut sequence) = (Decimal::default(), Decimal::default(), Decimal::default());
        let qos = match self.qos {
            QoS::AtMostOnce => b"0",
            QoS::AtLeastOnce => b"1",
            QoS::ExactlyOnce => b"2",
        };
        let mut headers: [(&str, &[u8]); MAX_HEADERS] = [("", b""); MAX_HEADERS];
        let mut count = 0;
        let mut put = |name, value| {
            headers[count] = (name, value);
            count += 1;
        };
        put(TOPIC, self.topic.as_bytes());
        put(TENANT, self.tenant.as_bytes());
        put(QOS, qos);
        if self.retain {
            put(RETAIN, b"");
        }
        if let Some(seconds) = self.expiry {
            put(EXPIRY, expiry.of(seconds.into()));
        }
        if !self.forwarded.is_empty() {
            if let Some(content_type) = self.content_type() {
                put(CONTENT_TYPE, content_type);
            }
            put(PROPERTIES, self.forwarded);
        }
        if let Some((of, at)) = self.identity {
            put(RESTART, restart.of(of.0));
            put(SEQUENCE, sequence.of(at.0));
        }
        if self.heals {
            put(HEALS, b"");
        }
        take(self.client.as_bytes(), self.payload, &headers[..count])
    }

    /// Whether a record is one of a message.
    pub fn is_one(record: &Record<'_>) -> bool {
        record.headers.iter().next().is_some_and(|(name, _)| name == TOPIC)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Malformed`] when it was not written by this module.
    pub fn of_record(record: &Record<'a>) -> Result<Self, Malformed> {
        let bad = |field| Malformed::Field { field };
        let mut message = Self {
            tenant: Tenant::DEFAULT,
            client: text(record.key, "key")?,
            topic: "",
            qos: QoS::AtMostOnce,
            retain: false,
            expiry: None,
            forwarded: &[],
            identity: None,
            heals: false,
            payload: record.value.unwrap_or_default(),
        };
        let (mut has_tenant, mut restart, mut sequence) = (false, None, None);
        for (name, value) in record.headers.iter() {
            match name {
                TOPIC => message.topic = text(value, TOPIC)?,
                TENANT => {
                    message.tenant = text(value, TENANT)?.parse().map_err(|_| bad(TENANT))?;
                    has_tenant = true;
                }
                QOS => {
                    message.qos = match value {
                        Some(b"0") => QoS::AtMostOnce,
                        Some(b"1") => QoS::AtLeastOnce,
                        Some(b"2") => QoS::ExactlyOnce,
                        _ => return Err(bad(QOS)),
                    }
                }
                RETAIN => message.retain = true,
                HEALS => message.heals = true,
                EXPIRY => message.expiry = Some(text(value, EXPIRY)?.parse().map_err(|_| bad(EXPIRY))?),
                PROPERTIES => message.forwarded = value.unwrap_or_default(),
                RESTART => restart = Some(text(value, RESTART)?.parse().map(Restart).map_err(|_| bad(RESTART))?),
                SEQUENCE => sequence = Some(text(value, SEQUENCE)?.parse().map(Sequence).map_err(|_| bad(SEQUENCE))?),
                // The content type is a copy of a property, for readers that know no MQTT; the rest is of a later build.
                _ => {}
            }
        }
        message.identity = match (restart, sequence) {
            (Some(restart), Some(sequence)) if sequence < Sequence::END => Some((restart, sequence)),
            (None, None) => None,
            _ => return Err(bad(SEQUENCE)),
        };
        if message.topic.is_empty() || !has_tenant { Err(bad(TOPIC)) } else { Ok(message) }
    }

    /// What the payload is, if its sender said so.
    pub fn content_type(&self) -> Option<&'a [u8]> {
        let mut rest = self.forwarded;
        loop {
            let (id, behind) = rest.split_first()?;
            rest = behind;
            match *id {
                PAYLOAD_FORMAT => rest = rest.get(1..)?,
                CONTENT_TYPE_PROPERTY => return string(&mut rest),
                RESPONSE_TOPIC | CORRELATION_DATA => drop(string(&mut rest)?),
                USER_PROPERTY => {
                    string(&mut rest)?;
                    string(&mut rest)?;
                }
                _ => return None,
            }
        }
    }
}

/// Two bytes of length, and as many bytes (MQTT section 1.5.4).
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (taken, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = behind;
    Some(taken)
}

fn text<'a>(value: Option<&'a [u8]>, field: &'static str) -> Result<&'a str, Malformed> {
    std::str::from_utf8(value.unwrap_or_default()).map_err(|_| Malformed::Field { field })
}

/// A number as text, without an allocation for each.
#[derive(Default)]
struct Decimal([u8; 20]);

impl Decimal {
    fn of(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &self.0[at..];
            }
        }
    }
}

impl Serialize for Message<'_> {
    /// The payload is text if it is UTF-8, else base64; `encoding` says which. Without an identity `restart` and
    /// `sequence` are null: the message may be there twice.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tenant", self.tenant.as_str())?;
        map.serialize_entry("client", self.client)?;
        map.serialize_entry("topic", self.topic)?;
        map.serialize_entry("qos", &(self.qos as u8))?;
        map.serialize_entry("retain", &self.retain)?;
        map.serialize_entry("restart", &self.identity.map(|(restart, _)| restart.0.to_string()))?;
        map.serialize_entry("sequence", &self.identity.map(|(_, sequence)| sequence.0))?;
        map.serialize_entry("heals", &self.heals)?;
        if let Some(expiry) = self.expiry {
            map.serialize_entry("expiry", &expiry)?;
        }
        if let Some(content_type) = self.content_type() {
            map.serialize_entry("content_type", &String::from_utf8_lossy(content_type))?;
        }
        if !self.forwarded.is_empty() {
            map.serialize_entry("properties", &base64_of(self.forwarded))?;
        }
        match std::str::from_utf8(self.payload) {
            Ok(text) => {
                map.serialize_entry("encoding", "text")?;
                map.serialize_entry("payload", text)?;
            }
            Err(_) => {
                map.serialize_entry("encoding", "base64")?;
                map.serialize_entry("payload", &base64_of(self.payload))?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use weir_storage::{Batch, Chunk, FaultyFs, Log, LogOptions};

    use super::*;

    /// `content-type: text/plain`, a user property, a response topic.
    const FORWARDED: &[u8] = b"\x01\x01\x26\x00\x01k\x00\x01v\x03\x00\x0atext/plain\x08\x00\x03r/t\x09\x00\x02\x00\xff";

    fn full() -> Message<'static> {
        Message {
            tenant: Tenant::DEFAULT,
            client: "tracker 7",
            topic: "fleet/7/position",
            qos: QoS::ExactlyOnce,
            retain: true,
            expiry: Some(3600),
            forwarded: FORWARDED,
            identity: Some((Restart(u64::MAX), Sequence(42))),
            heals: true,
            payload: b"52.1,4.3",
        }
    }

    fn plain() -> Message<'static> {
        Message {
            retain: false,
            expiry: None,
            forwarded: b"",
            identity: None,
            heals: false,
            qos: QoS::AtLeastOnce,
            payload: b"\0\0\0\0\x01\xff",
            ..full()
        }
    }

    /// These messages, read from a log.
    fn logged(messages: &[Message<'_>]) -> Chunk {
        let mut batch = Batch::new();
        for message in messages {
            message.encode(|key, value, headers| batch.push(7, Some(key), Some(value), headers)).unwrap();
        }
        let fs = Arc::new(FaultyFs::new(1));
        let (mut log, _) = Log::open(fs, Path::new("/log"), LogOptions::default()).unwrap();
        log.commit(&mut batch).unwrap();
        log.reader().read(0, 1 << 16).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let chunk = logged(&[full(), plain()]);
        for (record, expected) in chunk.records().map(Result::unwrap).zip([full(), plain()]) {
            assert!(Message::is_one(&record));
            assert_eq!(Message::of_record(&record), Ok(expected));
        }
        assert_eq!(full().content_type(), Some(&b"text/plain"[..]));
    }

    /// A format of version 1, which every later build reads: change nothing here.
    #[test]
    fn the_headers_of_version_1_never_change() {
        let chunk = logged(&[full(), plain()]);
        let told = chunk.records().map(Result::unwrap).map(|record| {
            let headers = record
                .headers
                .iter()
                .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value.unwrap()).escape_debug()));
            format!("{} {}", String::from_utf8_lossy(record.key.unwrap()), headers.collect::<Vec<_>>().join(" "))
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told[0],
            "tracker 7 mqtt-topic=fleet/7/position tenant=default mqtt-qos=2 mqtt-retain= mqtt-expiry=3600 \
             content-type=text/plain mqtt-properties=\\u{1}\\u{1}&\\0\\u{1}k\\0\\u{1}v\\u{3}\\0\\ntext/plain\
             \\u{8}\\0\\u{3}r/t\\t\\0\\u{2}\\0\u{fffd} restart=18446744073709551615 sequence=42 heals="
        );
        assert_eq!(told[1], "tracker 7 mqtt-topic=fleet/7/position tenant=default mqtt-qos=1");
    }

    #[test]
    fn a_payload_is_text_or_base64() {
        let json = |message: Message<'_>| serde_json::to_value(message).unwrap();
        let (text, bytes) = (json(full()), json(plain()));
        assert_eq!((&text["payload"], &text["encoding"]), (&"52.1,4.3".into(), &"text".into()));
        assert_eq!((&text["restart"], &text["sequence"]), (&"18446744073709551615".into(), &42.into()));
        assert_eq!((&text["content_type"], &text["expiry"]), (&"text/plain".into(), &3600.into()));
        assert_eq!((&bytes["payload"], &bytes["encoding"]), (&"AAAAAAH/".into(), &"base64".into()));
        assert!(bytes["restart"].is_null() && bytes["sequence"].is_null(), "labelled: no identity");
    }
}
