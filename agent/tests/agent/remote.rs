//! An operator signs, the agent obeys, or says why not; and what does not work is taken back.

use std::time::Duration;

use rustix::process::Signal;
use weir_agent::remote::document::{Document, SignedConfig};
use weir_agent::remote::keys::SecretKey;
use weir_protocol::mqtt::MAX_ORDER;

use crate::process::text;
use crate::support::control_room::{ControlRoom, Heard, Manner};
use crate::support::local::get;
use crate::support::nowhere::Nowhere;
use crate::support::operator::{Operator, address, address_of, header};
use crate::support::wait::until;

#[tokio::test]
async fn settings_that_work_are_tried_and_confirmed_and_outlive_a_restart() {
    let (mut first, mut second) = (ControlRoom::open(Manner::Answers).await, ControlRoom::open(Manner::Answers).await);
    let operator = Operator::of(&first, "");
    let agent = operator.start().await;
    assert_eq!(first.is_subscribed().await, 4);
    first.publish("config", operator.config(1, &address(&second)));
    assert_eq!(second.results("config.result").await, ["1 trying", "1 confirmed"]);
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
    let agent = operator.start().await;
    assert_eq!(second.is_subscribed().await, 4);
    // The same again, as a retained message comes: nothing happens but what follows it.
    second.publish("config", operator.config(1, &address(&second)));
    second.publish("do", operator.command("ping-1", "ping", &[]));
    assert_eq!(second.results("command.result").await, ["ping-1 exited 0"]);
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
}

#[tokio::test]
async fn settings_that_lead_nowhere_are_rolled_back_and_never_tried_again() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let operator = Operator::of(&gateway, "confirm = \"1s\"\n");
    let _agent = operator.start().await;
    gateway.is_subscribed().await;
    let nowhere = Nowhere::open();
    let wrong = operator.config(7, &address_of(nowhere.port()));
    gateway.publish("config", wrong.clone());
    assert_eq!(gateway.results("config.result").await, ["7 trying", "7 rolled-back"]);
    let [why] = gateway.results("config.detail").await;
    assert_eq!(why, "the gateway acknowledged nothing in time");
    // It came again with the connection, as retained messages do; the next one is on its heels.
    gateway.publish("config", operator.config(6, ""));
    assert_eq!(gateway.results("config.result").await, ["6 refused"]);
    gateway.publish("config", operator.config(8, "[uplink]\nwindow = 8\n"));
    assert_eq!(gateway.results("config.result").await, ["8 trying", "8 confirmed"]);
}

#[tokio::test]
async fn a_trial_that_kills_the_agent_twice_is_rolled_back_at_the_next_start() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let operator = Operator::of(&gateway, "confirm = \"10m\"\n");
    let agent = operator.start().await;
    gateway.is_subscribed().await;
    let nowhere = Nowhere::open();
    gateway.publish("config", operator.config(1, &address_of(nowhere.port())));
    // It leaves for where there is nobody.
    while gateway.hears().await != Heard::Gone {}
    agent.signal(Signal::KILL);
    assert_eq!(agent.ends(), None);
    let agent = operator.start().await;
    agent.signal(Signal::KILL);
    assert_eq!(agent.ends(), None);
    let _agent = operator.start().await;
    // Told with each start, as far as the agent lived to tell it.
    loop {
        match gateway.results("config.result").await {
            [told] if told == "1 trying" => {}
            [told] => break assert_eq!(told, "1 rolled-back"),
        }
    }
    assert_eq!(gateway.results("config.detail").await, ["the agent ended twice before they were confirmed"]);
}

#[tokio::test]
async fn a_second_document_takes_over_from_one_that_is_on_trial() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let mute = ControlRoom::open(Manner::Mute).await;
    let operator = Operator::of(&gateway, "confirm = \"10m\"\n");
    let _agent = operator.start().await;
    gateway.is_subscribed().await;
    let second = operator.config(2, "[uplink]\nwindow = 8\n");
    mute.publish("config", second.clone());
    gateway.publish("config", operator.config(1, &address(&mute)));
    while gateway.hears().await != Heard::Gone {}
    // What comes again with the next connection.
    gateway.publish("config", second);
    let expected = ["1 trying", "1 superseded", "2 trying", "2 confirmed"];
    assert_eq!(gateway.results("config.result").await, expected);
}

