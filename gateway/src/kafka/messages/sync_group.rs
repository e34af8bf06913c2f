//! SyncGroup: the leader hands in who gets what, the others learn it.

use bytes::Bytes;

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::SyncGroup, min: 0, max: 5, flexible_from: 4 };

/// A member asks for its share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: String,
    /// The generation that the member is in.
    pub generation_id: i32,
    /// The member.
    pub member_id: String,
    /// A static member, from version 3 on.
    pub group_instance_id: Option<String>,
    /// The kind of group, from version 5 on; None: the client does not say.
    pub protocol_type: Option<String>,
    /// The way that was chosen, from version 5 on; None: the client does not say.
    pub protocol_name: Option<String>,
    /// Who gets what, from the leader; else empty.
    pub assignments: Vec<Assignment>,
}

/// A member's share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The member.
    pub member_id: String,
    /// Its share, which only members read.
    pub assignment: Bytes,
}

/// The member's own share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why there is none.
    pub error: ErrorCode,
    /// The kind of group, from version 5 on.
    pub protocol_type: Option<String>,
    /// The way that was chosen, from version 5 on.
    pub protocol_name: Option<String>,
    /// The share.
    pub assignment: Bytes,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let request = Self {
            group_id: input.string()?,
            generation_id: input.i32()?,
            member_id: input.string()?,
            group_instance_id: if version >= 3 { input.nullable_string()? } else { None },
            protocol_type: if version >= 5 { input.nullable_string()? } else { None },
            protocol_name: if version >= 5 { input.nullable_string()? } else { None },
            assignments: input.array(3, |input| {
                let (member_id, assignment) = (input.string()?, input.bytes()?);
                input.tags()?;
                Ok(Assignment { member_id, assignment })
            })?,
        };
        input.tags()?;
        Ok(request)
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        if version >= 1 {
            out.i32(0);
        }
        out.i16(self.error.number());
        if version >= 5 {
            out.nullable_string(self.protocol_type.as_deref());
            out.nullable_string(self.protocol_name.as_deref());
        }
        out.bytes(&self.assignment);
        out.tags();
    }
}
