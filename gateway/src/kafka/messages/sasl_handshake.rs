//! SaslHandshake: how the client wants to prove who it is.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served. After version 0 the messages of the mechanism come bare, without a header.
pub const API: Supported = Supported { key: ApiKey::SaslHandshake, min: 0, max: 1, flexible_from: 2 };

/// A mechanism.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `PLAIN`, `SCRAM-SHA-256` or another.
    pub mechanism: String,
}

/// Whether it is known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why it cannot be used.
    pub error: ErrorCode,
    /// Those that can.
    pub mechanisms: Vec<String>,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        Ok(Self { mechanism: input.string()? })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i16(self.error.number());
        out.array(&self.mechanisms, |out, mechanism| out.string(mechanism));
    }
}
