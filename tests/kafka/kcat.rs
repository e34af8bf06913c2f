//! kcat, which is a program already: it consumes, and a group of it goes on where the last one ended.

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use tokio::process::Command;
use weir_tests::{PATIENCE, skip};

use crate::event::{Taken, places};
use crate::stage::{READINGS, Stage};

/// Partition, offset, key and length of the value; the value itself and an end of line follow.
const FORMAT: &str = "%p %o %k %S %s\n";

/// Runs kcat as a consumer until it ends by itself; `None`, said loudly, if it is not installed.
async fn kcat(bootstrap: SocketAddr, arguments: &[&str]) -> Option<Output> {
    let bootstrap = bootstrap.to_string();
    let mut command = Command::new("kcat");
    command.args(["-b", &bootstrap, "-f", FORMAT]).args(arguments);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(PATIENCE, output).await.expect("kcat ends") {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip("kcat is not installed; type: apt-get install kcat");
            None
        }
        Err(error) => panic!("kcat: {error}"),
    }
}

/// The records in its output.
fn records(output: &Output) -> Vec<Taken> {
    let mut rest = output.stdout.as_slice();
    let mut taken = Vec::new();
    while !rest.is_empty() {
        let mut words = rest.splitn(5, |byte| *byte == b' ');
        let mut word = || String::from_utf8(words.next().unwrap().to_vec()).unwrap();
        let (partition, offset, key) = (word().parse().unwrap(), word().parse().unwrap(), word());
        let length: usize = word().parse().unwrap();
        let (value, behind) = words.next().unwrap().split_at(length);
        let value = value.iter().map(|byte| format!("{byte:02x}")).collect();
        taken.push(Taken { partition, offset, key, value });
        rest = behind.strip_prefix(b"\n").unwrap();
    }
    taken
}

/// The records of a run that must succeed.
fn taken(output: &Output) -> Vec<Taken> {
    assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    records(output)
}

/// What kcat takes; `None` if it is not installed.
pub(crate) async fn kcat_takes(stage: &Stage, arguments: &[&str]) -> Option<Vec<Taken>> {
    kcat(stage.kafka, arguments).await.as_ref().map(taken)
}

/// Expects kcat to fail, and `part` in what it says.
pub(crate) async fn kcat_says(stage: &Stage, arguments: &[&str], part: &str) {
    let Some(output) = kcat(stage.kafka, arguments).await else { return };
    let message = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    println!("kcat says: {message}");
    assert!(!output.status.success() && message.contains(part), "kcat says {message:?}, expected {part:?} in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_consumes_everything_and_replays_from_a_moment_on() {
    let stage = Stage::full().await;
    let Some(all) = kcat_takes(&stage, &["-C", "-t", "readings", "-e"]).await else { return };
    stage.expect(&all, READINGS);

    let moment = stage.time_of_last(READINGS / 10);
    let from = format!("s@{}", moment.0 / 1000);
    let replayed = kcat_takes(&stage, &["-C", "-t", "readings", "-o", &from, "-e"]).await.unwrap();
    assert_eq!(places(&replayed), stage.replay(&all, moment));
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_goes_on_where_the_last_member_of_its_group_ended() {
    let stage = Stage::full().await;
    let half = (READINGS / 2).to_string();
    let group = ["-G", "pasted", "-X", "auto.offset.reset=earliest", "-c", &half, "readings"];
    let Some(first) = kcat_takes(&stage, &group).await else { return };
    let second = kcat_takes(&stage, &group).await.unwrap();
    stage.expect(&[first, second].concat(), READINGS);
}
