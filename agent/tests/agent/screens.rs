//! `top` in a real terminal, tmux, beside what it looked like when a person last looked at it: `screens/top.txt`.
//!
//! Numbers are not compared, words and their places are. `WEIR_UPDATE_SCREENS=1` takes the present screen as the new one:
//! look at it before it is kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weir_protocol::Restart;
use weir_protocol::serial::device_to_agent::Ring;

use crate::process::{Place, greets_and_sends, is_acknowledged, ships, text};
use crate::support::board::Board;
use crate::support::device::Talker;
use crate::support::gateway::Gateway;
use crate::support::local::until;
use crate::support::wait::until_found;

const R: Restart = Restart::from_boot(1, 7);

/// A terminal, closed when it goes.
struct Terminal {
    dir: tempfile::TempDir,
}

impl Terminal {
    /// Types `command` into a terminal of so many columns and rows; none without tmux.
    fn open(command: &str, size: (u16, u16)) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("SKIPPED: tmux is not installed, and top is not looked at: apt-get install tmux");
            return None;
        }
        let terminal = Self { dir: tempfile::tempdir().expect("a directory") };
        let (columns, rows) = (size.0.to_string(), size.1.to_string());
        let opened = terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, command]);
        assert!(opened.status.success(), "{}", text(&opened.stderr));
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let socket = self.dir.path().join("tmux");
        let mut command = Command::new("tmux");
        command.arg("-S").arg(socket).args(["-f", "/dev/null"]).args(words).env("TERM", "xterm-256color");
        command.output().expect("tmux starts")
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        text(&self.tmux(&["capture-pane", "-p"]).stdout).trim_end().to_owned() + "\n"
    }

    /// The screen, once it is as wanted.
    fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        until_found(what, || {
            Ok(self.screen()).and_then(|screen| if wanted(&screen) { Ok(screen) } else { Err(screen) })
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Words without numbers and without the width of the gaps between them.
fn words(screen: &str) -> Vec<String> {
    // The line of the board has the name of a directory of this test in it.
    let varies = |word: &str| {
        word.contains(|c: char| c.is_ascii_digit()) || word.starts_with("serial.") && word.ends_with("/tty")
    };
    let word = |word: &str| if varies(word) { "N".to_owned() } else { word.to_owned() };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    screen.lines().map(line).collect()
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent/screens/top.txt")
}

/// Thirty readings were acknowledged, thirty more were sent and are not.
#[tokio::test]
async fn top_looks_as_it_was_looked_at_and_leaves_when_it_is_told() {
    let gateway = Gateway::open().await;
    let place = Place::with_line(gateway.port());
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    let settings = settings
        .replace("[queue]", "[[queue.class]]\nname = \"alarm\"\n\n[queue]\ncap = \"8 MiB\"")
        .replace("[uplink]", "[uplink]\nack_timeout = \"10m\"");
    std::fs::write(place.config(), settings + "\n[[serial]]\npath = \"/nowhere/ttyACM*\"\n").expect("a file");
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let _agent = place.start();
    greets_and_sends(&mut board, &mut talker, 30).await;
    let mut peer = gateway.accept(100).await;
    ships(&mut peer, &talker, 30).await;
    board.says(&talker.readings(R, (0, 60), 30, 60)).await;
    is_acknowledged(&mut board, 60).await;

    let top = format!("{} top --config {}", env!("CARGO_BIN_EXE_weir-agent"), place.config().display());
    let Some(terminal) = Terminal::open(&top, (100, 24)) else { return };
    let settled = |screen: &str| screen.contains("nothing acknowledged for") && !screen.contains("starting");
    if std::env::var_os("WEIR_UPDATE_SCREENS").is_some() {
        // The name of the directory of this test is another one each time.
        let path = place.path().display().to_string();
        let screen = terminal.shows("a gateway that fell silent", settled);
        let screen = screen.replace(&path, &format!("{:-<1$}", "/of-the-test", path.len()));
        std::fs::write(kept(), screen).expect("a file");
    }
    let expected = words(&std::fs::read_to_string(kept()).expect("a screen that was looked at"));
    terminal.shows(&format!("expected\n{}", expected.join("\n")), |screen| words(screen) == expected);

    terminal.tmux(&["resize-window", "-x", "60", "-y", "17"]);
    let parts =
        ["edge-1  healthy  up ", "last acknowledged  board-1", "\ndefault ", "\nalarm ", "\nserial.", "\nq leaves"];
    let fits = |screen: &str| screen.lines().count() <= 17 && parts.iter().all(|part| screen.contains(part));
    terminal.shows(&format!("a smaller screen with {parts:?}"), fits);
    terminal.tmux(&["send-keys", "q"]);
    until_found("the end of the terminal", || match terminal.tmux(&["has-session"]).status.success() {
        true => Err(terminal.screen()),
        false => Ok(()),
    });
}

#[test]
fn into_a_pipe_goes_one_look_without_escapes() {
    let place = Place::with_data("name = \"edge-1\"\n[system]\nenabled = false\n");
    let _agent = place.start();
    until(&place.data().join("agent.sock"), "/version", |_| true);
    let output = place.output(&["top"]);
    let printed = text(&output.stdout);
    assert!(output.status.success() && printed.starts_with("edge-1  healthy  up "), "{printed}");
    assert!(!printed.contains('\u{1b}') && printed.contains("last acknowledged  nothing since the start"), "{printed}");
    let json: serde_json::Value =
        serde_json::from_slice(&place.output(&["top", "--output", "json"]).stdout).expect("JSON");
    assert_eq!((&json["agent"], &json["queue"]["classes"][0]["name"]), (&"edge-1".into(), &"default".into()));
}
