//! Logs: on stderr, text on a terminal, else one JSON object a line. `WEIR_LOG` says how much, as in
//! `WEIR_LOG=debug`; `NO_COLOR` means what it says.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

pub(super) fn start() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| {
        // The library repeats each refusal in words of its own.
        EnvFilter::new("info,rumqttc=error")
    });
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    if stderr().is_terminal() {
        logs.with_ansi(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())).init();
    } else {
        logs.json().init();
    }
}
