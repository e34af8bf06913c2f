//! Settings: how both daemons read their TOML file, and how they tell a person what is wrong with it.
//!
//! Guarantees: reading settings changes nothing on disk; an unknown key, a wrong type or a wrong unit is one
//! message that names file, line and column, shows the line with a caret, and says what to type. A file is
//! at most [`MAX_FILE`] bytes.
//!
//! Every key can be overridden by an environment variable: prefix, then the path of the key in capitals,
//! tables joined by two underscores. With the prefix `WEIR_AGENT_`, `uplink.address` is
//! `WEIR_AGENT_UPLINK__ADDRESS`. Its value is TOML if it parses as that, else text.
//!
//! A settings type derives `Deserialize` with `deny_unknown_fields` and takes times as [`Period`] and sizes
//! as [`ByteSize`]. What only the program can judge is wrapped in [`Spanned`] and reported by
//! [`Source::error`] at the place it came from.

mod error;
mod explain;
mod source;
mod units;
mod written;

pub use error::SettingsError;
pub use source::{MAX_FILE, Source};
pub use toml::Spanned;
pub use units::{ByteSize, Period};
pub use written::Written;
