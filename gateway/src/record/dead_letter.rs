//! The record of what could not be stored as readings, `gateway/schemas/dead-letter.avsc`.
//!
//! One record for each reason in a section, however many readings it hit, so that poison costs the log no
//! more than a few times its own bytes.

use serde::{Serialize, Serializer};
use weir_protocol::{AgentId, DeviceId, Restart, Sequence, Tenant};

use super::avro::{Input, put_array, put_bytes, put_long};
use super::{Malformed, Schema};

/// Sequences `[start, end)` of one restart that a dead letter accounts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeadSpan {
    /// The device.
    pub device: DeviceId,
    /// Its restart.
    #[serde(serialize_with = "super::as_text")]
    pub restart: Restart,
    /// The first sequence.
    pub start: Sequence,
    /// The first sequence after those.
    pub end: Sequence,
    /// Whether all of these were counted lost before.
    pub heals: bool,
}

/// What the original bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A batch envelope, [`weir_protocol::batch::envelope`].
    Batch,
    /// One section of a batch, [`weir_protocol::batch::section`].
    Section,
    /// A `describe` payload, [`weir_protocol::batch::describe`].
    Description,
}

/// What could not be stored as readings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter<'a> {
    /// Scopes the identities.
    pub tenant: Tenant,
    /// The agent that sent it.
    pub agent: AgentId,
    /// The sequences that it accounts for.
    pub spans: Vec<DeadSpan>,
    /// The name of a [`crate::ingest::Reason`]; of what an agent's rules refuse also what was expected, behind a colon.
    pub reason: &'a str,
    /// The byte in `original` where the first bad reading starts.
    pub position: Option<u64>,
    /// What `original` is.
    pub format: Format,
    /// The bytes as they came.
    #[serde(serialize_with = "as_base64")]
    pub original: &'a [u8],
}

impl DeadLetter<'_> {
    /// Replaces `out` by the value of the record. Sequences are below 2^63.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        Schema::DeadLetter.start(out);
        put_bytes(out, self.tenant.as_bytes());
        put_bytes(out, self.agent.as_bytes());
        put_array(out, &self.spans, |out, span| {
            put_bytes(out, span.device.as_bytes());
            put_bytes(out, span.restart.0.to_string().as_bytes());
            put_long(out, span.start.0 as i64);
            put_long(out, span.end.0 as i64);
            out.push(u8::from(span.heals));
        });
        put_bytes(out, self.reason.as_bytes());
        match self.position {
            None => put_long(out, 0),
            Some(position) => {
                put_long(out, 1);
                put_long(out, position as i64);
            }
        }
        put_long(out, self.format as i64);
        put_bytes(out, self.original);
    }
}

pub(super) fn decode<'a>(input: &mut Input<'a>) -> Result<DeadLetter<'a>, Malformed> {
    Ok(DeadLetter {
        tenant: input.parsed("tenant")?,
        agent: input.parsed("agent")?,
        spans: input.array("spans", |input| {
            Ok(DeadSpan {
                device: input.parsed("device")?,
                restart: Restart(input.parsed("restart")?),
                start: Sequence(input.unsigned("start")?),
                end: Sequence(input.unsigned("end")?),
                heals: input.boolean("heals")?,
            })
        })?,
        reason: input.string("reason")?,
        position: match input.long("position")? {
            0 => None,
            1 => Some(input.unsigned("position")?),
            _ => return Err(Malformed::Field { field: "position" }),
        },
        format: match input.long("format")? {
            0 => Format::Batch,
            1 => Format::Section,
            2 => Format::Description,
            _ => return Err(Malformed::Field { field: "format" }),
        },
        original: input.bytes("original")?,
    })
}

fn as_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&super::base64_of(bytes))
}
