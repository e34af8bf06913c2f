//! The agent that runs with these settings, if it does.

use super::{Check, Ground};
use crate::config::Setting;
use crate::http::ClientError;
use crate::local::ask::{self, AskError};
use crate::local::status::Status;

pub(super) fn check(_: &Ground<'_>, running: &Result<Status, AskError>) -> Vec<Check> {
    let subject = "running agent";
    match running {
        Ok(status) => {
            let found = format!("version {}, process {}, up for {} s", status.version, status.pid, status.uptime_s);
            let mut checks = vec![Check::ok(subject, found)];
            if status.version != env!("CARGO_PKG_VERSION") {
                let found =
                    format!("it is version {}, and this program is {}", status.version, env!("CARGO_PKG_VERSION"));
                checks.push(Check::warning(subject, found, "sudo systemctl restart weir-agent"));
            }
            checks.extend(status.reasons.iter().map(|reason| {
                Check::problem(subject, reason, "weir-agent top shows it; journalctl -u weir-agent -n 50 says more")
            }));
            checks
        }
        Err(error @ AskError::Client(ClientError::Unreachable { .. })) => {
            let fix = "sudo systemctl status weir-agent; journalctl -u weir-agent -n 50";
            vec![Check::warning(subject, error.to_string(), fix)]
        }
        Err(error) => vec![Check::warning(subject, error.to_string(), "sudo systemctl restart weir-agent")],
    }
}

/// Whether it runs with the settings that are looked at here.
pub(super) async fn settings(ground: &Ground<'_>) -> Option<Check> {
    // One of another version may not tell; that it is another is said already.
    let running = ask::settings(ground.config).await.ok()?;
    let keys = Setting::differences(&running.settings, &ground.config.written);
    let found = format!("it runs with other settings than an agent that starts now: {}", keys.join(", "));
    let fix = "sudo weir-agent config show says who set what; sudo systemctl reload weir-agent reads the file again";
    (!keys.is_empty()).then(|| Check::warning("running agent", found, fix))
}
