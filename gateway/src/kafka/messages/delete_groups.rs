//! DeleteGroups: forgets groups and what they have committed.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::DeleteGroups, min: 0, max: 2, flexible_from: 2 };

/// Which groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Their ids.
    pub groups: Vec<String>,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// In the order of the request.
    pub groups: Vec<Group>,
}

/// What became of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub group_id: String,
    /// Why it was not deleted.
    pub error: ErrorCode,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let groups = input.array(1, Input::string)?;
        input.tags()?;
        Ok(Self { groups })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i32(0);
        out.array(&self.groups, |out, group| {
            out.string(&group.group_id);
            out.i16(group.error.number());
            out.tags();
        });
        out.tags();
    }
}
