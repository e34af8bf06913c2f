//! Settings that change while the agent runs, and what systemd is told meanwhile.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rustix::process::Signal;
use tokio::net::UnixDatagram;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{Restart, Sequence};

use crate::process::{Agent, Place, greets_and_sends, is_acknowledged};
use crate::support::board::Board;
use crate::support::device::Talker;
use crate::support::gateway::{Came, Gateway, Peer};
use crate::support::kept::Kept;

const R: Restart = Restart::from_boot(1, 7);
/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the agent tells what it would tell systemd.
pub(crate) struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    pub(crate) fn listen(place: &Place) -> Self {
        Self { socket: UnixDatagram::bind(Self::path(place)).expect("a socket") }
    }

    fn path(place: &Place) -> std::path::PathBuf {
        place.config().with_file_name("notify")
    }

    pub(crate) fn start(&self, place: &Place, words: &[&str], variables: &[(&str, &str)]) -> Agent {
        let mut command = place.command(words);
        command.env("NOTIFY_SOCKET", Self::path(place)).envs(variables.iter().copied());
        Agent::of(command.stderr(Stdio::null()).spawn().expect("the program starts"))
    }

    /// The next message that has `wanted` in it.
    pub(crate) async fn hears(&self, wanted: &str) -> String {
        let heard = async {
            let mut buffer = [0; 4096];
            loop {
                let length = self.socket.recv(&mut buffer).await.expect("a socket");
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if text.contains(wanted) {
                    return text;
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("the agent did not say {wanted}"))
    }
}

fn rewrite(place: &Place, from: &str, to: &str) {
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    assert!(settings.contains(from), "{settings}");
    replace(&place.config(), &settings.replace(from, to));
}

/// As an editor does it: by a name that is renamed over the file.
fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).expect("a file");
    std::fs::rename(temporary, path).expect("a file");
}

/// Takes batches until these sequences of the board are there, in any grouping and order of repeats.
async fn ships(peer: &mut Peer, range: std::ops::Range<u64>) {
    let mut next = range.start;
    while next < range.end {
        let Came { packet, sections } = peer.batch().await;
        for section in sections {
            let Kept::Readings(_, R, came) = section else { panic!("unexpected {section:?}") };
            assert!(came.start <= next, "a hole before {came:?}");
            next = next.max(came.end);
        }
        peer.answer(packet, PubAckReason::Success).await;
    }
}

#[tokio::test]
async fn a_reload_moves_the_agent_to_another_gateway_and_loses_nothing() {
    let (first, second) = (Gateway::open().await, Gateway::open().await);
    let place = Place::with_line(first.port());
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let manager = Manager::listen(&place);
    let agent = manager.start(&place, &["run"], &[]);
    manager.hears("READY=1").await;
    // The first gateway takes a connection and answers nothing.
    let mut mute = first.accept(100).await;
    greets_and_sends(&mut board, &mut talker, 30).await;
    is_acknowledged(&mut board, 30).await;
    mute.batch().await;
    rewrite(&place, &format!(":{}", first.port()), &format!(":{}", second.port()));
    agent.signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(manager.hears("READY=1").await.contains("STATUS=running with new settings"));
    let mut peer = second.accept(100).await;
    ships(&mut peer, 0..30).await;
    // The line is open again, and goes on where it was.
    board.hears(|down| matches!(down, Down::HelloRequest).then_some(())).await;
    board.says(&talker.hello(&[(R, 30, 40)])).await;
    board.says(&talker.readings(R, (30, 40), 30, 40)).await;
    board.hears(|down| (down == Down::Ack { restart: R, accepted: Sequence(40) }).then_some(())).await;
    ships(&mut peer, 30..40).await;
    agent.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    assert_eq!(agent.ends(), Some(0));
}

#[tokio::test]
async fn wrong_settings_change_nothing_and_are_named_with_their_place() {
    let gateway = Gateway::open().await;
    let place = Place::with_line(gateway.port());
    let mut board = Board::plug(&place.line());
    let mut talker = Talker::new("board-1", Ring::Durable);
    let manager = Manager::listen(&place);
    let agent = manager.start(&place, &["run"], &[]);
    let mut peer = gateway.accept(100).await;
    let cases = [
        ("name = \"edge-1\"", "name = \"edge-2\"", "name: got edge-2, and edge-1 is running"),
        ("name = \"edge-2\"", "nam = \"edge-1\"", "agent.toml:1:1: unknown key `nam`"),
        ("nam = \"edge-1\"\n", "name = \"edge-1\"\ncap = 1\n", "agent.toml:2:1: unknown key `cap`"),
    ];
    for (from, to, expected) in cases {
        rewrite(&place, from, to);
        agent.signal(Signal::HUP);
        manager.hears("RELOADING=1").await;
        let ready = manager.hears("READY=1").await;
        assert!(ready.contains("as they were") && ready.contains(expected), "{ready}");
    }
    // On the same connection as before.
    greets_and_sends(&mut board, &mut talker, 5).await;
    ships(&mut peer, 0..5).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends(), Some(0));
}

#[tokio::test]
async fn the_watchdog_hears_from_an_agent_that_works() {
    let place = Place::with_line(1);
    let manager = Manager::listen(&place);
    let agent = manager.start(&place, &["run"], &[("WATCHDOG_USEC", "100000")]);
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    drop(agent);
}
