//! Connections that come and go while the power goes and the disk fails, against what was acknowledged.
//!
//! `WEIR_SEED=17` replays one run; `WEIR_SEEDS=3000` makes that many, else there are 150.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use weir_protocol::{Restart, Sequence};
use weir_storage::fs::Fault;

use super::*;

const CLIENTS: [&str; 3] = ["pump", "valve", "mill"];
const FILTERS: [&str; 3] = ["a", "b/+", "c/#"];
const IDS: [u16; 3] = [1, 2, 300];

type Known = (Restart, Sequence);

#[test]
fn whatever_fails_nothing_acknowledged_is_forgotten_and_no_identity_is_given_twice() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(150)).collect(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in seeds {
        println!("WEIR_SEED={seed}");
        runtime.block_on(Run::new(seed).run());
    }
}

/// What may be found of a client: one answer each, or two while something failed.
#[derive(Clone)]
struct Lawful {
    present: BTreeSet<bool>,
    filters: BTreeMap<&'static str, BTreeSet<bool>>,
    ids: BTreeMap<u16, BTreeSet<Option<Known>>>,
}

impl Lawful {
    fn nothing() -> Self {
        Self {
            present: [false].into(),
            filters: FILTERS.map(|filter| (filter, [false].into())).into(),
            ids: IDS.map(|id| (id, [None].into())).into(),
        }
    }

    /// Either this or the other.
    fn or(&mut self, other: &Self) {
        self.present.extend(&other.present);
        for (filter, lawful) in &mut self.filters {
            lawful.extend(&other.filters[filter]);
        }
        for (id, lawful) in &mut self.ids {
            lawful.extend(&other.ids[id]);
        }
    }

    /// What is found is lawful; from here on it is what holds.
    fn check(&mut self, name: &str, attached: &Attached) {
        let Attached { session, present, .. } = attached;
        assert!(self.present.contains(present), "{name}: present: got {present}, expected {:?}", self.present);
        let is_kept = session.is_durable();
        self.present = [is_kept].into();
        for (filter, lawful) in &mut self.filters {
            let found = session.state.subscriptions.get(filter).is_some();
            assert!(
                !present && !found || lawful.contains(&found),
                "{name}: {filter}: got {found}, expected {lawful:?}"
            );
            *lawful = [found].into();
        }
        let open: BTreeMap<u16, Known> = session.open().collect();
        for (id, lawful) in &mut self.ids {
            let found = open.get(id).copied();
            assert!(
                !present && found.is_none() || lawful.contains(&found),
                "{name}: {id}: got {found:?}, expected {lawful:?}"
            );
            *lawful = [found].into();
        }
    }
}

struct Run {
    random: StdRng,
    fs: FaultyFs,
    lawful: BTreeMap<&'static str, Lawful>,
    /// Identities under which messages went on.
    given: BTreeSet<(&'static str, Known)>,
    restarts: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let lawful = CLIENTS.map(|name| (name, Lawful::nothing())).into();
        let (random, given) = (StdRng::seed_from_u64(seed), BTreeSet::new());
        Self { random, fs: FaultyFs::new(seed), lawful, given, restarts: seed << 20 }
    }

    async fn run(mut self) {
        for _ in 0..6 {
            let sessions = self.start();
            let (stop, stopping) = watch::channel(false);
            let running = tokio::spawn(sessions.clone().run(Told::new(), stopping));
            for _ in 0..self.random.random_range(1..12) {
                match self.random.random_range(0..10) {
                    0 => self.fs.fail_once(Fault::Sync),
                    1 => self.fs.fail_once(Fault::Write),
                    2 => sessions.compact(),
                    3 => sessions.sweep(),
                    _ => (),
                }
                self.connection(&sessions).await;
            }
            if self.random.random_bool(0.3) {
                stop.send(true).expect("it listens");
                running.await.expect("ends");
                sessions.stop();
            } else {
                // It goes at any moment of what comes now.
                self.fs.fail_power_after(self.random.random_range(0..30));
                for _ in 0..3 {
                    self.connection(&sessions).await;
                }
                running.abort();
            }
            self.fs = self.fs.power_cut();
        }
    }

