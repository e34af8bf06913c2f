//! Every command: what its help says, and how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Command;
use rumqttc::v5::mqttbytes::v5::Packet;

use crate::process::{Place, text};
use crate::support::gateway::Gateway;
use crate::support::local::get;
use crate::support::nowhere::Nowhere;

/// Commands that print nothing which a program would read as JSON: they run, or print a file of some format.
const NO_DATA: [&str; 7] =
    ["run", "config", "config keygen", "config sign", "config sign-command", "completions", "man"];

/// Every command that does something, as it is typed.
fn leaves() -> BTreeMap<String, Command> {
    fn below(command: &Command, typed: &str, found: &mut BTreeMap<String, Command>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let typed = format!("{typed} {}", sub.get_name()).trim_start().to_owned();
            if !sub.has_subcommands() || !sub.is_subcommand_required_set() {
                found.insert(typed.clone(), sub.clone());
            }
            below(sub, &typed, found);
        }
    }
    let mut found = BTreeMap::new();
    below(&weir_agent::cli::command(), "", &mut found);
    assert!(found.len() > 10, "{:?}", found.keys());
    found
}

#[test]
fn every_help_ends_with_an_example_that_can_be_typed() {
    let mut commands = leaves();
    commands.insert(String::new(), weir_agent::cli::command());
    for (typed, mut command) in commands {
        let help = command.render_long_help().to_string();
        let (_, example) = help.split_once("Example:\n").unwrap_or_else(|| panic!("{typed}: no example in\n{help}"));
        assert!(command.get_about().is_some(), "{typed}: nobody says what it does");
        // Of a line for a shell, what is typed to the program.
        let words = example.trim().split(['>', '|', '&']).next().expect("a first part").split_whitespace();
        let words: Vec<&str> = words.collect();
        let at = words.iter().rposition(|word| *word == "weir-agent");
        let words = &words[at.unwrap_or_else(|| panic!("{typed}: {example}"))..];
        assert!(words.join(" ").starts_with(format!("weir-agent {typed}").trim_end()), "{typed}: {example}");
        weir_agent::cli::command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}

#[test]
fn whatever_prints_data_prints_it_as_json_too() {
    for (typed, command) in leaves() {
        let has_json = command.get_arguments().any(|argument| argument.get_long() == Some("output"));
        assert_eq!(has_json, !NO_DATA.contains(&typed.as_str()), "{typed}");
    }
}

/// A command, where it is typed, and how it ends.
struct Case<'a> {
    typed: &'a str,
    more: &'a [&'a str],
    at: &'a Place,
    code: i32,
}

fn case<'a>(typed: &'a str, more: &'a [&'a str], at: &'a Place, code: i32) -> Case<'a> {
    Case { typed, more, at, code }
}

fn ends(case: &Case<'_>, takes_settings: bool) -> i32 {
    let words: Vec<&str> = case.typed.split(' ').chain(case.more.iter().copied()).collect();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir-agent"));
    command.args(&words).env_remove("WEIR_CONFIG").env("NO_COLOR", "1").current_dir(case.at.path());
    if takes_settings {
        command.arg("--config").arg(case.at.config());
    }
    let output = command.output().expect("it starts");
    let code = output.status.code();
    let expected = if case.code == 0 { output.stderr.is_empty() } else { !output.stderr.is_empty() };
    assert!(expected, "{words:?} ended with {code:?} and said {:?}", text(&output.stderr));
    code.unwrap_or_else(|| panic!("{words:?} was killed"))
}

