//! The program as people and systemd start it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{Restart, Sequence};

use crate::support::board::Board;
use crate::support::device::Talker;
use crate::support::gateway::{Came, Gateway, Peer};
use crate::support::kept::Kept;
use crate::support::local::get;
use crate::support::nowhere::Nowhere;
use crate::support::wait::until;

const R: Restart = Restart::from_boot(1, 7);

/// A directory with settings, a place for data and a place for a cable.
pub(crate) struct Place {
    dir: TempDir,
}

/// A running agent, killed when it goes.
pub(crate) struct Agent(Child);

impl Place {
    pub(crate) fn new(settings: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        std::fs::write(place.config(), settings).expect("a file");
        place
    }

    /// Settings whose data is kept in this place.
    pub(crate) fn with_data(settings: &str) -> Self {
        let place = Self::new("");
        let settings = format!("data_dir = {:?}\n{settings}", place.data());
        std::fs::write(place.config(), settings).expect("a file");
        place
    }

    /// Settings for an agent with one line and no source of its own.
    pub(crate) fn with_line(port: u16) -> Self {
        let place = Self::new("");
        let settings = format!(
            "name = \"edge-1\"\ndata_dir = {:?}\n\n[queue]\ncheckpoint = \"100ms\"\n\n\
             [uplink]\naddress = \"127.0.0.1:{port}\"\nbatch_interval = \"1ms\"\nbackoff_min = \"10ms\"\n\
             backoff_max = \"50ms\"\n\n[system]\nenabled = false\n\n[[serial]]\npath = {:?}\npoll = \"20ms\"\n",
            place.data(),
            place.line(),
        );
        std::fs::write(place.config(), settings).expect("a file");
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn line(&self) -> PathBuf {
        self.dir.path().join("tty")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-agent"));
        command.args(words).arg("--config").arg(self.config()).env_remove("WEIR_CONFIG");
        command
    }

    pub(crate) fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the program starts")
    }

    pub(crate) fn start(&self) -> Agent {
        Agent(self.command(&["run"]).stderr(Stdio::null()).spawn().expect("the program starts"))
    }
}

