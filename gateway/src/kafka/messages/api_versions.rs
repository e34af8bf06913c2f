//! ApiVersions: which requests are served, in which versions.

use super::{ApiKey, ErrorCode, SUPPORTED, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::ApiVersions, min: 0, max: 4, flexible_from: 3 };

/// What can be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The client library, from version 3 on; else empty.
    pub client_software_name: String,
    /// Its version, from version 3 on; else empty.
    pub client_software_version: String,
}

/// [`SUPPORTED`], or that the version of the request is not served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// [`ErrorCode::UnsupportedVersion`] if it is not; that response is encoded in version 0, which every client reads,
    /// and the client asks again in a version of the list.
    pub error: ErrorCode,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let mut request = Self::default();
        if version >= 3 {
            request.client_software_name = input.string()?;
            request.client_software_version = input.string()?;
        }
        input.tags()?;
        Ok(request)
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i16(self.error.number());
        out.array(&SUPPORTED, |out, api| {
            out.i16(api.key.number());
            out.i16(api.min);
            out.i16(api.max);
            out.tags();
        });
        if version >= 1 {
            out.i32(0);
        }
        out.tags();
    }
}
