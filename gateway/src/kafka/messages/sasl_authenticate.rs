//! SaslAuthenticate: one message of the mechanism each way.

use bytes::Bytes;

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::SaslAuthenticate, min: 0, max: 2, flexible_from: 2 };

/// A message of the client.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// In the mechanism's own form; it may hold a password.
    pub auth_bytes: Bytes,
}

impl std::fmt::Debug for Request {
    /// Without what may be a password.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Request").field("auth_bytes", &self.auth_bytes.len()).finish()
    }
}

/// A message of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why the client is not let in.
    pub error: ErrorCode,
    /// The same for people.
    pub error_message: Option<String>,
    /// In the mechanism's own form.
    pub auth_bytes: Bytes,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let auth_bytes = input.bytes()?;
        input.tags()?;
        Ok(Self { auth_bytes })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i16(self.error.number());
        out.nullable_string(self.error_message.as_deref());
        out.bytes(&self.auth_bytes);
        if version >= 1 {
            // The session has no end.
            out.i64(0);
        }
        out.tags();
    }
}
