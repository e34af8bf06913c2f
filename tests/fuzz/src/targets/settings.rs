//! The settings files of both daemons, with variables of the environment over them: everything behind the first zero
//! byte is a variable for each line.

use weir_protocol::settings::{SettingsError, Source};

use crate::target::Target;

pub(super) const AGENT: Target = Target {
    name: "settings-agent",
    run: |bytes| run(bytes, "WEIR_AGENT_", |source| weir_agent::config::Config::of(source).err()),
    max_len: 16 << 10,
    memory: 8 << 20,
    inputs: 40_000,
    seeds: || seeds(include_str!("../../../../deploy/agent.toml")),
};
pub(super) const GATEWAY: Target = Target {
    name: "settings-gateway",
    run: |bytes| run(bytes, "WEIR_GATEWAY_", |source| weir_gateway::config::Config::of(source).err()),
    max_len: 16 << 10,
    memory: 8 << 20,
    inputs: 40_000,
    seeds: || seeds(include_str!("../../../../deploy/gateway.toml")),
};

const VARIABLES: &[u8] =
    b"drain = \"10s\"\n[queue]\ncap = \"1 MiB\"\n\0DRAIN=5s\nQUEUE__CAP=2 MiB\nMQTT__LISTEN=\"[::1]:0\"\nNAME=1";

/// The sample settings without their comments, the same with every key that is commented out, and variables.
fn seeds(sample: &str) -> Vec<(&'static str, Vec<u8>)> {
    let plain: String = sample.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    // `#key` is a key, `# text` a comment.
    let is_text = |line: &&str| line.starts_with("# ") || *line == "#";
    let keys = sample.lines().filter(|line| !is_text(line)).map(|line| line.strip_prefix('#').unwrap_or(line));
    let every: String = keys.map(|line| format!("{line}\n")).collect();
    vec![("sample", plain.into_bytes()), ("every-key", every.into_bytes()), ("variables", VARIABLES.to_vec())]
}

fn run(bytes: &[u8], prefix: &str, load: fn(&Source) -> Option<SettingsError>) {
    let text = String::from_utf8_lossy(bytes);
    let (file, variables) = text.split_once('\0').unwrap_or((&text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (format!("{prefix}{name}"), value.to_owned()));
    let source = Source::new("settings.toml", file).with_overrides(prefix, variables);
    if let Some(error) = load(&source) {
        assert!(!error.to_string().is_empty(), "a refusal says why");
    }
}
