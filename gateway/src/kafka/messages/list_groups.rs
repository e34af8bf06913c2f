//! ListGroups: which groups there are.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::ListGroups, min: 0, max: 5, flexible_from: 3 };

/// The type of all groups here, for version 5.
pub const CLASSIC: &str = "classic";

/// Which groups are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// States that are wanted, from version 4 on; empty: all.
    pub states: Vec<String>,
    /// Types that are wanted, in version 5, such as [`CLASSIC`]; upper and lower case are the same; empty: all.
    pub types: Vec<String>,
}

/// Groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why there is no answer.
    pub error: ErrorCode,
    /// The groups; all are of type [`CLASSIC`].
    pub groups: Vec<Group>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub group_id: String,
    /// The kind of group: `consumer`, or empty if it never had a member.
    pub protocol_type: String,
    /// `Empty`, `Stable` and so on, from version 4 on.
    pub state: String,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let request = Self {
            states: if version >= 4 { input.array(1, Input::string)? } else { Vec::new() },
            types: if version >= 5 { input.array(1, Input::string)? } else { Vec::new() },
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
        out.array(&self.groups, |out, group| {
            out.string(&group.group_id);
            out.string(&group.protocol_type);
            if version >= 4 {
                out.string(&group.state);
            }
            if version >= 5 {
                out.string(CLASSIC);
            }
            out.tags();
        });
        out.tags();
    }
}
