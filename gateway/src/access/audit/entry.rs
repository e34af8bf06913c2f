//! The records of `weir.audit`, version 1: JSON values without a key.
//!
//! ```json
//! {"audit": 1, "at": "2026-11-21T08:30:00.000Z", "act": "POST /access/tokens", "id": "9f3c..", "state": "begun",
//!  "who": "uid:0", "role": "admin", "from": "socket", "target": "/access/tokens"}
//! {"audit": 1, "at": "2026-11-21T08:30:00.004Z", "act": "POST /access/tokens", "id": "9f3c..", "state": "done",
//!  "who": "uid:0", "role": "admin", "from": "socket", "target": "/access/tokens", "result": "200", "detail": "5d0e.. viewer"}
//! {"audit": 1, "at": "2026-11-21T08:31:00.000Z", "refused": "mqtt-connect", "who": "pump-1", "from": "10.0.0.7",
//!  "why": "an unknown user or a wrong password", "count": 412}
//! ```
//!
//! Who acts is `uid:N` (a user of this machine), `token:ID`, `user:NAME` (of Kafka), `anybody`, or `client:TENANT/NAME`; the role
//! is that of the token or user, or `device` for a device that gets a certificate. An act has two records, `begun` before anything happens and `done` or `failed` before it is answered: one that is begun
//! and no more was cut off by a kill, and may have happened. `detail` says what the target does not: which token was made, to
//! whom a device was moved, the number of a certificate. Fields may be added.

use serde::Serialize;
use serde_json::Value as Json;

/// The version in each value.
const VERSION: u8 = 1;
/// The most bytes of what somebody else said: a client id, a topic.
const MAX_TEXT: usize = 256;

/// A value.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry<'a> {
    audit: u8,
    at: String,
    #[serde(flatten)]
    what: What<'a>,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum What<'a> {
    Act {
        act: &'a str,
        id: &'a str,
        state: &'a str,
        who: String,
        role: &'a str,
        from: String,
        target: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
    Refused {
        refused: &'a str,
        who: String,
        from: String,
        why: &'a str,
        count: u64,
    },
}

impl<'a> Entry<'a> {
    pub(super) fn new(at_ms: i64, what: What<'a>) -> Self {
        Self { audit: VERSION, at: crate::moment::format(at_ms), what }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The value of a record of the audit; `None` if it is none.
pub fn decode(value: &[u8]) -> Option<Json> {
    let value: Json = serde_json::from_slice(value).ok()?;
    (value["audit"] == VERSION).then_some(value)
}

/// What somebody else said, cut to a bounded length and without what would command a terminal.
pub(super) fn text(said: &str) -> String {
    let mut end = said.len().min(MAX_TEXT);
    while !said.is_char_boundary(end) {
        end -= 1;
    }
    said[..end].chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 is frozen: what is written now has at least these fields for ever.
    #[test]
    fn the_values_of_version_1() {
        let act = What::Act {
            act: "POST /access/tokens",
            id: "9f",
            state: "done",
            who: "uid:0".to_owned(),
            role: "admin",
            from: "socket".to_owned(),
            target: "/access/tokens".to_owned(),
            result: Some("200"),
            detail: Some("5d0e viewer"),
        };
        let refused = What::Refused {
            refused: "mqtt-connect",
            who: text("pump\n1"),
            from: "10.0.0.7".to_owned(),
            why: "an unknown user or a wrong password",
            count: 412,
        };
        let written = [act, refused].map(|what| String::from_utf8(Entry::new(0, what).encode()).unwrap());
        assert_eq!(
            written,
            [
                "{\"audit\":1,\"at\":\"1970-01-01T00:00:00.000Z\",\"act\":\"POST /access/tokens\",\"id\":\"9f\",\
                 \"state\":\"done\",\"who\":\"uid:0\",\"role\":\"admin\",\"from\":\"socket\",\
                 \"target\":\"/access/tokens\",\"result\":\"200\",\"detail\":\"5d0e viewer\"}",
                "{\"audit\":1,\"at\":\"1970-01-01T00:00:00.000Z\",\"refused\":\"mqtt-connect\",\"who\":\"pump\u{fffd}1\",\
                 \"from\":\"10.0.0.7\",\"why\":\"an unknown user or a wrong password\",\"count\":412}",
            ]
        );
        assert!(written.iter().all(|value| decode(value.as_bytes()).is_some()));
        assert_eq!(decode(b"{\"audit\":2}"), None);
    }

    #[test]
    fn what_a_stranger_says_is_cut() {
        assert_eq!(text(&"ü".repeat(1000)).len(), MAX_TEXT);
    }
}
