//! DescribeGroups: members of groups and their shares.

use bytes::Bytes;

use super::metadata::NO_OPERATIONS;
use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::DescribeGroups, min: 0, max: 5, flexible_from: 5 };

/// Which groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Their ids.
    pub groups: Vec<String>,
    /// From version 3 on.
    pub include_authorized_operations: bool,
}

/// Groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// In the order of the request.
    pub groups: Vec<Group>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Why it is not described.
    pub error: ErrorCode,
    /// Its id.
    pub group_id: String,
    /// `Empty`, `Stable` and so on; `Dead`: there is no such group.
    pub state: String,
    /// The kind of group: `consumer`.
    pub protocol_type: String,
    /// The way that was chosen to share partitions out.
    pub protocol: String,
    /// Its members.
    pub members: Vec<Member>,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub member_id: String,
    /// A static member, from version 4 on.
    pub group_instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it said in the way that was chosen.
    pub metadata: Bytes,
    /// Its share.
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
            groups: input.array(1, Input::string)?,
            include_authorized_operations: version >= 3 && input.boolean()?,
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
        out.array(&self.groups, |out, group| {
            out.i16(group.error.number());
            out.string(&group.group_id);
            out.string(&group.state);
            out.string(&group.protocol_type);
            out.string(&group.protocol);
            out.array(&group.members, |out, member| member.encode(out, version));
            if version >= 3 {
                out.i32(NO_OPERATIONS);
            }
            out.tags();
        });
        out.tags();
    }
}

impl Member {
    fn encode(&self, out: &mut Output, version: i16) {
        out.string(&self.member_id);
        if version >= 4 {
            out.nullable_string(self.group_instance_id.as_deref());
        }
        out.string(&self.client_id);
        out.string(&self.client_host);
        out.bytes(&self.metadata);
        out.bytes(&self.assignment);
        out.tags();
    }
}
