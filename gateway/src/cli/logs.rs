//! Logging: to stderr, as text on a terminal and as one JSON object per line elsewhere.
//!
//! `WEIR_LOG` sets the level, such as `debug` or `weir_gateway::front=debug`; `NO_COLOR` takes the colours away.
//! What a stranger can cause goes through a [`crate::log_gate`] and is counted in the metrics, so a flood cannot fill a
//! disk.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// The level without `WEIR_LOG`. What the live router says of its own is for its own developers; its failures are told
/// by [`crate::router`].
const DEFAULT: &str = "info,rumqttd=off";

/// Starts logging for the whole process.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        builder.with_ansi(std::env::var_os("NO_COLOR").is_none()).with_target(false).init();
    } else {
        builder.json().flatten_event(true).with_target(false).init();
    }
}