#[tokio::test]
async fn every_command_ends_with_the_code_that_scripts_rely_on() {
    let nowhere = Nowhere::open();
    let empty = Place::with_line(nowhere.port());
    let wrong = Place::new("[queue]\ncap = \"64 Mb\"\n");
    let no_source = Place::with_data("[system]\nenabled = false\n");
    let silent = Place::with_data("[system]\nenabled = false\n[[serial]]\npath = \"/nowhere/tty\"\n");
    let damaged = Place::with_data("");
    std::fs::create_dir_all(damaged.data().join("queue")).expect("a directory");
    std::fs::write(damaged.data().join("state"), "no state").expect("a file");
    let queued = Place::with_data("");
    std::fs::create_dir_all(queued.data().join("queue")).expect("a directory");
    let in_use = Place::with_data("");
    let lock = weir_agent::queue::Queue::open(
        &(std::sync::Arc::new(weir_storage::RealFs) as std::sync::Arc<dyn weir_storage::Fs>),
        &in_use.data(),
        weir_agent::queue::QueueOptions::default(),
        weir_agent::queue::Incarnation(1),
    );
    let _lock = lock.expect("a queue");
    let file = Place::with_data("");
    std::fs::write(file.data(), "a file").expect("a file");
    let healthy = Place::with_data(&format!("name = \"edge-1\"\n[uplink]\naddress = \"127.0.0.1:{}\"\n", greets()));
    let running = Place::with_data("[system]\nenabled = false\n");
    let _agent = running.start();
    get(&running.data().join("agent.sock"), "/version");
    let nobody = format!("http://127.0.0.1:{}", nowhere.port());
    let enroll = ["--gateway", &nobody, "--token", "t"];
    let no_digest = ["--gateway", &nobody, "--token", "t", "--ca-fingerprint", "no"];
    let signed = signing_desk();
    let sign = |more: &'static str| {
        let words = ["--key", "operator.key", "--agent", "edge-1"].into_iter().chain(more.split(' '));
        words.collect::<Vec<&str>>()
    };
    let [sign_good, sign_wrong, sign_ping] =
        [sign("--version 1 changes.toml"), sign("--version 1 agent.toml"), sign("--id a ping")];
    let cases = [
        case("run", &[], &in_use, 69),
        case("run", &[], &file, 1),
        case("validate", &[], &empty, 0),
        case("once", &["--wait", "10ms"], &no_source, 0),
        case("once", &["--wait", "10ms"], &silent, 69),
        case("top", &["--once"], &running, 0),
        case("top", &["--output", "json"], &running, 0),
        case("top", &["--once"], &empty, 69),
        case("tap", &["--count", "0"], &running, 0),
        case("tap", &["--count", "1"], &empty, 69),
        case("doctor", &["--patience", "100ms"], &healthy, 0),
        case("doctor", &["--patience", "100ms"], &empty, 1),
        case("doctor", &[], &wrong, 1),
        case("bundle", &["bundle.tar.gz"], &running, 0),
        case("bundle", &["agent.toml"], &empty, 1),
        case("config", &[], &empty, 0),
        case("config keygen", &["--key", "agent.toml"], &empty, 1),
        case("config show", &[], &running, 0),
        case("config show", &[], &empty, 0),
        case("config sign", &sign_good, &signed, 0),
        case("config sign", &sign_wrong, &signed, 78),
        case("config sign-command", &sign_ping, &signed, 0),
        case("config sign-command", &["--key", "no.key", "--agent", "a", "--id", "a", "ping"], &signed, 1),
        case("config verify", &["1.signed"], &signed, 0),
        case("config verify", &["agent.toml"], &signed, 1),
        case("ports", &[], &empty, 0),
        case("queue stat", &[], &queued, 0),
        case("queue stat", &[], &empty, 69),
        case("queue inspect", &[], &queued, 0),
        case("queue inspect", &[], &empty, 69),
        case("queue verify", &[], &queued, 0),
        case("queue verify", &[], &damaged, 1),
        case("queue verify", &[], &empty, 69),
        case("queue repair", &[], &queued, 0),
        case("queue repair", &[], &in_use, 69),
        case("queue export", &["out.ndjson"], &queued, 0),
        case("queue export", &["agent.toml"], &queued, 1),
        case("queue export", &["out.ndjson"], &empty, 69),
        case("queue import", &["out.ndjson"], &queued, 0),
        case("queue import", &["agent.toml"], &queued, 1),
        case("queue import", &["nowhere.ndjson"], &queued, 69),
        case("enroll", &enroll, &empty, 69),
        case("enroll", &no_digest, &empty, 1),
        case("completions", &["bash"], &empty, 0),
        case("man", &[], &empty, 0),
        case("man", &["pages"], &empty, 0),
        case("man", &["agent.toml/pages"], &empty, 1),
    ];
    let commands = leaves();
    let told: BTreeSet<&str> = cases.iter().map(|case| case.typed).collect();
    assert_eq!(told, commands.keys().map(String::as_str).collect(), "each command has its cases");
    for case in &cases {
        let code = ends(case, takes_settings(&commands[case.typed]));
        assert_eq!(code, case.code, "{} {:?}", case.typed, case.more);
    }
    for (typed, command) in &commands {
        assert_eq!(ends(&Case { typed, more: &["--no-such-flag"], at: &empty, code: 2 }, false), 2, "{typed}");
        // With wrong settings these two are most wanted.
        if takes_settings(command) && !["doctor", "bundle"].contains(&typed.as_str()) {
            let needed: &[&str] = match typed.as_str() {
                "queue export" | "queue import" | "config verify" => &["a-file"],
                "enroll" => &enroll,
                _ => &[],
            };
            assert_eq!(ends(&Case { typed, more: needed, at: &wrong, code: 78 }, true), 78, "{typed}");
        }
    }
    assert_eq!(std::fs::read_dir(empty.path().join("pages")).expect("pages").count(), pages(), "one page a command");
}

/// A place with a key, settings that trust it, changes to them, and a document that is signed.
fn signing_desk() -> Place {
    let place = Place::with_data("");
    let typed = |words: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir-agent"));
        let output = command.args(words.split(' ')).current_dir(place.path()).output().expect("it starts");
        assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let key = typed("config keygen --key operator.key");
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    let settings = format!("{settings}\n[remote]\ntrust = [{:?}]\n", key.trim());
    std::fs::write(place.config(), settings).expect("a file");
    std::fs::write(place.path().join("changes.toml"), "[uplink]\nwindow = 8\n").expect("a file");
    let signed = typed("config sign --key operator.key --agent edge-1 --version 1 changes.toml");
    std::fs::write(place.path().join("1.signed"), signed).expect("a file");
    place
}

/// A gateway that lets one agent in; its port.
fn greets() -> u16 {
    let (port, opened) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let gateway = Gateway::open().await;
            port.send(gateway.port()).expect("somebody waits");
            // The first who comes looks whether there is a port, and says nothing.
            let _looks = gateway.connection().await;
            let mut agent = gateway.accept(100).await;
            assert!(matches!(agent.packet().await, Packet::Disconnect(_)), "a goodbye, so that no will is published");
        });
    });
    opened.recv().expect("a port")
}

fn takes_settings(command: &Command) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some("config"))
}

/// The program, every group of commands and every command.
fn pages() -> usize {
    fn of(command: &Command) -> usize {
        1 + command.get_subcommands().filter(|sub| sub.get_name() != "help").map(of).sum::<usize>()
    }
    of(&weir_agent::cli::command())
}

#[test]
fn the_sample_is_printed_as_it_is_and_is_good() {
    let place = Place::new("");
    let printed =
        std::process::Command::new(env!("CARGO_BIN_EXE_weir-agent")).arg("config").output().expect("it starts");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agent.toml");
    assert_eq!(text(&printed.stdout), std::fs::read_to_string(sample).expect("the sample"));
    std::fs::write(place.config(), printed.stdout).expect("a file");
    assert!(place.output(&["validate"]).status.success());
}