    fn start(&mut self) -> Sessions {
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let log = LogOptions { segment_bytes: 1000, ..keyed_log::options() };
        let opened = Opened::open_with(&fs, Path::new("/data"), log).expect("opens");
        // Numbers of one start are none of another.
        self.restarts += 1000;
        let mut next = self.restarts;
        let random = move || {
            next += 1;
            next
        };
        Sessions::new(opened, Options { sessions: 2, ..Options::default() }, &Wall(NOW_MS), Box::new(random))
    }

    /// One connection of a client, from its CONNECT to its end.
    async fn connection(&mut self, sessions: &Sessions) {
        let name = CLIENTS[self.random.random_range(0..CLIENTS.len())];
        let expiry = if self.random.random_bool(0.8) { 3600 } else { 0 };
        let wants = if self.random.random_bool(0.2) { clean(expiry) } else { connect(expiry) };
        let attached = sessions.attach(&identity(name), Version::V5, &wants).await;
        let mut lawful = self.lawful[name].clone();
        let mut attached = match attached {
            Ok(attached) => attached,
            // The settings allow two, and it was not asked whether there is room.
            Err(Refused::Full) => return,
            Err(_) => {
                // Perhaps there is an empty one now, or none.
                let before = lawful.clone();
                lawful.or(&Lawful::nothing());
                lawful.or(&Lawful { present: [true].into(), ..before });
                self.lawful.insert(name, lawful);
                return;
            }
        };
        if wants.clean_start {
            lawful = Lawful::nothing();
        }
        lawful.check(name, &attached);
        for _ in 0..self.random.random_range(0..6) {
            if !self.act(name, &mut attached.session, &mut lawful).await {
                // Nothing on this connection counts any more.
                break;
            }
        }
        self.end(attached.session, &mut lawful);
        self.lawful.insert(name, lawful);
    }

    /// What one read of the socket brings, in one commit; whether it was written.
    async fn act(&mut self, name: &'static str, session: &mut Session, lawful: &mut Lawful) -> bool {
        let before = lawful.clone();
        let mut begun = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let filter = FILTERS[self.random.random_range(0..FILTERS.len())];
            let id = IDS[self.random.random_range(0..IDS.len())];
            match self.random.random_range(0..4) {
                0 => {
                    session.subscribe(subscription(filter)).expect("room");
                    lawful.filters.insert(filter, [true].into());
                }
                1 => {
                    session.unsubscribe(filter);
                    lawful.filters.insert(filter, [false].into());
                }
                2 => {
                    let Begun { is_new, identity } = session.begin(id).expect("room");
                    if let Some(identity) = identity {
                        assert_eq!(is_new, lawful.ids[&id] == [None].into());
                        assert!(!is_new || !self.given.contains(&(name, identity)), "{name}: {identity:?} was given");
                        begun.push(identity);
                        lawful.ids.insert(id, [Some(identity)].into());
                    }
                }
                _ => {
                    session.release(id);
                    lawful.ids.insert(id, [None].into());
                }
            }
        }
        let is_written = flush(session).await.is_ok();
        if is_written {
            self.given.extend(begun.into_iter().map(|identity| (name, identity)));
        } else {
            lawful.or(&before);
        }
        is_written
    }

    /// The end of a connection; nobody is told that it is on the disk.
    fn end(&mut self, session: Session, lawful: &mut Lawful) {
        if !session.is_durable() {
            *lawful = Lawful::nothing();
            return;
        }
        let ends = session.expiry() == 0;
        match self.random.random_range(0..4) {
            0 => session.detach(End { will: false, expiry: Some(0) }),
            1 => session.detach(GOODBYE),
            _ if !ends => return drop(session),
            _ => drop(session),
        }
        // It has ended, or came back with the power.
        lawful.or(&Lawful::nothing());
    }
}
