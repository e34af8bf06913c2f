//! What a person reads who wrote a wrong settings file.
#![cfg(feature = "settings")]

use serde::Deserialize;
use weir_protocol::settings::{ByteSize, Period, Source, Spanned};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
    #[serde(default)]
    queue: Queue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Queue {
    cap: ByteSize,
    interval: Period,
    window: Option<Spanned<u16>>,
}

fn message(text: &str) -> String {
    Source::new("agent.toml", text).parse::<Settings>().expect_err("these settings are wrong").to_string()
}

fn with(text: &str, variables: &[(&str, &str)]) -> Source {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Source::new("agent.toml", text).with_overrides("WEIR_TEST_", variables)
}

#[test]
fn a_key_that_nobody_knows_is_shown_with_the_one_that_was_meant() {
    assert_eq!(
        message("name = \"a\"\n\n[queue]\n  cpa = \"1 MiB\"\n"),
        "agent.toml:4:3: unknown key `cpa`\n  |\n4 |   cpa = \"1 MiB\"\n  |   ^^^\n  = did you mean `cap`?"
    );
}

#[test]
fn a_key_like_no_other_is_answered_with_those_that_there_are() {
    assert_eq!(
        message("name = \"a\"\ncolour = 1\n"),
        "agent.toml:2:1: unknown key `colour`\n  |\n2 | colour = 1\n  | ^^^^^^\n  = known keys here: name, queue"
    );
}

#[test]
fn a_wrong_unit_is_answered_with_right_ones() {
    assert_eq!(
        message("name = \"a\"\nqueue.cap = \"64 megs\"\n"),
        "agent.toml:2:13: got \"64 megs\", expected a size with its unit, such as \"512 B\", \"64 KiB\", \
         \"256 MiB\" or \"2 GiB\"\n  |\n2 | queue.cap = \"64 megs\"\n  |             ^^^^^^^^^"
    );
    assert!(message("name = \"a\"\nqueue.interval = 30").contains("2:18: got 30 without a unit, expected a time"));
}

#[test]
fn a_missing_key_and_broken_syntax_name_their_place() {
    assert!(message("[queue]\n").starts_with("agent.toml:1:1: missing key `name`\n"), "{}", message("[queue]\n"));
    let broken = message("name = \"a\"\nqueue = {\n");
    assert!(broken.starts_with("agent.toml:2:"), "{broken}");
}

#[test]
fn the_environment_overrides_the_file_and_is_blamed_by_name() {
    let file = "name = \"a\"\n[queue]\ncap = \"1 MiB\"\n";
    let good = with(file, &[("WEIR_TEST_QUEUE__CAP", "2 MiB"), ("WEIR_TEST_NAME", "gw-1"), ("PATH", "/")]);
    let settings: Settings = good.parse().expect("good settings");
    assert_eq!((settings.name.as_str(), settings.queue.cap), ("gw-1", ByteSize::mib(2)));

    let bad = with(file, &[("WEIR_TEST_QUEUE__INTERVAL", "\"5 weeks\"")]).parse::<Settings>();
    assert!(bad.expect_err("a wrong unit").to_string().starts_with(
        "environment variable WEIR_TEST_QUEUE__INTERVAL:1:27: got \"5 weeks\", expected a time with its unit"
    ));
    let unknown = with(file, &[("WEIR_TEST_QUEUE__CAPS", "1")]).parse::<Settings>().expect_err("an unknown key");
    assert!(unknown.to_string().contains("WEIR_TEST_QUEUE__CAPS=1\n  | ^"), "{unknown}");
    let no_table = with(file, &[("WEIR_TEST_NAME__X", "1")]).parse::<Settings>().expect_err("name is no table");
    assert!(no_table.to_string().contains("`name` is not a table"), "{no_table}");
}

