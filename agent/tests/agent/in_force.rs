//! The commands beside an agent look where it looks: at the file with what an operator laid over it.

use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use weir_agent::config::Config;
use weir_agent::remote::InForce;

use crate::process::{Place, text};
use crate::support::control_room::{ControlRoom, Heard, Manner};
use crate::support::local::{get, until};
use crate::support::nowhere::Nowhere;
use crate::support::operator::{Operator, address, address_of};

fn json(place: &Place, words: &[&str]) -> Value {
    let output = place.command(words).args(["--output", "json"]).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn source_of<'a>(shown: &'a Value, key: &str) -> &'a str {
    let settings = shown["settings"].as_array().expect("a list");
    let setting = settings.iter().find(|setting| setting["key"] == key);
    setting.and_then(|setting| setting["source"].as_str()).unwrap_or_else(|| panic!("no {key} in {shown}"))
}

/// Regression: they read the file alone, asked at a socket where nobody listened any more, and looked at another gateway.
#[tokio::test]
async fn what_is_typed_beside_an_agent_sees_its_remote_settings() {
    let (mut first, mut second) = (ControlRoom::open(Manner::Answers).await, ControlRoom::open(Manner::Answers).await);
    let operator = Operator::of(&first, "");
    let place = &operator.place;
    let agent = operator.start().await;
    first.is_subscribed().await;
    let socket = place.path().join("other.sock");
    let settings = format!("{}[local]\nlisten = \"unix:{}\"\n", address(&second), socket.display());
    first.publish("config", operator.config(4, &settings));
    assert_eq!(second.results("config.result").await, ["4 trying", "4 confirmed"]);

    let status = json(place, &["top"]);
    assert_eq!(status["remote"], json!({"version": 4, "on_trial": false}));
    assert_eq!(status["uplink"]["gateway"], format!("127.0.0.1:{}", second.port));
    let shown = json(place, &["config", "show"]);
    assert_eq!((&shown["remote"]["version"], &shown["pid"]), (&json!(4), &json!(agent.pid())));
    assert_eq!(source_of(&shown, "uplink.address"), "remote settings 4:2");
    assert_eq!(source_of(&shown, "name"), format!("{}:1", place.config().display()));
    assert_eq!(shown["unread"], json!([]));
    let doctor = text(&place.output(&["doctor"]).stdout);
    assert!(doctor.contains(&format!("MQTT 127.0.0.1:{}: the running agent is connected", second.port)), "{doctor}");
    assert!(doctor.contains("remote settings: remote settings 4 lie over "), "{doctor}");
    let validated = place.output(&["validate"]);
    assert!(validated.status.success() && text(&validated.stderr).starts_with("remote settings 4 lie over "));
    // The file is changed, and nobody tells the agent.
    let file = std::fs::read_to_string(place.config()).expect("the settings");
    std::fs::write(place.config(), format!("drain = \"5s\"\n{file}")).expect("a file");
    assert_eq!(json(place, &["config", "show"])["unread"], json!(["drain"]));
    let doctor = text(&place.output(&["doctor"]).stdout);
    assert!(doctor.contains("it runs with other settings than an agent that starts now: drain"), "{doctor}");

    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
    let shown = json(place, &["config", "show"]);
    assert_eq!((&shown["remote"]["version"], &shown["pid"]), (&json!(4), &Value::Null), "from its ledger");
    assert_eq!(source_of(&shown, "uplink.address"), "remote settings 4:2");
}

#[tokio::test]
async fn remote_settings_that_no_longer_go_with_the_file_are_said_to_be_left_out() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let operator = Operator::of(&gateway, "confirm = \"10m\"\n[[queue.class]]\nname = \"alarms\"\n");
    let place = &operator.place;
    let agent = operator.start().await;
    gateway.is_subscribed().await;
    let rule = "[[process]]\nclass = \"alarms\"\n";
    let nowhere = Nowhere::open();
    gateway.publish("config", operator.config(1, &format!("{}{rule}", address_of(nowhere.port()))));
    while gateway.hears().await != Heard::Gone {}
    let found = InForce::load(&place.config()).expect("good settings");
    assert!(found.is_on_trial() && found.config.overlay == Some(1));
    agent.signal(Signal::KILL);
    assert_eq!(agent.ends(), None);
    let file = std::fs::read_to_string(place.config()).expect("the settings");
    std::fs::write(place.config(), file.replace("[[queue.class]]\nname = \"alarms\"\n", "")).expect("a file");
    let found = InForce::load(&place.config()).expect("good settings");
    assert!(found.is_in_doubt() && found.overlay().is_none() && found.config.overlay.is_none());
    let note = found.note(Path::new("a.toml")).expect("a note");
    assert!(
        note.starts_with("remote settings 1 do not go with a.toml, and are left out:\nremote settings 1:4:9"),
        "{note}"
    );
    // Whoever trusts nobody is told nothing by anybody.
    std::fs::write(place.config(), format!("data_dir = {:?}\n", place.data())).expect("a file");
    let found = InForce::load(&place.config()).expect("good settings");
    assert_eq!((found.note(Path::new("a")), found.is_in_doubt()), (None, false));
    assert!(Config::load(&place.config()).is_ok());
}

type Output<R> = Lines<BufReader<R>>;

/// The next line that has `wanted` in it.
async fn says<R: tokio::io::AsyncRead + Unpin>(lines: &mut Output<R>, wanted: &str) -> String {
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("a pipe") {
            if line.contains(wanted) {
                return line;
            }
        }
        panic!("it ended and never said {wanted}")
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), reading).await.expect("a line in time")
}

/// Regression: `tap` ended with code 69 whenever the agent read its settings again.
#[tokio::test]
async fn a_tap_goes_on_after_the_agent_read_its_settings_again_and_after_a_restart() {
    let place = Place::with_data("name = \"edge-1\"\n[system]\ndevice = \"edge-1\"\ninterval = \"5ms\"\n");
    let socket = place.data().join("agent.sock");
    let agent = place.start();
    until(&socket, "/readyz", |answer| answer.status == 200);
    let mut command = tokio::process::Command::from(place.command(&["tap", "--channel", "uptime"]));
    let mut tap = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut seen = BufReader::new(tap.stdout.take().expect("a pipe")).lines();
    let mut told = BufReader::new(tap.stderr.take().expect("a pipe")).lines();
    says(&mut seen, "edge-1 uptime").await;
    agent.signal(Signal::HUP);
    says(&mut told, "reads its settings again; waiting for it").await;
    says(&mut told, "the agent is there again").await;
    says(&mut seen, "edge-1 uptime").await;
    agent.signal(Signal::KILL);
    assert_eq!(agent.ends(), None);
    says(&mut told, "waiting for it").await;
    let _agent = place.start();
    says(&mut told, "the agent is there again").await;
    assert_eq!(get(&socket, "/readyz").status, 200);
}
