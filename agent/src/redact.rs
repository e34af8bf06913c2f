//! What is secret in settings, and how it stays out of an archive and out of what the local port tells.
//!
//! Settings are read as a tree, so that neither the way they are written nor a comment can hide anything. What is taken
//! out: values of keys that are called like secrets, unless they are paths; the user and password in an address; every
//! word but the first of a command, because tokens are passed that way. The same texts are then taken out of everything
//! else.

use serde_json::Value;

/// What stands in place of a secret.
const MARK: &str = "[redacted]";
/// Parts of names of keys whose values are secret.
const SECRET: [&str; 6] = ["password", "passphrase", "secret", "token", "credential", "authorization"];
/// Names of lists that are typed to a shell or the system.
const COMMANDS: [&str; 3] = ["command", "run", "args"];
/// A shorter text is no secret worth the name, and taking it out everywhere would leave nothing to read.
const SHORTEST: usize = 4;

/// Settings without their secrets, and what those were.
#[derive(Debug, Default)]
pub(crate) struct Redacted {
    settings: Option<Value>,
    secrets: Vec<String>,
}

impl Redacted {
    /// Takes the secrets out of settings.
    pub(crate) fn of(mut settings: Value) -> Self {
        let mut secrets = Vec::new();
        walk("", &mut settings, &mut secrets);
        // The longer first: one may be part of another.
        secrets.sort_by_key(|secret: &String| std::cmp::Reverse(secret.len()));
        Self { settings: Some(settings), secrets }
    }

    /// What is left, as JSON.
    pub(crate) fn settings(&self) -> String {
        match &self.settings {
            Some(settings) => format!("{settings:#}"),
            None => "the settings cannot be read; see validate.txt".to_owned(),
        }
    }

    /// Takes the same secrets out of a text.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MARK))
    }
}

/// Takes what is secret out of the value at `path`, such as `mqtt[0].password`.
pub(crate) fn hide(path: &str, value: &mut Value) {
    let key = path.rsplit('.').next().unwrap_or(path);
    walk(key.split('[').next().unwrap_or(key), value, &mut Vec::new());
}

fn walk(key: &str, value: &mut Value, secrets: &mut Vec<String>) {
    match value {
        Value::Object(table) => table.iter_mut().for_each(|(key, value)| walk(key, value, secrets)),
        Value::Array(list) => {
            // Tables that are called so are tables like others.
            let words = list.iter_mut().skip(1).filter(|_| COMMANDS.contains(&key));
            words.filter(|word| word.is_string()).for_each(|word| take(word, secrets));
            list.iter_mut().for_each(|value| walk(key, value, secrets));
        }
        Value::String(text) if is_secret(key, text) => take(value, secrets),
        Value::String(text) => hide_login(text, secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_secret(key: &str, text: &str) -> bool {
    let is_called_so = SECRET.iter().any(|part| key.contains(part)) || key == "key" || key.ends_with("_key");
    let names_a_file = key.ends_with("_file") || text.starts_with('/');
    is_called_so && !names_a_file || SECRET.iter().any(|part| text.contains(&format!("{part}=")))
}

fn take(value: &mut Value, secrets: &mut Vec<String>) {
    if let Value::String(text) = value {
        if text.len() >= SHORTEST && text != MARK {
            secrets.push(core::mem::take(text));
        }
        *text = MARK.to_owned();
    }
}

/// `scheme://user:password@host` keeps scheme and host; the scheme may have been forgotten.
fn hide_login(text: &mut String, secrets: &mut Vec<String>) {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let Some(at) = text[start..end].rfind('@').map(|at| start + at) else { return };
    let login = text[start..at].to_owned();
    let password = login.split_once(':').map(|(_, password)| password.to_owned());
    secrets.extend(password.into_iter().chain([login]).filter(|secret| secret.len() >= SHORTEST));
    text.replace_range(start..at, MARK);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_taken_out_wherever_they_stand_and_the_rest_stays() {
        let redacted = Redacted::of(json!({
            "name": "edge-1",
            "uplink": {
                "address": ["mqtts://us:er@a:8883", "b:1883"],
                "proxy": "http://joe:pa/ss@proxy:3128",
                "username": "edge-1",
                "password_file": "/etc/weir/password",
                "key": "/etc/weir/key.pem",
            },
            "mqtt": [{ "password": "hunter22", "broker": "mqtt://mary:s3cr3t@lan:1883/a@b" }],
            "line_protocol": { "token": "t0k3n-of-telegraf" },
            "queue": { "encryption": { "inline_key": "00112233" } },
            "exec": [{ "command": ["/usr/bin/read", "--auth", "abcdefg"] }],
            "url": "http://host/?password=abc",
        }));
        let settings = redacted.settings();
        for kept in
            ["edge-1", "/etc/weir/password", "/etc/weir/key.pem", "a:8883", "b:1883", "@lan:1883/a@b", "/usr/bin/read"]
        {
            assert!(settings.contains(kept), "{kept} in {settings}");
        }
        for gone in ["us:er", "hunter22", "s3cr3t", "mary", "t0k3n", "00112233", "abcdefg", "password=abc"] {
            assert!(!settings.contains(gone), "{gone} in {settings}");
        }
        let log = redacted.scrub("connected with hunter22 as mary:s3cr3t; t0k3n-of-telegraf was refused");
        assert_eq!(log, "connected with [redacted] as [redacted]; [redacted] was refused");
    }
}
