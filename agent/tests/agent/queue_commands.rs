//! `weir-agent queue ...`, as people type it.

use rustix::process::Signal;
use serde_json::Value;
use weir_protocol::Restart;
use weir_protocol::serial::device_to_agent::Ring;

use crate::process::{Place, greets_and_sends, is_acknowledged, text};
use crate::support::board::Board;
use crate::support::device::Talker;
use crate::support::nowhere::Nowhere;

const RESTART: Restart = Restart::from_boot(1, 7);

fn json(place: &Place, words: &[&str]) -> Value {
    let output = place.command(words).args(["--output", "json"]).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn fails(place: &Place, words: &[&str], code: i32) -> String {
    let output = place.output(words);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// A place whose agent ran without a gateway and holds readings `0..30` of a board.
async fn with_readings(while_it_runs: impl FnOnce(&Place)) -> Place {
    let nowhere = Nowhere::open();
    let place = Place::with_line(nowhere.port());
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    std::fs::write(place.config(), format!("drain = \"50ms\"\n{settings}")).expect("a file");
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let agent = place.start();
    greets_and_sends(&mut board, &mut talker, 30).await;
    is_acknowledged(&mut board, 30).await;
    while_it_runs(&place);
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
    place
}

#[tokio::test]
async fn a_queue_is_looked_at_beside_its_agent_and_changed_without() {
    let out = tempfile::tempdir().expect("a directory");
    let copy = out.path().join("copy.ndjson").display().to_string();
    let gone = out.path().join("gone").display().to_string();
    let place = with_readings(|place| {
        let inspected = json(place, &["queue", "inspect"]);
        let board = &inspected["restarts"][0];
        assert_eq!(board["device"], "board-1");
        assert_eq!(board["restart"], RESTART.to_string());
        assert_eq!((board["readings"].as_u64(), &board["held"]), (Some(30), &serde_json::json!([[0, 30]])));
        assert!(place.output(&["queue", "verify"]).status.success());
        assert_eq!(json(place, &["queue", "export", &copy, "--copy"])["readings"], 30);
        for words in [&["queue", "repair"][..], &["queue", "export", &gone], &["queue", "import", &copy]] {
            let told = fails(place, words, 69);
            assert!(told.contains("in use by another process") && told.contains("systemctl stop weir-agent"), "{told}");
        }
    })
    .await;
    assert!(fails(&place, &["queue", "export", &copy], 1).contains("exists"));
    assert_eq!(json(&place, &["queue", "export", &gone, "--format", "segments"])["readings"], 30);
    let left = json(&place, &["queue", "inspect"]);
    assert_eq!(left["restarts"][0]["claims"], serde_json::json!({"exported": 30}));
    assert_eq!(left["restarts"][0]["readings"], 0);

    let other = Place::with_line(1);
    for form in [&gone, &copy] {
        assert_eq!(json(&other, &["queue", "import", form])["readings"], 30);
    }
    assert_eq!(json(&other, &["queue", "inspect"])["restarts"][0]["readings"], 60, "the gateway knows them apart");
    let told = fails(&other, &["queue", "import", "/nowhere/at/all"], 69);
    assert!(told.contains("no such file"), "{told}");
}

#[tokio::test]
async fn damage_is_named_and_repaired() {
    let place = with_readings(|_| {}).await;
    let segment = place.data().join("queue/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    // The reading of the first record, in a segment that is not the last.
    bytes[100] ^= 1;
    std::fs::write(&segment, &bytes).expect("a segment");
    let next = place.data().join("queue/00000000000000000001.log");
    std::fs::write(next, b"").expect("a segment");
    let output = place.output(&["queue", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    let damage = text(&output.stdout);
    assert!(
        damage.contains("00000000000000000000.log at byte 0") && damage.contains("offsets lost: 0 to 0"),
        "{damage}"
    );
    assert!(text(&output.stderr).contains("weir-agent queue repair"));
    assert_eq!(json(&place, &["queue", "repair"])["kept"].as_array().map(Vec::len), Some(1));
    assert!(place.data().join("queue/damaged/00000000000000000000.log").exists());
    assert!(place.output(&["queue", "verify"]).status.success());
    assert_eq!(json(&place, &["queue", "inspect"])["restarts"], serde_json::json!([]));
}

/// Somebody typed `sudo weir-agent queue repair` where the unit's user owns everything: what root wrote there, the agent
/// could not open at its next start.
#[test]
fn root_is_kept_from_changing_what_another_user_has() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::with_data("[system]\nenabled = false\n");
    std::fs::create_dir_all(place.data().join("queue")).expect("a directory");
    let (user, group) = (Some(54_321), Some(54_321));
    for dir in [place.data().join("queue"), place.data()] {
        std::os::unix::fs::chown(dir, user, group).expect("root may");
    }
    let enroll = ["enroll", "--gateway", "https://127.0.0.1:1", "--token", "t"];
    let export = ["queue", "export", "/nowhere/at/all"];
    for words in [&["run"][..], &["queue", "repair"], &export, &["queue", "import", "/proc/self/status"], &enroll] {
        let told = fails(&place, words, 69);
        assert!(told.contains("#54321") && told.contains("sudo -u '#54321'"), "{words:?}: {told}");
    }
    assert_eq!(std::fs::read_dir(place.data().join("queue")).expect("a directory").count(), 0, "nothing was made");
    std::os::unix::fs::chown(place.data().join("queue"), Some(0), Some(0)).expect("root may");
    fails(&place, &["queue", "import", "/nowhere/at/all"], 69);
    assert!(place.output(&["queue", "repair"]).status.success(), "root runs the agent there, as in a container");
}
