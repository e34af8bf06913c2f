//! The sample settings in `deploy/`: complete, valid, and equal to the defaults, with every key that exists.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use weir_protocol::settings::Source;

const AGENT: &str = include_str!("../deploy/agent.toml");
const GATEWAY: &str = include_str!("../deploy/gateway.toml");

/// The keys of the settings below a table, and in tables below it, as the settings themselves name them when a key is
/// not known. `table` is `""` or `"mqtt."`.
fn keys_of<T: DeserializeOwned>(table: &str) -> BTreeSet<String> {
    let unknown = "no_such_key";
    // A list of tables, such as the serial lines, says nothing unless there is one; nor does a list in such a table.
    let name = table.trim_end_matches('.');
    let list = format!("[[{name}]]\n{unknown} = 1");
    let inner = name.split_once('.').map(|(outer, _)| format!("[[{outer}]]\n{list}"));
    let documents = [Some(format!("{table}{unknown} = 1")), Some(list), inner];
    let said = |document: &String| Source::new("sample", document).parse::<T>().err().map(|error| error.to_string());
    let Some(listed) = documents.iter().flatten().filter_map(said).find_map(|text| {
        let (_, listed) = text.split_once("known keys here: ")?;
        Some(listed.trim().split(", ").map(str::to_owned).collect::<Vec<_>>())
    }) else {
        return BTreeSet::new();
    };
    let mut keys = BTreeSet::new();
    for key in listed {
        let below = keys_of::<T>(&format!("{table}{key}."));
        if below.is_empty() {
            keys.insert(format!("{table}{key}"));
        }
        keys.extend(below);
    }
    keys
}

/// The keys that a sample names, set or shown in a comment.
fn keys_in(sample: &str) -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in uncommented(sample).lines() {
        if line.starts_with('[') {
            let (header, _) = line.split_once(" #").unwrap_or((line, ""));
            table = format!("{}.", header.trim_end().trim_matches(['[', ']']));
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{table}{key}"));
        }
    }
    keys
}

/// The sample with every setting that is shown in a comment. Those stand as `#key = value`, `#[table]` and
/// `#[[table]]`.
fn uncommented(sample: &str) -> String {
    let shown = |line: &str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let line = |line| match str::strip_prefix(line, "#") {
        Some(rest) if shown(rest) => format!("{rest}\n"),
        Some(_) => String::new(),
        None => format!("{line}\n"),
    };
    sample.lines().map(line).collect()
}

/// Settings as text, without the places where they stand.
fn as_text<T: DeserializeOwned + Debug>(document: &str) -> String {
    let text = format!("{:?}", Source::new("sample", document).parse::<T>().unwrap());
    let (first, rest) = text.split_once("span: ").unwrap();
    rest.split("span: ").fold(first.to_owned(), |all, part| all + part.trim_start_matches(|c| !matches!(c, ' ' | '}')))
}

/// `plain` is what the sample says beside defaults.
fn is_complete<T: DeserializeOwned + Debug>(sample: &str, plain: &str) {
    let (named, there) = (keys_in(sample), keys_of::<T>(""));
    assert!(there.len() > 10, "the settings name their keys: {there:?}");
    let missing: Vec<_> = there.difference(&named).collect();
    let extra: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty() && extra.is_empty(), "the sample lacks {missing:?} and has {extra:?} for nothing");
    assert_eq!(as_text::<T>(sample), as_text::<T>(plain), "the sample is what holds without a file");
    Source::new("every line of the sample in use", uncommented(sample)).parse::<T>().unwrap();
}

#[test]
fn the_sample_of_the_agent_names_every_key_with_its_default() {
    let address = "[uplink]\naddress = \"127.0.0.1:1883\"";
    is_complete::<weir_agent::config::Config>(AGENT, address);
    let gateways = |document: &str| {
        let config = weir_agent::config::Config::of(&Source::new("agent.toml", document)).unwrap();
        config.uplink.gateways().iter().map(|gateway| gateway.address.get_ref().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(gateways(AGENT), gateways(""), "the gateway of the sample is the one without a file");
    // Certificates are of use with TLS alone, and a key stands in a file or in a credential.
    let with_tls = uncommented(AGENT).replace("\naddress = \"127", "\naddress = \"mqtts://127");
    let with_tls = with_tls.replace("\ncredential = ", "\n# ");
    weir_agent::config::Config::of(&Source::new("agent.toml", with_tls)).unwrap();
}

#[test]
fn the_sample_of_the_gateway_names_every_key_with_its_default() {
    is_complete::<weir_gateway::config::Config>(GATEWAY, "");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), uncommented(GATEWAY)).unwrap();
    weir_gateway::config::Config::load(Some(file.path()), []).unwrap();
}
