//! Commands that are given while the agent is away, again, or for too short a time.

use std::path::Path;

use rustix::process::Signal;

use crate::process::text;
use crate::support::control_room::{ControlRoom, Heard, Manner};
use crate::support::operator::{Operator, header};

/// An operator whose agent notes every word that it is told in a file.
fn noting(room: &ControlRoom, file: &Path) -> Operator {
    let script = format!("echo $1 >> {file:?}; echo noted");
    let allowed = format!(
        "[[command]]\nname = \"note\"\nrun = [\"/bin/sh\", \"-c\", {script:?}, \"note\"]\nargs = [\"*\"]\ntimeout = \"10s\"\n"
    );
    Operator::of(room, &allowed)
}

/// The next results of commands, and what was taken back, so many of each; the latter sorted.
async fn hears<const N: usize>(gateway: &mut ControlRoom) -> ([String; N], [String; N]) {
    let (mut results, mut taken) = (Vec::new(), Vec::new());
    while results.len() < N || taken.len() < N {
        match gateway.hears().await {
            Heard::Result(channel, text) if channel == "command.result" => results.push(text),
            Heard::TakenBack(id) => taken.push(id),
            _ => {}
        }
    }
    taken.sort();
    (results.try_into().expect("no more of them"), taken.try_into().expect("no more of them"))
}

/// Regression: the last of them alone was heard.
#[tokio::test]
async fn commands_given_while_the_agent_is_away_run_once_each_in_the_order_of_signing() {
    let mut gateway = ControlRoom::open(Manner::Answers).await;
    let noted = tempfile::NamedTempFile::new().expect("a file");
    let operator = noting(&gateway, noted.path());
    let signed = |second: i64, id: &str, seconds: i64| {
        let mut header = header("edge-1", seconds);
        header.issued += second;
        operator.command_for(header, id, "note", &[id])
    };
    let first = signed(1, "c-z", 60);
    gateway.publish("do/c-a", signed(3, "c-a", 60));
    gateway.publish("do/c-z", first.clone());
    gateway.publish("do/c-m", signed(2, "c-m", 60));
    gateway.publish("do/c-old", signed(0, "c-old", -1));
    let agent = operator.start().await;
    let (results, taken) = hears(&mut gateway).await;
    assert_eq!(results, ["c-old refused", "c-z exited 0", "c-m exited 0", "c-a exited 0"]);
    assert_eq!(taken, ["do/c-a", "do/c-m", "do/c-old", "do/c-z"], "nothing comes again");
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));

    // Given again: it does not run again, and what became of it is told again.
    gateway.publish("do/c-z", first);
    let _agent = operator.start().await;
    assert_eq!(hears(&mut gateway).await, (["c-z exited 0".to_owned()], ["do/c-z".to_owned()]));
    assert_eq!(text(&std::fs::read(noted.path()).expect("a file")), "c-z\nc-m\nc-a\n");
    // One that is in the place of another.
    gateway.publish("do/c-y", signed(4, "c-x", 60));
    assert_eq!(hears(&mut gateway).await, (["c-x refused".to_owned()], ["do/c-y".to_owned()]));
}

/// A result that nobody could hear is owed: it outlives the kill, and the command does not run again.
#[tokio::test]
async fn a_result_outlives_an_agent_that_is_killed_before_it_could_tell_it() {
    let mut mute = ControlRoom::open(Manner::Mute).await;
    let noted = tempfile::NamedTempFile::new().expect("a file");
    let operator = noting(&mute, noted.path());
    let agent = operator.start().await;
    mute.is_subscribed().await;
    mute.publish("do/c-1", operator.command("c-1", "note", &["once"]));
    // What the agent ships is heard, and never acknowledged.
    let [told] = mute.results("command.result").await;
    assert_eq!(told, "c-1 exited 0");
    agent.signal(Signal::KILL);
    assert_eq!(agent.ends(), None);
    let _agent = operator.start().await;
    let [told] = mute.results("command.result").await;
    assert_eq!(told, "c-1 exited 0");
    assert_eq!(text(&std::fs::read(noted.path()).expect("a file")), "once\n");
}
