//! JoinGroup: a member wants its share of a group's partitions.

use bytes::Bytes;

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::JoinGroup, min: 0, max: 9, flexible_from: 6 };

/// A member joins, or joins again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: String,
    /// Without a heartbeat for so long the member is out, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for this member, in milliseconds; before version 1 the session timeout.
    pub rebalance_timeout_ms: i32,
    /// Empty: new.
    pub member_id: String,
    /// A static member, from version 5 on.
    pub group_instance_id: Option<String>,
    /// The kind of group: `consumer`, `connect`.
    pub protocol_type: String,
    /// How the member can share partitions out, the best first.
    pub protocols: Vec<Protocol>,
    /// Why it joins, from version 8 on.
    pub reason: Option<String>,
}

/// A way to share partitions out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, `range` for one.
    pub name: String,
    /// What the member says in it: the topics that it wants. Only members read it.
    pub metadata: Bytes,
}

/// The new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Why it is not in.
    pub error: ErrorCode,
    /// The generation; -1 with an error.
    pub generation_id: i32,
    /// The kind of group, from version 7 on.
    pub protocol_type: Option<String>,
    /// The way that was chosen; null only from version 7 on, empty before.
    pub protocol_name: Option<String>,
    /// The member that shares the partitions out.
    pub leader: String,
    /// The leader need not share out anew, in version 9.
    pub skip_assignment: bool,
    /// What the member is called from now on.
    pub member_id: String,
    /// All members, for the leader; else empty.
    pub members: Vec<Member>,
}

/// A member, as the leader needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub member_id: String,
    /// A static member, from version 5 on.
    pub group_instance_id: Option<String>,
    /// What it said in the way that was chosen.
    pub metadata: Bytes,
}

impl Default for Response {
    /// Not in, for no reason yet.
    fn default() -> Self {
        Self {
            error: ErrorCode::None,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: String::new(),
            members: Vec::new(),
        }
    }
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let (group_id, session_timeout_ms) = (input.string()?, input.i32()?);
        let request = Self {
            group_id,
            session_timeout_ms,
            rebalance_timeout_ms: if version >= 1 { input.i32()? } else { session_timeout_ms },
            member_id: input.string()?,
            group_instance_id: if version >= 5 { input.nullable_string()? } else { None },
            protocol_type: input.string()?,
            protocols: input.array(3, |input| {
                let (name, metadata) = (input.string()?, input.bytes()?);
                input.tags()?;
                Ok(Protocol { name, metadata })
            })?,
            reason: if version >= 8 { input.nullable_string()? } else { None },
        };
        input.tags()?;
        Ok(request)
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        if version >= 2 {
            out.i32(0);
        }
        out.i16(self.error.number());
        out.i32(self.generation_id);
        if version >= 7 {
            out.nullable_string(self.protocol_type.as_deref());
            out.nullable_string(self.protocol_name.as_deref());
        } else {
            out.string(self.protocol_name.as_deref().unwrap_or_default());
        }
        out.string(&self.leader);
        if version >= 9 {
            out.boolean(self.skip_assignment);
        }
        out.string(&self.member_id);
        out.array(&self.members, |out, member| {
            out.string(&member.member_id);
            if version >= 5 {
                out.nullable_string(member.group_instance_id.as_deref());
            }
            out.bytes(&member.metadata);
            out.tags();
        });
        out.tags();
    }
}
