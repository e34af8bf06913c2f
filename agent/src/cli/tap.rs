//! `tap`: readings as they pass the rules of the running agent.
//!
//! It outlives the agent's reading its settings again, and a restart: it asks again for [`PATIENCE`], and says so.

use std::io::{ErrorKind, Write, stdout};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::arguments::{Format, TapArgs};
use super::{Failure, in_force, load, runtime, top};
use crate::config::Config;
use crate::http::Reply;
use crate::local::ask::ask;

/// How long an agent may take to be there again: it closes and opens its queue.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) fn run(args: &TapArgs) -> Result<(), Failure> {
    let mut config = load(&args.settings)?;
    runtime()?.block_on(async {
        let mut seen = 0;
        let mut reply = ask(&config, &path(args, seen)).await.map_err(top::failure)?;
        loop {
            match listen(&config, args, reply, &mut seen).await? {
                End::Enough => return Ok(()),
                End::Broken => eprintln!("the agent stopped, or reads its settings again; waiting for it"),
            }
            reply = again(&config, args, seen).await?;
            eprintln!("the agent is there again; what passed meanwhile was not seen");
            // Its classes may have other names now. Wrong settings are not those that it runs with.
            if let Ok(found) = in_force(&args.settings) {
                config = found.config;
            }
        }
    })
}

/// Why listening ended.
enum End {
    /// Whoever typed it has what was asked for.
    Enough,
    /// The agent went away.
    Broken,
}

/// Asks until the agent is there again.
async fn again(config: &Config, args: &TapArgs, seen: u64) -> Result<Reply, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask(config, &path(args, seen)).await {
            Ok(reply) => return Ok(reply),
            Err(error) if Instant::now() >= until => return Err(top::failure(error)),
            Err(_) => sleep(LOOK_AGAIN).await,
        }
    }
}

/// Prints what passes, and counts it.
async fn listen(config: &Config, args: &TapArgs, mut reply: Reply, seen: &mut u64) -> Result<End, Failure> {
    if reply.status() != 200 {
        let text = reply.text().await.map_err(|error| top::failure(error.into()))?;
        return Err(Failure::Unavailable(text.trim_end().to_owned()));
    }
    // A connection that breaks is one that ended.
    while let Ok(Some(line)) = reply.line().await {
        let document: Value = serde_json::from_str(&line).unwrap_or_default();
        if document["missed"] == 0 {
            // Said so that the agent learns who is gone.
            continue;
        }
        *seen += u64::from(document["missed"].is_null());
        let printed = match args.output.output {
            Format::Json => writeln!(stdout(), "{line}"),
            Format::Text => writeln!(stdout(), "{}", text(&document, config)),
        };
        match printed {
            // A reader that has seen enough (`| head`) is no failure.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(End::Enough),
            Err(error) => return Err(Failure::Failed(format!("cannot print: {error}"))),
            Ok(()) => {}
        }
    }
    Ok(if args.count.is_some_and(|count| *seen >= count) { End::Enough } else { End::Broken })
}

/// What to ask for after `seen` readings.
fn path(args: &TapArgs, seen: u64) -> String {
    let count = args.count.map(|count| count.saturating_sub(seen).to_string());
    let wanted = [("device", &args.device), ("channel", &args.channel), ("count", &count)];
    let wanted = wanted.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    format!("/tap?{}", wanted.collect::<Vec<_>>().join("&"))
}

/// As it can stand behind a `?`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// Before, by which rule, and after.
pub(super) fn text(line: &Value, config: &Config) -> String {
    if let Some(missed) = line["missed"].as_u64() {
        return format!("... {missed} missed: more passed than could be shown ...");
    }
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let unit =
        |value: &Value| value.as_str().filter(|unit| !unit.is_empty()).map_or(String::new(), |unit| format!(" {unit}"));
    let (then, rule) = (&line["then"], line["rule"].as_u64());
    let after = match (then["is"].as_str().unwrap_or_default(), rule) {
        ("passed", None) => "passed, no rule".to_owned(),
        ("passed", Some(_)) => {
            let class = class(config, then["class"].as_u64().unwrap_or(0));
            format!("{} {}{}, class {class}", word(&then["channel"]), word(&then["value"]), unit(&then["unit"]))
        }
        ("refused", _) => format!("refused: {}, expected {}", word(&then["value"]), word(&then["expected"])),
        ("held", _) => format!("held in a window: {}", word(&then["value"])),
        (what, _) => what.to_owned(),
    };
    let rule = rule.map_or(String::new(), |rule| format!("rule {rule}: "));
    format!(
        "{} {} {}{}  #{}  -> {rule}{after}",
        word(&line["device"]),
        word(&line["channel"]),
        word(&line["value"]),
        unit(&line["unit"]),
        line["sequence"],
    )
}

/// What the settings call a class.
fn class(config: &Config, number: u64) -> String {
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let named = at.and_then(|at| config.queue.class.get(at));
    named.map_or_else(|| "default".to_owned(), |class| class.name.get_ref().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_says_what_was_what_is_and_by_which_rule() {
        let config = Config::default();
        let before = json!({"device": "b", "channel": "temp", "value": 21.5, "unit": "Cel", "sequence": 7});
        let said = |rule: Value, then: Value| {
            let mut line = before.clone();
            (line["rule"], line["then"]) = (rule, then);
            text(&line, &config)
        };
        let cases = [
            (Value::Null, json!({"is": "passed", "channel": "temp", "value": 21.5, "unit": "Cel"}), "passed, no rule"),
            (
                json!(2),
                json!({"is": "passed", "channel": "t", "value": 70.7, "unit": "[degF]", "class": 0}),
                "rule 2: t 70.7 [degF], class default",
            ),
            (
                json!(1),
                json!({"is": "refused", "value": 999, "expected": "-40 to 85"}),
                "rule 1: refused: 999, expected -40 to 85",
            ),
            (json!(3), json!({"is": "suppressed"}), "rule 3: suppressed"),
            (json!(3), json!({"is": "held", "value": 21.5}), "rule 3: held in a window: 21.5"),
        ];
        for (rule, then, after) in cases {
            assert_eq!(said(rule, then), format!("b temp 21.5 Cel  #7  -> {after}"));
        }
        assert!(text(&json!({"missed": 12}), &config).contains("12 missed"));
        assert_eq!(encoded("a b*"), "a%20b%2A");
    }
}