impl Agent {
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("a running process");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the end; its exit code, none if it was killed.
    pub(crate) fn ends(mut self) -> Option<i32> {
        self.0.wait().expect("a child").code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Gone already is what most tests want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Hello, description, and readings `0..count`.
pub(crate) async fn greets_and_sends(board: &mut Board, talker: &mut Talker, count: u64) {
    board.hears(|down| matches!(down, Down::HelloRequest).then_some(())).await;
    board.says(&talker.hello(&[(R, 0, count)])).await;
    board.says(&talker.describe()).await;
    board.says(&talker.readings(R, (0, count), 0, count)).await;
}

pub(crate) async fn is_acknowledged(board: &mut Board, upto: u64) {
    let wanted = Down::Ack { restart: R, accepted: Sequence(upto) };
    board.hears(|down| (down == wanted).then_some(())).await;
}

/// Acknowledges batches until these readings are there.
pub(crate) async fn ships(peer: &mut Peer, talker: &Talker, upto: u64) {
    let mut next = 0;
    while next < upto {
        let Came { packet, sections } = peer.batch().await;
        for section in sections {
            let Kept::Readings(device, R, range) = section else { panic!("unexpected {section:?}") };
            assert_eq!((device, range.start), (talker.device, next));
            next = range.end;
        }
        peer.answer(packet, PubAckReason::Success).await;
    }
}

#[test]
fn wrong_settings_are_one_message_that_says_what_to_type_and_create_nothing() {
    let place = Place::new("name = \"edge-1\"\n\n[queue]\ncap = \"64 Mb\"\n");
    for command in [&["validate"][..], &["run"], &["once"], &["queue", "stat"]] {
        let output = place.command(command).env("WEIR_AGENT_DATA_DIR", place.data()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(78), "{command:?}");
        let expected = format!(
            "{}:4:7: got \"64 Mb\", expected a size with its unit, such as \"512 B\", \"64 KiB\", \"256 MiB\" or \
             \"2 GiB\"\n  |\n4 | cap = \"64 Mb\"\n  |       ^^^^^^^\n",
            place.config().display()
        );
        assert_eq!(text(&output.stderr), expected);
        assert_eq!(text(&output.stdout), "");
    }
    assert!(!place.data().exists());
}

#[test]
fn settings_that_parse_and_make_no_sense_are_refused_at_their_place() {
    let cases = [
        ("[queue]\ncap = \"64 KiB\"\n", ":2:7: got 64 KiB, expected 1 MiB or more"),
        ("[uplink]\nwindow = 1\n", ":2:10: got 1, expected 2 to 1024"),
        ("[uplink]\naddress = \"gateway:mqtt\"\n", ":2:11: got \"gateway:mqtt\", expected host:port"),
        ("[uplink]\nca = \"/etc/weir/ca.pem\"\n", "set uplink.address = \"mqtts://127.0.0.1:8883\""),
        ("[uplink]\nkey = \"/etc/weir/key.pem\"\n", ":2:7: uplink.key comes together with uplink.certificate"),
        ("[uplink]\naddress = \"http://gateway\"\n", ":2:11: got \"http://gateway\", expected host:port"),
        ("[uplink]\naddress = []\n", ":2:11: got 0 gateways, expected 1 to 8"),
        ("[uplink]\naddress = [\"a\", \"mqtt://a:1883\"]\n", "a:1883 is there twice"),
        ("[uplink]\naddress = [\"a\", \"b:\"]\n", ":2:11: got \"b:\", expected host:port"),
        ("[[uplink.gateway]]\naddress = \"a\"\nkey = \"k\"\n", ":3:7: key comes together with certificate"),
        ("[[uplink.gateway]]\nca = \"/etc/weir/ca.pem\"\n", "missing key `address`"),
        ("[uplink]\nproxy = \"http://u:secret@p\"\n", ":2:9: expected \"http://host:port\""),
        ("[uplink]\nproxy = \"http://p:1\"\naddress = \"wss://[::1]\"\n", "the gateway needs a name"),
        ("[uplink]\nbreaker_failures = 0\n", ":2:20: got 0, expected 1 to 100"),
        ("[uplink]\nreturn_after = \"1ms\"\n", ":2:16: got 1ms, expected 1s or more"),
        ("[uplink.budget]\nbytes_per_day = \"1 KiB\"\n", ":2:17: got 1 KiB, expected 64 KiB or more"),
        ("[uplink.budget]\nexempt = [\"alarms\"]\n", ":2:11: the queue has no class \"alarms\""),
        ("[uplink.budget]\nhours = { default = \"22-6\" }\n", "expected hours of the day such as \"22:00-06:00\""),
        ("[uplink.budget]\nhours = { night = \"22:00-06:00\" }\n", ":2:11: the queue has no class \"night\""),
        ("[uplink.budget]\nutc_offset = \"CET\"\n", "expected an offset such as \"+02:00\""),
        ("[uplink]\nmqtt = \"4\"\n", ":2:8: got \"4\", expected \"5\" or \"3.1.1\""),
        ("[uplink]\nadress = \"a\"\n", ":2:1: unknown key `adress`"),
        ("[[serial]]\npath = \"ttyACM0\"\n", "write the whole path of a line"),
        ("name = \"a/b\"\n", ":1:8: byte 0x2f at position 1"),
    ];
    for (settings, expected) in cases {
        let place = Place::new(settings);
        let output = place.output(&["validate"]);
        assert_eq!(output.status.code(), Some(78), "{settings}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[test]
fn the_sample_settings_are_good_and_name_every_key() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agent.toml");
    let text_of_sample = std::fs::read_to_string(sample).expect("the sample");
    // Keys that are commented out for want of a good default, with the sections they are in.
    let all: String = text_of_sample.lines().map(|line| format!("{}\n", uncomment(line))).collect();
    // Some of them are for TLS, and one is instead of another.
    let all = all.replace("address = \"127", "address = \"mqtts://127").replace("\ncredential = ", "\n# ");
    for settings in [text_of_sample, all] {
        let place = Place::new(&settings);
        let output = place.output(&["validate"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

/// `#key = ...` and `#[[section]]` lose their sign; prose (`# Like this.`) keeps it.
fn uncomment(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
}

#[test]
fn wrong_usage_is_two_and_a_queue_that_is_not_there_is_sixty_nine() {
    let place = Place::new("");
    assert_eq!(place.output(&["walk"]).status.code(), Some(2));
    let output =
        place.command(&["queue", "stat"]).env("WEIR_AGENT_DATA_DIR", place.data()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(69));
    assert!(!place.data().exists());
}

#[test]
fn once_prints_this_machine_and_needs_no_gateway() {
    let place = Place::new("[system]\ndevice = \"this-machine\"\n");
    let output = place.output(&["once", "--output", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let readings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let uptime = readings.iter().find(|reading| reading["channel"] == "uptime").expect("every Linux has it");
    assert_eq!((uptime["unit"].as_str(), uptime["device"].as_str()), (Some("s"), Some("this-machine")));
    assert!(uptime["value"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[tokio::test]
async fn readings_travel_from_a_line_to_the_gateway_and_garbage_between_them_is_skipped() {
    let gateway = Gateway::open().await;
    let place = Place::with_line(gateway.port());
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let agent = place.start();
    board.sends(&[7; 5000]).await;
    board.sends(&[0, 1, 2, 3, 0, 0]).await;
    greets_and_sends(&mut board, &mut talker, 20).await;
    is_acknowledged(&mut board, 20).await;
    let mut peer = gateway.accept(100).await;
    ships(&mut peer, &talker, 20).await;
    assert_eq!(peer.described, 1);
    // A second agent on the same queue is turned away, and looking at it is not.
    assert_eq!(place.output(&["run"]).status.code(), Some(69));
    let stat = place.output(&["queue", "stat", "--output", "json"]);
    let stat: serde_json::Value = serde_json::from_slice(&stat.stdout).expect("JSON");
    assert_eq!(stat["damage"].as_array().map(Vec::len), Some(0));
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
}

#[tokio::test]
async fn a_cable_that_was_pulled_and_put_back_loses_nothing_and_repeats_nothing() {
    let gateway = Gateway::open().await;
    let place = Place::with_line(gateway.port());
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let agent = place.start();
    greets_and_sends(&mut board, &mut talker, 10).await;
    is_acknowledged(&mut board, 10).await;
    board.unplug();
    let mut board = Board::plug(&place.line());
    board.hears(|down| matches!(down, Down::HelloRequest).then_some(())).await;
    board.says(&talker.hello(&[(R, 10, 25)])).await;
    board.says(&talker.readings(R, (10, 25), 10, 25)).await;
    is_acknowledged(&mut board, 25).await;
    let mut peer = gateway.accept(100).await;
    ships(&mut peer, &talker, 25).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
}

#[tokio::test]
async fn an_agent_that_was_killed_ships_what_it_had_acknowledged() {
    let gateway = Gateway::open().await;
    let place = Place::with_line(gateway.port());
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let agent = place.start();
    // Connected, but nothing is answered: the queue is the only place that has it.
    let mute = gateway.accept(100).await;
    greets_and_sends(&mut board, &mut talker, 30).await;
    is_acknowledged(&mut board, 30).await;
    agent.signal(Signal::KILL);
    assert_eq!(agent.ends(), None);
    drop(mute);
    board.unplug();
    let agent = place.start();
    let mut peer = gateway.accept(100).await;
    ships(&mut peer, &talker, 30).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
}

#[tokio::test]
async fn an_agent_whose_gateway_is_away_stops_in_time_and_keeps_the_rest() {
    let nowhere = Nowhere::open();
    let place = Place::with_line(nowhere.port());
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    std::fs::write(place.config(), format!("drain = \"50ms\"\n{settings}")).expect("a file");
    let agent = place.start();
    greets_and_sends(&mut board, &mut talker, 5).await;
    is_acknowledged(&mut board, 5).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
    let stat = place.output(&["queue", "stat", "--output", "json"]);
    let stat: serde_json::Value = serde_json::from_slice(&stat.stdout).expect("JSON");
    assert_eq!((stat["unshipped"].as_u64(), stat["devices"][0]["accepted"].as_u64()), (Some(1), Some(5)));
}

#[tokio::test]
async fn once_asks_a_device_for_a_reading_and_acknowledges_nothing() {
    let place = Place::with_line(1);
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let once = place.command(&["once", "--output", "json"]).stdout(Stdio::piped()).spawn().expect("it starts");
    board.hears(|down| matches!(down, Down::HelloRequest).then_some(())).await;
    board.says(&talker.hello(&[(R, 3, 9)])).await;
    let schema = board.hears(|down| match down {
        Down::Ack { .. } => panic!("acknowledged"),
        Down::DescribeRequest { schema } => Some(schema),
        _ => None,
    });
    assert_eq!(schema.await, talker.schema());
    board.says(&talker.describe()).await;
    board.says(&talker.readings(R, (3, 9), 3, 6)).await;
    let output = once.wait_with_output().expect("an end");
    let readings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(readings.as_array().map(Vec::len), Some(1), "one of its channel");
    assert_eq!((&readings[0]["device"], &readings[0]["value"]), (&"board-1".into(), &5.into()));
    assert!(!place.data().exists());
}

#[test]
fn once_takes_a_reading_of_every_source_and_says_why_one_gives_none() {
    let place = Place::new("");
    let sensor = place.data().join("sys/bus/iio/devices/iio:device0");
    std::fs::create_dir_all(&sensor).expect("a directory");
    std::fs::write(sensor.join("name"), "bme280\n").expect("a file");
    std::fs::write(sensor.join("in_temp_input"), "21500\n").expect("a file");
    let settings = format!(
        "[system]\nenabled = false\n[[iio]]\ndevice = \"hall\"\nroot = {:?}\n\
         [[exec]]\ndevice = \"ups\"\ncommand = [\"/bin/echo\", \"charge\", \"98.5\", \"%\"]\n\
         [[exec]]\ndevice = \"printer\"\ncommand = [\"/bin/sh\", \"-c\", \"echo no paper >&2; exit 3\"]\n\
         [[i2c]]\ndevice = \"cabinet\"\nbus = \"/dev/i2c-none\"\nsensor = \"sht4x\"\n",
        place.data(),
    );
    std::fs::write(place.config(), settings).expect("a file");
    let output = place.output(&["once"]);
    assert_eq!(output.status.code(), Some(69));
    let lines: Vec<String> =
        text(&output.stdout).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["hall bme280.temp 21.5 Cel", "ups charge 98.5 %"]);
    let missing = "i2c.cabinet: cannot open /dev/i2c-none: No such file or directory (os error 2); \
                   sudo modprobe i2c-dev; ls -l /dev/i2c-none\nexec.printer: it exited with code 3: no paper\n";
    assert!(text(&output.stderr).ends_with(missing), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_line_that_cannot_be_opened_is_named_and_read_as_soon_as_it_can_be() {
    let place = Place::with_line(1);
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    std::fs::write(place.config(), format!("drain = \"50ms\"\n{settings}")).expect("a file");
    std::fs::write(place.line(), "no terminal").expect("a file");
    let agent = place.start();
    let socket = place.data().join("agent.sock");
    let source = || get(&socket, "/status").json()["sources"][0].clone();
    let is_named =
        |source: &serde_json::Value| source["last_error"].is_string() && source["failures"].as_u64() > Some(1);
    let named = until("the failing line", || Some(source()).filter(is_named)).await;
    assert_eq!(named["state"], "waiting");
    let reason = named["last_error"].as_str().unwrap_or_default();
    assert!(reason.starts_with(&format!("{}: ", place.line().display())), "{reason}");
    std::fs::remove_file(place.line()).expect("a file");
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    greets_and_sends(&mut board, &mut talker, 5).await;
    is_acknowledged(&mut board, 5).await;
    let running = source();
    assert_eq!((&running["state"], &running["readings"]), (&"running".into(), &5.into()));
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
}
