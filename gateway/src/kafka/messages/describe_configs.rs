//! DescribeConfigs: how topics and the broker are set.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::DescribeConfigs, min: 1, max: 4, flexible_from: 4 };

/// A resource that is a topic.
pub const TOPIC: i8 = 2;
/// A resource that is a broker; its name is the node id.
pub const BROKER: i8 = 4;

/// Whose settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Topics and brokers.
    pub resources: Vec<RequestResource>,
    /// Also say where a value comes from.
    pub include_synonyms: bool,
    /// Also say what a setting means, from version 3 on.
    pub include_documentation: bool,
}

/// A topic or a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestResource {
    /// [`TOPIC`] or [`BROKER`]; it may be something else.
    pub kind: i8,
    /// Its name.
    pub name: String,
    /// Which of its settings; None: all.
    pub keys: Option<Vec<String>>,
}

/// Settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// In the order of the request.
    pub resources: Vec<Resource>,
}

/// Settings of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Why there is no answer.
    pub error: ErrorCode,
    /// The same for people.
    pub error_message: Option<String>,
    /// [`TOPIC`] or [`BROKER`].
    pub kind: i8,
    /// Its name.
    pub name: String,
    /// The settings, which clients cannot change.
    pub entries: Vec<Entry>,
}

/// A setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Kafka's name for it.
    pub name: String,
    /// None: not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// What the value is, from version 3 on.
    pub kind: Kind,
    /// What it means, from version 3 on, if that was asked for.
    pub documentation: Option<String>,
}

/// Where a value comes from; there are no synonyms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The settings of this topic.
    Topic = 1,
    /// The settings file.
    Broker = 4,
    /// Nobody set it.
    #[default]
    Default = 5,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
#[expect(missing_docs, reason = "the protocol's own names")]
pub enum Kind {
    #[default]
    Unknown = 0,
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    List = 7,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let request = Self {
            resources: input.array(4, |input| {
                let resource = RequestResource {
                    kind: input.i8()?,
                    name: input.string()?,
                    keys: input.nullable_array(1, Input::string)?,
                };
                input.tags()?;
                Ok(resource)
            })?,
            include_synonyms: input.boolean()?,
            include_documentation: version >= 3 && input.boolean()?,
        };
        input.tags()?;
        Ok(request)
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i32(0);
        out.array(&self.resources, |out, resource| {
            out.i16(resource.error.number());
            out.nullable_string(resource.error_message.as_deref());
            out.i8(resource.kind);
            out.string(&resource.name);
            out.array(&resource.entries, |out, entry| entry.encode(out, version));
            out.tags();
        });
        out.tags();
    }
}

impl Entry {
    fn encode(&self, out: &mut Output, version: i16) {
        out.string(&self.name);
        out.nullable_string(self.value.as_deref());
        // Read only, and nothing here is a secret.
        out.boolean(true);
        out.i8(self.source as i8);
        out.boolean(false);
        out.array::<()>(&[], |_, ()| ());
        if version >= 3 {
            out.i8(self.kind as i8);
            out.nullable_string(self.documentation.as_deref());
        }
        out.tags();
    }
}
