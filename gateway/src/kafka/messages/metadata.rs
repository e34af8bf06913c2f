//! Metadata: brokers, topics, partitions and who leads them.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served. Topic ids (from version 10 on) are answered as zero: this server has names only.
pub const API: Supported = Supported { key: ApiKey::Metadata, min: 0, max: 12, flexible_from: 9 };

/// What stands for "not asked for" where operations that are allowed would be listed.
pub const NO_OPERATIONS: i32 = i32::MIN;

/// Which topics are asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// None: all topics.
    pub topics: Option<Vec<RequestTopic>>,
    /// A topic that does not exist may be made; it never is here.
    pub allow_auto_topic_creation: bool,
    /// From version 8 to 10.
    pub include_cluster_authorized_operations: bool,
    /// From version 8 on.
    pub include_topic_authorized_operations: bool,
}

/// A topic by its name, or by its id in version 10 and later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTopic {
    /// All zero: by name.
    pub id: [u8; 16],
    /// None: by id.
    pub name: Option<String>,
}

/// The cluster as a client needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Where to connect.
    pub brokers: Vec<Broker>,
    /// From version 2 on.
    pub cluster_id: Option<String>,
    /// From version 1 on.
    pub controller_id: i32,
    /// The topics that were asked about, also those that do not exist.
    pub topics: Vec<Topic>,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub node_id: i32,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: i32,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Why it is not described.
    pub error: ErrorCode,
    /// None only if it was asked for by an id, in version 12; older versions say an empty name.
    pub name: Option<String>,
    /// From version 10 on.
    pub id: [u8; 16],
    /// From version 1 on: not for readings.
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// A partition: one broker has it and leads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Why it cannot be read.
    pub error: ErrorCode,
    /// Its number.
    pub index: i32,
    /// The broker that leads it, which is its only replica, too.
    pub leader_id: i32,
    /// From version 7 on.
    pub leader_epoch: i32,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let topic = |input: &mut Input<'_>| {
            let id = if version >= 10 { input.uuid()? } else { [0; 16] };
            let name = if version >= 10 { input.nullable_string()? } else { Some(input.string()?) };
            input.tags()?;
            Ok(RequestTopic { id, name })
        };
        let topics = if version >= 1 {
            input.nullable_array(2, topic)?
        } else {
            // Version 0 has no null: no topic stands for all.
            Some(input.array(2, topic)?).filter(|topics| !topics.is_empty())
        };
        let request = Self {
            topics,
            allow_auto_topic_creation: if version >= 4 { input.boolean()? } else { true },
            include_cluster_authorized_operations: (8..=10).contains(&version) && input.boolean()?,
            include_topic_authorized_operations: version >= 8 && input.boolean()?,
        };
        input.tags()?;
        Ok(request)
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        if version >= 3 {
            out.i32(0);
        }
        out.array(&self.brokers, |out, broker| {
            out.i32(broker.node_id);
            out.string(&broker.host);
            out.i32(broker.port);
            if version >= 1 {
                // No rack.
                out.nullable_string(None);
            }
            out.tags();
        });
        if version >= 2 {
            out.nullable_string(self.cluster_id.as_deref());
        }
        if version >= 1 {
            out.i32(self.controller_id);
        }
        out.array(&self.topics, |out, topic| topic.encode(out, version));
        if (8..=10).contains(&version) {
            out.i32(NO_OPERATIONS);
        }
        out.tags();
    }
}

impl Topic {
    fn encode(&self, out: &mut Output, version: i16) {
        out.i16(self.error.number());
        if version >= 12 {
            out.nullable_string(self.name.as_deref());
        } else {
            out.string(self.name.as_deref().unwrap_or_default());
        }
        if version >= 10 {
            out.uuid(self.id);
        }
        if version >= 1 {
            out.boolean(self.is_internal);
        }
        out.array(&self.partitions, |out, partition| partition.encode(out, version));
        if version >= 8 {
            out.i32(NO_OPERATIONS);
        }
        out.tags();
    }
}

impl Partition {
    fn encode(&self, out: &mut Output, version: i16) {
        out.i16(self.error.number());
        out.i32(self.index);
        out.i32(self.leader_id);
        if version >= 7 {
            out.i32(self.leader_epoch);
        }
        // Replicas, then those in sync, then those that are offline.
        out.array(&[self.leader_id], |out, id| out.i32(*id));
        out.array(&[self.leader_id], |out, id| out.i32(*id));
        if version >= 5 {
            out.array(&[], |out, id| out.i32(*id));
        }
        out.tags();
    }
}
