//! FindCoordinator: which broker keeps a group.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served. From version 5 on it is about transactions, then about share groups.
pub const API: Supported = Supported { key: ApiKey::FindCoordinator, min: 0, max: 4, flexible_from: 3 };

/// The kind of key that names a group; 1 names a transaction, of which there are none.
pub const GROUP: i8 = 0;

/// Keys whose coordinator is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What the keys are: [`GROUP`].
    pub key_type: i8,
    /// One before version 4.
    pub keys: Vec<String>,
}

/// A coordinator for each of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// In the order of the request; versions before 4 say the first one.
    pub coordinators: Vec<Coordinator>,
}

/// The broker that keeps a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coordinator {
    /// The key of the request.
    pub key: String,
    /// Its id; -1 with an error.
    pub node_id: i32,
    /// A name or an address.
    pub host: String,
    /// The port; -1 with an error.
    pub port: i32,
    /// Why there is none.
    pub error: ErrorCode,
    /// The same for people, from version 1 on.
    pub error_message: Option<String>,
}

impl Coordinator {
    /// There is none for this key.
    pub fn none(key: String, error: ErrorCode, message: &str) -> Self {
        Self { key, node_id: -1, host: String::new(), port: -1, error, error_message: Some(message.to_owned()) }
    }
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let key = if version <= 3 { Some(input.string()?) } else { None };
        let key_type = if version >= 1 { input.i8()? } else { GROUP };
        let keys = match key {
            Some(key) => vec![key],
            None => input.array(1, Input::string)?,
        };
        input.tags()?;
        Ok(Self { key_type, keys })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        if version >= 1 {
            out.i32(0);
        }
        if version >= 4 {
            out.array(&self.coordinators, |out, coordinator| {
                out.string(&coordinator.key);
                coordinator.encode_node(out);
                out.i16(coordinator.error.number());
                out.nullable_string(coordinator.error_message.as_deref());
                out.tags();
            });
        } else {
            let nobody;
            let coordinator = match self.coordinators.first() {
                Some(coordinator) => coordinator,
                None => {
                    nobody = Coordinator::none(String::new(), ErrorCode::CoordinatorNotAvailable, "no key");
                    &nobody
                }
            };
            out.i16(coordinator.error.number());
            if version >= 1 {
                out.nullable_string(coordinator.error_message.as_deref());
            }
            coordinator.encode_node(out);
        }
        out.tags();
    }
}

impl Coordinator {
    fn encode_node(&self, out: &mut Output) {
        out.i32(self.node_id);
        out.string(&self.host);
        out.i32(self.port);
    }
}
