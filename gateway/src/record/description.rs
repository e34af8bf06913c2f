//! The record of a description, `gateway/schemas/description.avsc`.

use serde::{Serialize, Serializer};
use weir_protocol::{AgentId, Channel, ChannelId, DeviceId, SchemaHash, Tenant, ValueKind};

use super::avro::{Input, put_array, put_bytes, put_long};
use super::{Malformed, Schema};

/// The channels of one schema of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description<'a> {
    /// Scopes the device.
    pub tenant: Tenant,
    /// The agent that sent it.
    pub agent: AgentId,
    /// The device.
    pub device: DeviceId,
    /// The hash of the channels.
    #[serde(serialize_with = "hash_text")]
    pub schema: SchemaHash,
    /// The channels.
    pub channels: Vec<Channel<'a>>,
}

impl Description<'_> {
    /// Replaces `out` by the value of the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        Schema::Description.start(out);
        for name in [self.tenant.as_str(), self.agent.as_str(), self.device.as_str()] {
            put_bytes(out, name.as_bytes());
        }
        put_bytes(out, self.schema.to_string().as_bytes());
        put_array(out, &self.channels, |out, channel| {
            put_long(out, i64::from(channel.id.0));
            put_bytes(out, channel.name.as_bytes());
            put_bytes(out, channel.unit.as_bytes());
            put_long(out, channel.kind as i64);
            out.extend_from_slice(&channel.resolution.to_le_bytes());
        });
    }
}

pub(super) fn decode<'a>(input: &mut Input<'a>) -> Result<Description<'a>, Malformed> {
    Ok(Description {
        tenant: input.parsed("tenant")?,
        agent: input.parsed("agent")?,
        device: input.parsed("device")?,
        schema: u32::from_str_radix(input.string("schema")?, 16)
            .map(SchemaHash)
            .map_err(|_| Malformed::Field { field: "schema" })?,
        channels: input.array("channels", |input| {
            Ok(Channel {
                id: u16::try_from(input.long("id")?).map(ChannelId).map_err(|_| Malformed::Field { field: "id" })?,
                name: input.string("name")?,
                unit: input.string("unit")?,
                kind: match input.long("kind")? {
                    0 => ValueKind::Float,
                    1 => ValueKind::Double,
                    2 => ValueKind::Integer,
                    3 => ValueKind::Boolean,
                    4 => ValueKind::Text,
                    _ => return Err(Malformed::Field { field: "kind" }),
                },
                resolution: input.float("resolution")?,
            })
        })?,
    })
}

fn hash_text<S: Serializer>(schema: &SchemaHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(schema)
}