#[test]
fn other_settings_lie_over_the_file_key_by_key_below_the_environment_and_are_blamed_at_their_own_lines() {
    let file = "name = \"a\"\n[queue]\ncap = \"1 MiB\"\ninterval = \"1s\"\n";
    let over = |text: &str| {
        let environment = [("WEIR_TEST_NAME".to_owned(), "of-environment".to_owned())];
        Source::new("agent.toml", file).with_overlay("over", text).with_overrides("WEIR_TEST_", environment)
    };
    let settings: Settings = over("name = \"b\"\n[queue]\ncap = \"2 MiB\"\nwindow = 3\n").parse().expect("good");
    assert_eq!((settings.name.as_str(), settings.queue.cap), ("of-environment", ByteSize::mib(2)));
    assert_eq!(settings.queue.interval, Period::secs(1), "not said by the second");
    let window = settings.queue.window.expect("said by the second alone");
    let judged = over("name = \"b\"\n[queue]\ncap = \"2 MiB\"\nwindow = 3\n").error(window.span(), "too few");
    assert_eq!(judged.to_string(), "over:4:10: too few\n  |\n4 | window = 3\n  |          ^");
    for (text, expected) in [
        ("\n[queue]\ncaps = 1\n", "over:3:1: unknown key `caps`"),
        ("\nqueue = 1\n", "over:2:9: got 1, expected a table of keys"),
        ("[queue\n", "over:1:7: "),
    ] {
        let wrong = over(text).parse::<Settings>().expect_err("wrong").to_string();
        assert!(wrong.starts_with(expected), "{wrong}");
    }
    let keys = Source::new("over", "b = 1\na.b = 1\n[c]\n").keys().expect("good");
    assert_eq!(keys.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_program_can_judge_a_value_and_point_at_it() {
    let source = with("name = \"a\"\n[queue]\nwindow = 0\n", &[]);
    let window = source.parse::<Settings>().expect("settings").queue.window.expect("a window");
    let error = source.error(window.span(), "got 0, expected 1 or more");
    assert_eq!(error.position(), Some((3, 10)));
    let source = with("name = \"a\"\n", &[("WEIR_TEST_QUEUE__WINDOW", "0")]);
    let window = source.parse::<Settings>().expect("settings").queue.window.expect("a window");
    assert!(source.error(window.span(), "no").to_string().starts_with("environment variable WEIR_TEST_QUEUE__WINDOW"));
}

#[test]
fn times_and_sizes_read_as_they_are_written() {
    for text in ["500ms", "30s", "10m", "2h", "7d"] {
        assert_eq!(text.parse::<Period>().expect("a time").to_string(), text);
    }
    for text in ["512 B", "64 KiB", "256 MiB", "2 GiB"] {
        assert_eq!(text.parse::<ByteSize>().expect("a size").to_string(), text);
    }
    assert_eq!("1.5 s".parse(), Ok(Period::millis(1500)));
    assert_eq!("1MB".parse(), Ok(ByteSize(1_000_000)));
    for wrong in ["", "s", "1", "-1s", "1 sec", "1.s", ".5s", "0.0001s", "99999999999999999999s", "20000000000000000s"]
    {
        assert!(wrong.parse::<Period>().is_err(), "{wrong}");
    }
    assert!("18446744073709551615 KiB".parse::<ByteSize>().is_err());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Source::read("/nonexistent/agent.toml".as_ref()).expect_err("no such file").to_string();
    assert!(error.starts_with("/nonexistent/agent.toml: cannot be read: No such file"), "{error}");
    assert!(error.ends_with("name the settings file with --config PATH"), "{error}");
}

#[test]
fn every_key_that_is_written_is_told_with_who_wrote_it() {
    let file = "name = \"a\"\n[queue]\ncap = \"1 MiB\"\nwindow = 3\n[[line]]\npath = \"x\"\n[[line]]\nports = [1, 2]\n";
    let source = Source::new("agent.toml", file).with_overlay("remote settings 7", "[queue]\nwindow = 4\n");
    let source = source.with_overrides("T_", [("T_NAME".to_owned(), "b".to_owned())]);
    let written = source.written::<toml::Value>().expect("good settings");
    let told: Vec<_> = written.iter().map(|w| format!("{} = {} # {}", w.key, w.value, w.source)).collect();
    assert_eq!(
        told,
        [
            "line[0].path = \"x\" # agent.toml:6",
            "line[1].ports = [1, 2] # agent.toml:8",
            "name = \"b\" # environment variable T_NAME",
            "queue.cap = \"1 MiB\" # agent.toml:3",
            "queue.window = 4 # remote settings 7:2",
        ]
    );
}
