//! `config show`: every setting that is written and who wrote it, as the agent that runs has it, else as one that starts
//! would.

use serde::Serialize;

use super::arguments::{Format, SettingsArgs};
use super::{Failure, in_force, print, print_json, runtime};
use crate::config::Setting;
use crate::local::ask;
use crate::local::settings::RemoteSettings;

/// What is printed.
#[derive(Serialize)]
struct Shown<'a> {
    agent: &'a str,
    /// The process that said so; none: no agent runs.
    pid: Option<u32>,
    remote: Option<RemoteSettings>,
    settings: &'a [Setting],
    /// Keys whose values an agent would have otherwise that starts now.
    unread: Vec<&'a str>,
}

pub(super) fn run(args: &SettingsArgs) -> Result<(), Failure> {
    let path = args.settings.config.as_path();
    let found = in_force(&args.settings)?;
    if found.is_in_doubt()
        && let Some(note) = found.note(path)
    {
        eprintln!("{note}");
    }
    let config = &found.config;
    let running = runtime()?.block_on(ask::settings(config));
    let shown = match &running {
        Ok(running) => Shown {
            agent: &running.agent,
            pid: Some(running.pid),
            remote: running.remote,
            settings: &running.settings,
            unread: Setting::differences(&running.settings, &config.written),
        },
        Err(_) => {
            let of = |version| RemoteSettings { version, on_trial: found.is_on_trial() };
            let (agent, remote) = (config.name.as_str(), config.overlay.map(of));
            Shown { agent, pid: None, remote, settings: &config.written, unread: Vec::new() }
        }
    };
    match args.output.output {
        Format::Json => print_json(&shown),
        Format::Text => text(&shown, &path.display().to_string()).iter().try_for_each(|line| print(line)),
    }
}

/// TOML, with what is not in comments.
fn text(shown: &Shown<'_>, path: &str) -> Vec<String> {
    let who = shown.pid.map_or_else(|| "would start with".to_owned(), |pid| format!("runs with, as process {pid}"));
    let mut lines = vec![format!("# What {} {who}; keys that are not here have their defaults.", shown.agent)];
    if let Some(RemoteSettings { version, on_trial }) = shown.remote {
        let trial = if on_trial { ", on trial" } else { "" };
        lines.push(format!("# Remote settings {version}{trial} lie over {path}."));
    }
    if !shown.unread.is_empty() {
        let keys = shown.unread.join(", ");
        lines.push(format!("# Otherwise in {path} or the environment now: {keys}; sudo systemctl reload weir-agent"));
    }
    let assignments = shown.settings.iter().map(|setting| format!("{} = {}", setting.key, setting.value));
    let assignments: Vec<String> = assignments.collect();
    let width = assignments.iter().map(|line| line.chars().count()).max().unwrap_or(0).min(60);
    let with_source = |(line, setting): (&String, &Setting)| format!("{line:<width$}  # {}", setting.source);
    lines.extend(assignments.iter().zip(shown.settings).map(with_source));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_runs_is_told_apart_from_what_would_start() {
        let setting =
            |key: &str, value, source: &str| Setting { key: key.to_owned(), value, source: source.to_owned() };
        let settings =
            [setting("name", json!("edge-1"), "a.toml:1"), setting("uplink.window", json!(8), "remote settings 7:2")];
        let remote = Some(RemoteSettings { version: 7, on_trial: true });
        let shown = Shown { agent: "edge-1", pid: Some(12), remote, settings: &settings, unread: vec!["drain"] };
        assert_eq!(
            text(&shown, "a.toml"),
            [
                "# What edge-1 runs with, as process 12; keys that are not here have their defaults.",
                "# Remote settings 7, on trial lie over a.toml.",
                "# Otherwise in a.toml or the environment now: drain; sudo systemctl reload weir-agent",
                "name = \"edge-1\"    # a.toml:1",
                "uplink.window = 8  # remote settings 7:2",
            ]
        );
        let shown = Shown { pid: None, remote: None, unread: Vec::new(), ..shown };
        assert!(text(&shown, "a.toml")[0].starts_with("# What edge-1 would start with; "));
    }
}
