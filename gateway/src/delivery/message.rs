//! A committed record as the message that subscribers get: the same for those who read it live and those who read it
//! from disk.

use bytes::Bytes;
use weir_protocol::Tenant;
use weir_protocol::mqtt::LiveTopic;
use weir_storage::Record;

use crate::access::ClientId;
use crate::http::page;
use crate::mqtt::packet::{Properties, QoS};
use crate::record::{self, Value};
use crate::topics::{Role, Topic, TopicId};

/// Where a record is, in one run of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: TopicId,
    /// The number of its partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

/// A message for whoever subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is in the log.
    pub place: Place,
    /// Whose it is: nobody else gets it.
    pub tenant: Tenant,
    /// The topic that it was published on.
    pub topic: Bytes,
    /// The payload, as it came.
    pub payload: Bytes,
    /// The QoS that it was published at.
    pub qos: QoS,
    /// Whether it was to be retained.
    pub retain: bool,
    /// What else it carries; the expiry counts from `appended_ms`.
    pub properties: Properties,
    /// Who published it.
    pub publisher: Option<ClientId>,
    /// When it came, in milliseconds since 1970.
    pub appended_ms: i64,
}

impl Message {
    /// The message of a record in partition `partition` of `topic`; `None` if it is for nobody, or if `wanted` says no
    /// to its tenant and topic.
    pub fn of_record(
        topic: &Topic,
        partition: u32,
        record: &Record<'_>,
        wanted: impl FnOnce(Tenant, &str) -> bool,
    ) -> Option<Self> {
        match topic.role() {
            Role::Readings => Self::of_reading(topic, partition, record, wanted),
            Role::Messages => Self::of_message(topic, partition, record, wanted),
            Role::Loss | Role::DeadLetter | Role::Describe | Role::Internal => None,
        }
    }

    /// Whether the records of a topic are messages for anybody.
    pub fn are_in(topic: &Topic) -> bool {
        matches!(topic.role(), Role::Readings | Role::Messages)
    }

    /// Bytes that it takes beside its own size.
    pub fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.forwarded.len()
    }

    fn of_reading(
        topic: &Topic,
        partition: u32,
        record: &Record<'_>,
        wanted: impl FnOnce(Tenant, &str) -> bool,
    ) -> Option<Self> {
        let Ok(Value::Reading(reading)) = Value::decode(record.value?) else { return None };
        let name = LiveTopic { tenant: reading.tenant, device: reading.device, channel: &reading.channel }.to_string();
        if name.len() > MAX_TOPIC || !wanted(reading.tenant, &name) {
            return None;
        }
        let mut json = page::render(partition as usize, record);
        if topic.id() != TopicId::READINGS {
            // Whoever knows nothing of other topics looks for the offset in `readings`.
            json["topic"] = topic.name().into();
        }
        Some(Self {
            place: Place { topic: topic.id(), partition, offset: record.offset },
            tenant: reading.tenant,
            topic: name.into(),
            payload: json.to_string().into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            publisher: None,
            appended_ms: record.timestamp_ms,
        })
    }

    fn of_message(
        topic: &Topic,
        partition: u32,
        record: &Record<'_>,
        wanted: impl FnOnce(Tenant, &str) -> bool,
    ) -> Option<Self> {
        let message = record::Message::of_record(record).ok()?;
        if !wanted(message.tenant, message.topic) {
            return None;
        }
        let forwarded = Bytes::copy_from_slice(message.forwarded);
        Some(Self {
            place: Place { topic: topic.id(), partition, offset: record.offset },
            tenant: message.tenant,
            topic: Bytes::copy_from_slice(message.topic.as_bytes()),
            payload: Bytes::copy_from_slice(message.payload),
            qos: message.qos,
            retain: message.retain,
            properties: Properties { expiry: message.expiry, forwarded },
            publisher: ClientId::new(message.client).ok(),
            appended_ms: record.timestamp_ms,
        })
    }
}

/// The longest topic, in bytes. A channel whose name makes it longer is not served.
const MAX_TOPIC: usize = 1024;