/// Regression: the agent went on with what had failed, and nobody tried again.
#[tokio::test]
async fn settings_before_that_do_not_start_either_are_tried_until_they_do() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let port = tempfile::tempdir().expect("a directory");
    let socket = port.path().join("local.sock");
    let operator =
        Operator::of(&gateway, &format!("confirm = \"1s\"\n[local]\nlisten = \"unix:{}\"\n", socket.display()));
    let agent = operator.start().await;
    gateway.is_subscribed().await;
    let elsewhere = operator.place.path().join("other.sock");
    let nowhere = Nowhere::open();
    let settings = format!("{}[local]\nlisten = \"unix:{}\"\n", address_of(nowhere.port()), elsewhere.display());
    gateway.publish("config", operator.config(1, &settings));
    while gateway.hears().await != Heard::Gone {}
    // Meanwhile the place of the socket goes away.
    std::fs::remove_dir_all(port.path()).expect("a directory");
    let opened_at = || std::fs::metadata(&elsewhere).and_then(|socket| socket.modified()).ok();
    let first = until("the socket of the trial", opened_at).await;
    // The one on trial is open again once it was tried to go back.
    until("its socket once more", || opened_at().filter(|at| *at != first)).await;
    std::fs::create_dir(port.path()).expect("a directory");
    assert_eq!(gateway.results("config.result").await, ["1 trying", "1 rolled-back"]);
    assert_eq!(get(&socket, "/status").json()["pid"], agent.pid());
}

#[tokio::test]
async fn of_documents_that_come_at_once_the_last_one_stays() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let operator = Operator::of(&gateway, "");
    let _agent = operator.start().await;
    gateway.is_subscribed().await;
    for version in 1..=3 {
        gateway.publish("config", operator.config(version, &format!("[uplink]\nwindow = {}\n", version + 1)));
    }
    let mut told = Vec::new();
    while told.last().map(String::as_str) != Some("3 confirmed") {
        let [next] = gateway.results("config.result").await;
        told.push(next);
    }
    for version in 1..=2 {
        let ends = [format!("{version} superseded"), format!("{version} confirmed")];
        // What was in flight when the agent started again may be heard twice.
        assert_eq!(ends.iter().filter(|end| told.contains(end)).count(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn what_is_not_for_this_agent_now_is_refused_and_said_to_be() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let operator = Operator::of(&gateway, "");
    let _agent = operator.start().await;
    gateway.is_subscribed().await;
    let config = |header, version, settings: &str| {
        let config = SignedConfig { header, version, settings: settings.to_owned() };
        Document::Config(config).sign(&operator.key).expect("a small document")
    };
    let cases = [
        (config(header("edge-2", 60), 9, ""), "9 refused", "for agent \"edge-2\", and this one is edge-1"),
        (config(header("edge-1", -1), 9, ""), "9 refused", "expired "),
        (
            operator.config(1, "[uplink]\nwindow = 1\n"),
            "1 refused",
            "remote settings 1:2:10: got 1, expected 2 to 1024",
        ),
        (operator.config(1, ""), "1 refused", "version 1 was decided on; sign with a higher one"),
        (
            operator.config(2, "[remote]\ntrust = []\n"),
            "2 refused",
            "remote settings 2:1:2: `remote` is decided on the",
        ),
        (operator.config(3, "name = \"edge-2\"\n"), "3 refused", "remote settings 3:1:1: `name` is decided on the"),
        (operator.command("c-1", "ping", &[]), "document refused", "a command belongs on the topic do"),
    ];
    for (document, expected, why) in cases {
        gateway.publish("config", document);
        assert_eq!(gateway.results("config.result").await, [expected]);
        let [detail] = gateway.results("config.detail").await;
        assert!(detail.starts_with(why), "{detail}");
    }
    // What nobody who is trusted signed is told of once a minute; the first is.
    let stranger = SecretKey::generate(&operator.place.path().join("other.key")).expect("a key");
    let header = header("edge-1", 60);
    let forged = Document::Config(SignedConfig { header, version: 99, settings: address(&gateway) });
    let forged = forged.sign(&stranger).expect("a small document");
    gateway.publish("config", forged.replace(&stranger.public().to_string(), &operator.key.public().to_string()));
    assert_eq!(gateway.results("config.result").await, ["document refused"]);
    assert_eq!(
        gateway.results("config.detail").await,
        ["the signature is wrong: the document was changed after it was signed"]
    );
    gateway.publish("config", forged);
    gateway.publish("config", vec![b'x'; MAX_ORDER + 1]);
    gateway.publish("config", operator.config(4, "[uplink]\nwindow = 8\n"));
    assert_eq!(gateway.results("config.result").await, ["4 trying", "4 confirmed"]);
}

/// A message that is larger than the agent takes from anybody ends the connection. It must not end every one after it.
#[tokio::test]
async fn a_message_that_is_too_large_ends_the_listening_and_not_the_uplink() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let operator = Operator::of(&gateway, "");
    let agent = operator.start().await;
    assert_eq!(gateway.is_subscribed().await, 4);
    gateway.publish("config", vec![b'x'; 100 << 10]);
    assert_eq!(gateway.is_subscribed().await, 1, "only what the gateway itself asks for");
    // Something smaller takes its place.
    gateway.publish("config", "small");
    agent.signal(Signal::HUP);
    assert_eq!(gateway.is_subscribed().await, 4, "until the settings are read again");
}

#[tokio::test]
async fn a_command_runs_once_however_often_it_is_delivered() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let ran = tempfile::NamedTempFile::new().expect("a file");
    let script = format!("echo $1 >> {:?}; echo to $1; exit 3", ran.path());
    let allowed = format!(
        "[[command]]\nname = \"mark\"\nrun = [\"/bin/sh\", \"-c\", {script:?}, \"mark\"]\nargs = [\"a*\"]\ntimeout = \"10s\"\n"
    );
    let operator = Operator::of(&gateway, &allowed);
    let agent = operator.start().await;
    gateway.is_subscribed().await;
    let command = operator.command("c-1", "mark", &["all"]);
    gateway.publish("do", command.clone());
    gateway.publish("do", command.clone());
    assert_eq!(gateway.results("command.result").await, ["c-1 exited 3"]);
    assert_eq!(gateway.results("command.detail").await, ["to all\n"]);
    // Another document under the same id is another matter, and is said to be.
    gateway.publish("do", operator.command("c-1", "mark", &["again"]));
    assert_eq!(gateway.results("command.result").await, ["c-1 refused"]);
    assert_eq!(gateway.results("command.detail").await, ["it was begun before"]);
    let cases = [
        (operator.command("c-2", "mark", &["ball"]), "argument \"ball\" does not fit \"a*\""),
        (operator.command("c-2", "reboot", &[]), "no [[command]] is called \"reboot\" here"),
        (operator.command("c-2", "ping", &["x"]), "ping takes no arguments"),
        (operator.command_for(header("edge-1", -1), "c-2", "ping", &[]), "expired "),
        (operator.command_for(header("other", 9), "c-2", "ping", &[]), "for agent \"other\""),
    ];
    for (document, why) in cases {
        gateway.publish("do", document);
        assert_eq!(gateway.results("command.result").await, ["c-2 refused"]);
        let [detail] = gateway.results("command.detail").await;
        assert!(detail.starts_with(why), "{detail}");
    }
    // After a restart it is delivered again, and what follows it shows that nothing happened.
    gateway.publish("do", command);
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
    let _agent = operator.start().await;
    gateway.is_subscribed().await;
    gateway.publish("do", operator.command("c-3", "reload", &[]));
    assert_eq!(gateway.results("command.result").await, ["c-3 exited 0"]);
    assert_eq!(text(&std::fs::read(ran.path()).expect("a file")), "all\n");
}

