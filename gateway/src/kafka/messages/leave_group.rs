//! LeaveGroup: members give their partitions back at once.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::LeaveGroup, min: 0, max: 5, flexible_from: 4 };

/// Members leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: String,
    /// One before version 3.
    pub members: Vec<RequestMember>,
}

/// A member that leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMember {
    /// Its id; empty if a static member is named by its instance alone.
    pub member_id: String,
    /// A static member, from version 3 on.
    pub group_instance_id: Option<String>,
    /// Why it leaves, in version 5.
    pub reason: Option<String>,
}

/// Which of them have left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why none has.
    pub error: ErrorCode,
    /// In the order of the request; before version 3 the one member's error is the error of all.
    pub members: Vec<Member>,
}

/// What became of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub member_id: String,
    /// A static member.
    pub group_instance_id: Option<String>,
    /// Why it has not left.
    pub error: ErrorCode,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let group_id = input.string()?;
        let members = if version >= 3 {
            input.array(3, |input| {
                let member = RequestMember {
                    member_id: input.string()?,
                    group_instance_id: input.nullable_string()?,
                    reason: if version >= 5 { input.nullable_string()? } else { None },
                };
                input.tags()?;
                Ok(member)
            })?
        } else {
            vec![RequestMember { member_id: input.string()?, ..RequestMember::default() }]
        };
        input.tags()?;
        Ok(Self { group_id, members })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        if version >= 1 {
            out.i32(0);
        }
        let of_one = self.members.first().map_or(ErrorCode::None, |member| member.error);
        let error = if version < 3 && self.error.is_none() { of_one } else { self.error };
        out.i16(error.number());
        if version >= 3 {
            out.array(&self.members, |out, member| {
                out.string(&member.member_id);
                out.nullable_string(member.group_instance_id.as_deref());
                out.i16(member.error.number());
                out.tags();
            });
        }
        out.tags();
    }
}
