//! What the running agent answers, as commands read it: plain functions over bytes, for fuzzers. Not part of the interface
//! of this package.

use crate::config::Config;
use crate::local::status::Status;

/// Takes any bytes as a status, and draws it.
pub fn status(bytes: &[u8]) {
    if let Ok(status) = serde_json::from_slice::<Status>(bytes) {
        let _ = super::top::frame(&status);
    }
}

/// Takes any bytes as a line of the tap, and prints it.
pub fn tapped(bytes: &[u8]) {
    let document = serde_json::from_slice(bytes).unwrap_or_default();
    assert!(!super::tap::text(&document, &Config::default()).is_empty(), "a line says something");
}
