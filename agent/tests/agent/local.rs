//! The local port of a running agent.

use rustix::process::Signal;
use weir_protocol::Restart;
use weir_protocol::serial::device_to_agent::Ring;

use crate::process::{Place, greets_and_sends, is_acknowledged, text};
use crate::support::board::Board;
use crate::support::device::Talker;
use crate::support::local::{get, until};
use crate::support::nowhere::Nowhere;

const R: Restart = Restart::from_boot(1, 7);

#[tokio::test]
async fn an_agent_tells_how_it_is_and_its_socket_goes_with_it() {
    let nowhere = Nowhere::open();
    let place = Place::with_line(nowhere.port());
    let socket = place.data().join("agent.sock");
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    std::fs::write(place.config(), format!("drain = \"50ms\"\n{settings}")).expect("a file");
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let agent = place.start();
    greets_and_sends(&mut board, &mut talker, 30).await;
    is_acknowledged(&mut board, 30).await;

    assert_eq!(get(&socket, "/version").json()["name"], "weir-agent");
    assert_eq!((get(&socket, "/healthz").status, get(&socket, "/readyz").status), (200, 200));
    let status = get(&socket, "/status").json();
    assert_eq!((&status["agent"], &status["events"]["readings_accepted"]), (&"edge-1".into(), &30.into()));
    assert!(status["queue"]["unshipped"].as_u64() > Some(0), "{status}");
    let rates = until(&socket, "/status", |answer| answer.json()["rates"]["readings_accepted"].is_number());
    assert!(rates.json()["rates"]["units_shipped"].is_number());
    let source = &status["sources"][0];
    assert_eq!(
        (&source["kind"], &source["state"], &source["readings"]),
        (&"serial".into(), &"running".into(), &30.into())
    );
    let id = source["id"].as_str().expect("an id").to_owned();
    let metrics = get(&socket, "/metrics").body;
    let readings = format!("weir_agent_source_readings_total{{source=\"{id}\"}} 30");
    assert!(metrics.lines().any(|line| line == readings), "no {readings} in\n{metrics}");
    for line in [
        "weir_agent_events_total{event=\"readings_accepted\"} 30",
        "weir_agent_events_total{event=\"commits_failed\"} 0",
        "weir_agent_queue_cap_bytes{class=\"default\"} 268435456",
        "weir_agent_healthy 1",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
    assert!(!socket.exists());
}

/// What passes is shown before and after the rule that it met, to whom it concerns; then the line is closed.
#[test]
fn a_tap_shows_readings_before_and_after_their_rule() {
    let place = Place::with_data(
        "name = \"edge-1\"\n[system]\ndevice = \"edge-1\"\ninterval = \"5ms\"\n\
         [[process]]\nchannel = \"uptime\"\nunit = \"min\"\nrename = \"up\"\n",
    );
    let _agent = place.start();
    until(&place.data().join("agent.sock"), "/readyz", |answer| answer.status == 200);
    let words = ["tap", "--channel", "upt*", "--count", "3"];
    let output = place.command(&words).args(["--output", "json"]).output().expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let readings: Vec<_> = lines.iter().filter(|line| line["missed"].is_null()).collect();
    assert_eq!(readings.len(), 3);
    for line in readings {
        assert_eq!(
            (&line["device"], &line["channel"], &line["unit"]),
            (&"edge-1".into(), &"uptime".into(), &"s".into())
        );
        assert_eq!(
            (&line["rule"], &line["then"]["channel"], &line["then"]["unit"]),
            (&1.into(), &"up".into(), &"min".into())
        );
        let (before, after) =
            (line["value"].as_f64().expect("seconds"), line["then"]["value"].as_f64().expect("minutes"));
        assert!((before / 60.0 - after).abs() < 1e-6, "{line}");
    }
    let told = text(&place.output(&words).stdout);
    assert!(told.contains("edge-1 uptime ") && told.contains("-> rule 1: up "), "{told}");
    let nobody = place.output(&["tap", "--device", "board-*", "--count", "0"]);
    assert!(nobody.status.success() && nobody.stdout.is_empty());
    assert_eq!(get(&place.data().join("agent.sock"), "/tap?count=many").status, 400);
}

/// A queue that blocks takes nothing more once it is full, and says so where a load balancer or a person looks.
#[tokio::test]
async fn a_full_queue_is_not_ready_and_says_why() {
    let nowhere = Nowhere::open();
    let place = Place::with_line(nowhere.port());
    let socket = place.data().join("agent.sock");
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    let settings = settings.replace("[queue]", "[queue]\ncap = \"1 MiB\"");
    std::fs::write(place.config(), format!("drain = \"50ms\"\n{settings}")).expect("a file");
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let _agent = place.start();
    greets_and_sends(&mut board, &mut talker, 30).await;
    let full = tokio::task::spawn_blocking(move || until(&socket, "/readyz", |answer| answer.status == 503));
    let feeding = async {
        for many in (30..).step_by(120) {
            for first in (many..many + 120).step_by(30) {
                board.says(&talker.readings(R, (0, many + 120), first, first + 30)).await;
            }
            is_acknowledged(&mut board, many + 120).await;
        }
    };
    tokio::select! {
        full = full => assert!(full.expect("an answer").body.contains("the queue is full"), "the reason is said"),
        () = feeding => {}
    }
}

/// What is configured and does not work is named; the rest goes on.
#[test]
fn a_source_that_fails_is_named_in_health() {
    let place = Place::with_data("");
    let no_line = place.path().join("no-line");
    std::fs::write(&no_line, "").expect("a file");
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    let settings =
        format!("{settings}[uplink]\naddress = \"127.0.0.1:1\"\n[[serial]]\npath = {no_line:?}\npoll = \"5ms\"\n");
    std::fs::write(place.config(), settings).expect("a file");
    let _agent = place.start();
    let socket = place.data().join("agent.sock");
    let sick = until(&socket, "/healthz", |answer| answer.status == 503);
    let named = format!("source serial.{} waits: ", no_line.display());
    assert!(sick.body.contains(&named), "{}", sick.body);
    let status = get(&socket, "/status").json();
    let of = |kind: &str| status["sources"].as_array().into_iter().flatten().find(|source| source["kind"] == kind);
    assert!(of("serial").is_some_and(|source| source["last_error"].is_string()), "{status}");
    until(&socket, "/status", |answer| answer.json()["events"]["readings_accepted"].as_u64() > Some(0));
    assert_eq!(get(&socket, "/readyz").status, 200, "readings of others are taken");
}

/// Regression: only a connection that fell silent counted, and an agent whose gateway refused it was healthy for ever.
#[test]
fn an_agent_that_cannot_ship_is_not_healthy_connected_or_not() {
    let place = Place::with_data(
        "[uplink]\naddress = \"127.0.0.1:1\"\nprogress_timeout = \"1s\"\n[system]\ninterval = \"20ms\"\n",
    );
    let _agent = place.start();
    let sick = until(&place.data().join("agent.sock"), "/healthz", |answer| answer.status == 503);
    assert!(sick.body.contains("nothing acknowledged for 1 s: "), "{}", sick.body);
    let metrics = get(&place.data().join("agent.sock"), "/metrics").body;
    for line in
        ["weir_agent_healthy 0", "weir_agent_ready 1", "weir_agent_uplink_gateway_used{gateway=\"127.0.0.1:1\"} 1"]
    {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
}

#[test]
fn ports_that_make_no_sense_are_refused_at_their_place() {
    let cases = [
        ("listen = \"localhost:1\"", ":2:10: got \"localhost:1\", expected \"127.0.0.1:9464\""),
        ("listen = [\"0.0.0.0:9464\"]", ":2:10: 0.0.0.0:9464 can be reached from other machines"),
        ("listen = 9464", ":2:10: got 9464, expected an address such as"),
        ("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", ":2:10: 127.0.0.1:1 is there twice"),
        ("listen = [\"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\", \"127.0.0.1:4\", \"127.0.0.1:5\"]", "at most 4"),
    ];
    for (setting, expected) in cases {
        let place = Place::new(&format!("[local]\n{setting}\n"));
        let output = place.output(&["validate"]);
        assert_eq!(output.status.code(), Some(78), "{setting}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    for setting in
        ["listen = []", "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]", "listen = \"0.0.0.0:9464\"\ninsecure = true"]
    {
        assert!(Place::new(&format!("[local]\n{setting}\n")).output(&["validate"]).status.success(), "{setting}");
    }
}

#[test]
fn a_port_that_is_taken_stops_the_start_if_the_settings_name_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let place = Place::new("");
    let settings = format!("data_dir = {:?}\n[local]\nlisten = \"{address}\"\n", place.data());
    std::fs::write(place.config(), settings).expect("a file");
    let output = place.output(&["run"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {address}")), "{}", text(&output.stderr));
}
