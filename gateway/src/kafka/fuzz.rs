//! What a client sends as plain functions over bytes, for fuzzers.
//!
//! A function here returns or panics: a panic is a finding. What it holds is bounded by a multiple of its input. Not part
//! of the interface of this package.

use super::messages::{Request, RequestHeader, SUPPORTED};
use super::wire::Input;

pub use super::auth::fuzz as sasl;

/// Takes any bytes as a request without its length; and if they are none that is served, as the body of some request,
/// which the first two bytes choose.
pub fn request(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if let Ok(header) = RequestHeader::decode(&mut input)
        && let Some(api) = header.supported()
    {
        let _ = Request::decode(api.key, &mut input, header.api_version);
        return;
    }
    let [which, version, body @ ..] = bytes else { return };
    let api = SUPPORTED[usize::from(*which) % SUPPORTED.len()];
    let version = api.min + i16::from(*version) % (api.max - api.min + 1);
    let mut input = Input::new(body);
    if Request::decode(api.key, &mut input, version).is_ok() {
        assert!(input.remaining() <= body.len(), "a request takes bytes off the input");
    }
}