#[tokio::test]
async fn a_command_whose_agent_was_killed_is_said_to_be_interrupted_and_not_begun_again() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let place = tempfile::tempdir().expect("a directory");
    let (began, gate) = (place.path().join("began"), place.path().join("gate"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::RWXU).expect("a pipe");
    // It goes on once somebody reads from the pipe.
    let script = format!("echo x >> {began:?}; echo > {gate:?}; sleep 60");
    let operator = Operator::of(
        &gateway,
        &format!("[[command]]\nname = \"long\"\nrun = [\"/bin/sh\", \"-c\", {script:?}]\ntimeout = \"60s\"\n"),
    );
    let agent = operator.start().await;
    gateway.is_subscribed().await;
    gateway.publish("do", operator.command("c-1", "long", &[]));
    let running = tokio::task::spawn_blocking(move || std::fs::read(gate));
    tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .expect("a command")
        .expect("a thread")
        .expect("a pipe");
    agent.signal(Signal::KILL);
    assert_eq!(agent.ends(), None);
    let _agent = operator.start().await;
    assert_eq!(gateway.results("command.result").await, ["c-1 interrupted"]);
    gateway.publish("do", operator.command("c-2", "ping", &[]));
    assert_eq!(gateway.results("command.result").await, ["c-2 exited 0"]);
    assert_eq!(text(&std::fs::read(began).expect("a file")), "x\n");
}
