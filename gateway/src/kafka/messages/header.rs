//! What stands before each request and each response.

use super::{ApiKey, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API by its number; it may be one that is not served.
    pub api_key: i16,
    /// The version of the request and of its response; it may be one that is not served.
    pub api_version: i16,
    /// What the response has to repeat.
    pub correlation_id: i32,
    /// What the client calls itself; nothing depends on it.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads a header of an API in any version. What follows can be decoded if [`RequestHeader::supported`].
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no header.
    pub fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (api_key, api_version, correlation_id) = (input.i16()?, input.i16()?, input.i32()?);
        // In the classic encoding in every version, so that a server can read the header of a request that it does not
        // know.
        input.set_flexible(false);
        let client_id = input.nullable_string()?;
        let header = Self { api_key, api_version, correlation_id, client_id };
        if let Some(api) = header.supported() {
            input.set_flexible(api.is_flexible(api_version));
            input.tags()?;
        }
        Ok(header)
    }

    /// The API, if it is served in this version.
    pub fn supported(&self) -> Option<&'static Supported> {
        Supported::of(self.api_key).filter(|api| api.serves(self.api_version))
    }
}

/// Writes the header of a response to a request of `api` in this version.
///
/// A response to ApiVersions has the oldest header in every version: the client does not know yet what the server knows.
pub fn encode_response(out: &mut Output, api: &Supported, version: i16, correlation_id: i32) {
    out.i32(correlation_id);
    out.set_flexible(api.is_flexible(version) && api.key != ApiKey::ApiVersions);
    out.tags();
}
