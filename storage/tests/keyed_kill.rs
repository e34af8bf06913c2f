//! Keyed state and `kill -9`. A program of its own, because a process that forks holds the locks of the others for a
//! moment.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use weir_storage::keyed::{Changes, Keyed, Opened};

/// The child of the test below: commits for ever and says which commits returned.
#[test]
#[ignore = "run by every_commit_that_returned_is_there_after_a_kill"]
fn commits_until_it_is_killed() {
    let Ok(dir) = std::env::var("WEIR_KEYED_DIR") else { return };
    let (keyed, _) = Keyed::open(Path::new(&dir)).unwrap();
    let first = keyed.stamp("readings").unwrap().unwrap_or(0);
    for round in first.. {
        let mut changes = Changes::new();
        for device in 0..30 {
            changes.put("latest", format!("device {device}").as_bytes(), round.to_string().as_bytes()).unwrap();
        }
        changes.stamp("readings", round + 1).unwrap();
        keyed.commit(&changes).unwrap();
        println!("\ncommitted {}", round + 1);
    }
}

#[test]
fn every_commit_that_returned_is_there_after_a_kill() {
    let temporary = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for kill in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "commits_until_it_is_killed"])
            .env("WEIR_KEYED_DIR", temporary.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let commits = lines.filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok());
        acknowledged = commits.take(5 + kill * 7).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let (keyed, opened) = Keyed::open(temporary.path()).unwrap();
        assert_eq!(opened, Opened::Existing);
        let stamp = keyed.stamp("readings").unwrap().unwrap();
        assert!(stamp >= acknowledged, "got {stamp}, expected at least {acknowledged}");
        let entries = keyed.range("latest", b"", None, usize::MAX).unwrap();
        let values: Vec<Vec<u8>> = entries.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, vec![(stamp - 1).to_string().into_bytes(); 30], "a commit is whole or not there");
    }
    assert!(acknowledged > 50);
}
