//! What becomes of documents when clock and disk are not what they should be: the office alone, on a disk in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{mpsc, watch};
use weir_agent::config::Config;
use weir_agent::counters::{Counters, Event};
use weir_agent::reload::{self, Reload};
use weir_agent::remote::document::{Document, Header, SignedCommand, SignedConfig};
use weir_agent::remote::keys::SecretKey;
use weir_agent::remote::{Desk, Office};
use weir_agent::uplink::orders::Order;
use weir_protocol::mqtt::Purpose;
use weir_protocol::name::Name;
use weir_protocol::settings::Source;
use weir_protocol::time::WallClock;
use weir_protocol::{AgentId, Restart, Timestamp};
use weir_storage::{FaultyFs, Fs};

use crate::support::wait::until;

/// A clock that somebody sets, in seconds since 1970.
struct SetClock(AtomicI64);

impl WallClock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

/// An office that hears what a test says.
struct Bureau {
    key: SecretKey,
    disk: FaultyFs,
    clock: Arc<SetClock>,
    counters: Arc<Counters>,
    desk: Arc<Desk>,
    orders: mpsc::Sender<Order>,
    reloads: mpsc::Receiver<Reload>,
    _stop: watch::Sender<()>,
    _current: watch::Sender<Arc<Config>>,
    _dir: tempfile::TempDir,
}

const NOW: i64 = 1_795_262_400;

impl Bureau {
    fn open() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let key = SecretKey::generate(&dir.path().join("key")).expect("a key");
        let text = format!("name = \"edge-1\"\n[remote]\ntrust = [\"{}\"]\n", key.public());
        let config = Arc::new(Config::of(&Source::new("file", text.as_str())).expect("good settings"));
        let (disk, counters) = (FaultyFs::new(1), Arc::new(Counters::default()));
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let desk = Arc::new(
            Desk::open(&fs, Path::new("/agent"), Restart::from_agent(1), Arc::clone(&counters)).expect("a disk"),
        );
        let clock = Arc::new(SetClock(AtomicI64::new(NOW)));
        let ((reloads, asked), (show, current), (stop, stopped)) =
            (reload::channel(), watch::channel(Arc::clone(&config)), watch::channel(()));
        let office = Office {
            desk: Arc::clone(&desk),
            agent: AgentId::new("edge-1").expect("a name"),
            current,
            read: Arc::new(move |overlay| {
                let source = Source::new("file", text.as_str());
                let laid = |source: Source| match overlay {
                    Some(overlay) => source.with_overlay(overlay.name(), &overlay.settings),
                    None => source,
                };
                Config::of(&laid(source)).map_err(|error| error.to_string())
            }),
            reloads,
            clock: Arc::clone(&clock) as Arc<dyn WallClock>,
            counters: Arc::clone(&counters),
            stop: stopped,
        };
        let (orders, taken) = mpsc::channel(8);
        tokio::spawn(office.run(taken));
        Self { key, disk, clock, counters, desk, orders, reloads: asked, _stop: stop, _current: show, _dir: dir }
    }

    async fn hears(&self, purpose: Purpose, document: &Document) {
        let payload = document.sign(&self.key).expect("a small document").into();
        let order = Order { purpose, id: None, retained: false, payload };
        self.orders.send(order).await.expect("a running office");
    }

    /// `ping`, good for a minute.
    async fn ping(&self, id: &str) {
        let id = Name::new(id).expect("a name");
        let (header, name) = (header(NOW), "ping".to_owned());
        self.hears(Purpose::Do, &Document::Command(SignedCommand { header, id, name, args: Vec::new() })).await;
    }

    async fn settings(&self, version: u64) {
        let settings = "[uplink]\nwindow = 8\n".to_owned();
        self.hears(Purpose::Config, &Document::Config(SignedConfig { header: header(NOW), version, settings })).await;
    }

    fn is_at(&self, second: i64) {
        self.clock.0.store(second, Ordering::Relaxed);
    }

    /// The next result, which the queue takes.
    async fn told(&self) -> String {
        let outcome = self.desk.owed().await;
        self.desk.change(|ledger, _| ledger.paid(outcome.number)).expect("a disk");
        format!("{}: {}", outcome.headline, outcome.detail)
    }
}

fn header(issued: i64) -> Header {
    Header { agent: "edge-1".to_owned(), issued, expires: issued + 60 }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_makes_no_command_run_twice_and_none_run_that_expired() {
    let bureau = Bureau::open();
    bureau.ping("c-1").await;
    assert_eq!(bureau.told().await, "c-1 exited 0: ");
    // An hour later it is forgotten, because another one begins; then the clock is set back.
    bureau.is_at(NOW + 3600);
    bureau.ping("c-late").await;
    assert_eq!(bureau.told().await, "c-late refused: expired 3540 s ago");
    bureau.is_at(NOW + 61);
    let id = Name::new("c-2").expect("a name");
    let command = SignedCommand { header: header(NOW + 61), id, name: "ping".to_owned(), args: Vec::new() };
    bureau.hears(Purpose::Do, &Document::Command(command)).await;
    assert_eq!(bureau.told().await, "c-2 exited 0: ");
    bureau.is_at(NOW);
    bureau.ping("c-1").await;
    assert_eq!(bureau.told().await, "c-1 refused: it expired, by what this agent knows of the time");
    assert_eq!(bureau.counters.get(Event::CommandsRun), 2);
    // What is signed ahead of a clock that went far back waits for the right time.
    bureau.is_at(NOW - 400);
    bureau.settings(1).await;
    assert!(bureau.told().await.starts_with("1 refused: issued 400 s ahead of the clock"));
    bureau.is_at(NOW);
    bureau.settings(1).await;
    assert_eq!(bureau.told_after_reload(1).await, "1 trying: ");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_not_obeyed_and_is_once_there_is_room() {
    let mut bureau = Bureau::open();
    bureau.disk.set_capacity(Some(0));
    bureau.settings(1).await;
    bureau.ping("c-1").await;
    until("two refusals", || (bureau.counters.get(Event::OrdersRefused) == 2).then_some(())).await;
    assert!(bureau.reloads.try_recv().is_err(), "nothing was begun");
    assert_eq!(bureau.counters.get(Event::CommandsRun), 0);
    assert!(bureau.desk.overlay().is_none());
    bureau.disk.set_capacity(None);
    // They come again, because they are retained.
    bureau.ping("c-1").await;
    assert_eq!(bureau.told().await, "c-1 exited 0: ");
    bureau.settings(1).await;
    assert_eq!(bureau.told_after_reload(1).await, "1 trying: ");
}

impl Bureau {
    /// The agent runs with the settings of a version; the next result.
    async fn told_after_reload(mut self, version: u64) -> String {
        let Reload { config, answer } = self.reloads.recv().await.expect("settings");
        assert_eq!(*config.uplink.window.get_ref(), 8);
        assert_eq!(self.desk.overlay().map(|overlay| overlay.version), Some(version));
        answer.send(Ok(())).expect("an office that waits");
        self.told().await
    }
}
