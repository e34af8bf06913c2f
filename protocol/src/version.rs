//! Versions: how the formats may change.
//!
//! A receiver accepts every version from `MIN` to `CURRENT` and answers others with an error that names
//! both. Version 1 is frozen: `protocol/tests/format/v1.txt` pins every message of it, and no line of that file
//! changes. Within a version, enums are append-only: variants are never reordered, removed or reused, because
//! postcard writes their position, and a new one is read a release before it is written. A struct never changes.
//! Whatever else changes takes a new version, whose bytes are pinned in a file of their own; `protocol/FORMATS.md`
//! says how long the old one is read, and what two sides of different versions do.

/// Versions of a serial frame that this build reads.
pub const SERIAL_MIN: u8 = 1;
/// The version of a serial frame that this build writes.
pub const SERIAL_CURRENT: u8 = 1;
/// Versions of an MQTT envelope that this build reads.
pub const ENVELOPE_MIN: u8 = 1;
/// The version of an MQTT envelope that this build writes.
pub const ENVELOPE_CURRENT: u8 = 1;
