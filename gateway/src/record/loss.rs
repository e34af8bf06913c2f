//! The record of lost sequences, `gateway/schemas/loss.avsc`.

use std::ops::Range;

use serde::{Serialize, Serializer, ser::SerializeMap};
use weir_protocol::{AgentId, DeviceId, Restart, Sequence, Tenant};

use super::avro::{Input, put_array, put_bytes, put_long};
use super::{Malformed, Schema};

/// The `kind` of a restart that ended without anyone knowing how far it had sampled.
pub const TAIL_UNKNOWN: &str = "tail-unknown";

/// Sequences of one restart that are lost, or the unknown tail of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss<'a> {
    /// Scopes the identities.
    pub tenant: Tenant,
    /// The agent that claimed it.
    pub agent: AgentId,
    /// The device.
    pub device: DeviceId,
    /// Its restart.
    #[serde(serialize_with = "super::as_text")]
    pub restart: Restart,
    /// The name of a [`weir_protocol::batch::LossKind`], or [`TAIL_UNKNOWN`]. The text of the schema, which never changes,
    /// names those of its day; `deploy/gateway.md` names all.
    pub kind: &'a str,
    /// What is lost, ascending.
    #[serde(serialize_with = "as_objects")]
    pub ranges: Vec<Range<u64>>,
    /// Of an unknown tail: the first sequence that was never accepted.
    pub from: Option<Sequence>,
    /// Of damage, and of what was left out if that is said once more: the name of the topic whose records cannot be read any
    /// more.
    pub of: Option<&'a str>,
}

impl Loss<'_> {
    /// Replaces `out` by the value of the record. Sequences are below 2^63.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        Schema::Loss.start(out);
        for name in [self.tenant.as_str(), self.agent.as_str(), self.device.as_str()] {
            put_bytes(out, name.as_bytes());
        }
        put_bytes(out, self.restart.0.to_string().as_bytes());
        put_bytes(out, self.kind.as_bytes());
        put_array(out, &self.ranges, |out, range| {
            put_long(out, range.start as i64);
            put_long(out, range.end as i64);
        });
        match self.from {
            None => put_long(out, 0),
            Some(from) => {
                put_long(out, 1);
                put_long(out, from.0 as i64);
            }
        }
        match self.of {
            None => put_long(out, 0),
            Some(topic) => {
                put_long(out, 1);
                put_bytes(out, topic.as_bytes());
            }
        }
    }
}

pub(super) fn decode<'a>(input: &mut Input<'a>) -> Result<Loss<'a>, Malformed> {
    Ok(Loss {
        tenant: input.parsed("tenant")?,
        agent: input.parsed("agent")?,
        device: input.parsed("device")?,
        restart: Restart(input.parsed("restart")?),
        kind: input.string("kind")?,
        ranges: input.array("ranges", |input| Ok(input.unsigned("start")?..input.unsigned("end")?))?,
        from: match input.long("from")? {
            0 => None,
            1 => Some(Sequence(input.unsigned("from")?)),
            _ => return Err(Malformed::Field { field: "from" }),
        },
        of: match input.long("of")? {
            0 => None,
            1 => Some(input.string("of")?),
            _ => return Err(Malformed::Field { field: "of" }),
        },
    })
}

fn as_objects<S: Serializer>(ranges: &[Range<u64>], serializer: S) -> Result<S::Ok, S::Error> {
    struct Object<'a>(&'a Range<u64>);
    impl Serialize for Object<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(2))?;
            map.serialize_entry("start", &self.0.start)?;
            map.serialize_entry("end", &self.0.end)?;
            map.end()
        }
    }
    serializer.collect_seq(ranges.iter().map(Object))
}
