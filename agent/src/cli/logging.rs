//! Logs: on stderr, text on a terminal, else one JSON object a line. `WEIR_LOG` says how much, as in
//! `WEIR_LOG=debug`; `NO_COLOR` means what it says.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// The library repeats each refusal in words of its own.
const DEFAULT: &str = "info,rumqttc=error";

pub(super) fn start() {
    let wanted = std::env::var("WEIR_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    // `DEFAULT` parses, so the fallback behind it is never taken.
    let filter = wanted.or_else(|| DEFAULT.parse().ok()).unwrap_or_default();
    let registry = tracing_subscriber::registry().with(filter);
    if stderr().is_terminal() {
        let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        registry.with(fmt::layer().with_writer(stderr).with_target(false).with_ansi(color)).init();
    } else {
        registry.with(fmt::layer().with_writer(stderr).with_target(false).json().flatten_event(true)).init();
    }
}
