//! Versions: how the formats may change.
//!
//! A receiver accepts every version from `MIN` to `CURRENT` and answers others with an error that names
//! both. Within a version, enums are append-only: variants are never reordered, removed or reused, because
//! postcard writes their position. A struct never changes within a version. Formats are not frozen yet; once
//! they are, each released version has its bytes pinned by a test.

/// Versions of a serial frame that this build reads.
pub const SERIAL_MIN: u8 = 1;
/// The version of a serial frame that this build writes.
pub const SERIAL_CURRENT: u8 = 1;
/// Versions of an MQTT envelope that this build reads.
pub const ENVELOPE_MIN: u8 = 1;
/// The version of an MQTT envelope that this build writes.
pub const ENVELOPE_CURRENT: u8 = 1;
