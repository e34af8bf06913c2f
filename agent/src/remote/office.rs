//! Decides on what comes in, and does it.
//!
//! One document is decided on at a time. Commands run beside that, at most [`MAX_RUNNING`]; the agent's own
//! (`ping`, `reload`) at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use weir_protocol::AgentId;
use weir_protocol::mqtt::Purpose;
use weir_protocol::settings::Source;
use weir_protocol::time::WallClock;

use super::command::{self, Ended};
use super::desk::Desk;
use super::document::{Document, DocumentError, SignedCommand, SignedConfig};
use super::ledger::{About, Ledger, Overlay};
use super::settings::check_from_afar;
use super::trial::{LOOK, Stands, Trial};
use crate::config::Config;
use crate::counters::{Counters, Event};
use crate::reload::{self, Read, Reload};
use crate::uplink::orders::Order;

/// The most commands that run at a time.
const MAX_RUNNING: usize = 4;
/// The most documents of which it is remembered that they were refused, so that one that is delivered with every
/// connection is told of once.
const MAX_REFUSED: usize = 64;
/// The least time between two results about documents that nobody who is trusted signed: each costs a write.
const UNTRUSTED: Duration = Duration::from_secs(60);
/// How long commands are waited for that were told to end.
const END: Duration = Duration::from_secs(1);

/// Decides on documents for as long as the agent runs, whatever its settings are.
pub struct Office {
    /// What was decided.
    pub desk: Arc<Desk>,
    /// This agent.
    pub agent: AgentId,
    /// The settings that the agent runs with.
    pub current: watch::Receiver<Arc<Config>>,
    /// Reads the settings file, with settings laid over it.
    pub read: Arc<Read>,
    /// Where settings go.
    pub reloads: mpsc::Sender<Reload>,
    /// For what expires.
    pub clock: Arc<dyn WallClock>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Ends it, when dropped.
    pub stop: watch::Receiver<()>,
}

/// What is under way.
struct Work {
    office: Office,
    trial: Option<Trial>,
    /// The settings before a trial.
    before: Option<Arc<Config>>,
    running: JoinSet<(String, Ended)>,
    /// Tells commands to end.
    end: Arc<AtomicBool>,
    refused: VecDeque<Vec<u8>>,
    untrusted_at: Option<Instant>,
}

impl Office {
    /// Takes orders until the agent stops.
    pub async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let mut stop = self.stop.clone();
        let mut work = Work {
            trial: None,
            before: None,
            running: JoinSet::new(),
            end: Arc::default(),
            refused: VecDeque::new(),
            untrusted_at: None,
            office: self,
        };
        if work.office.desk.look(|ledger| ledger.trial.is_some()) {
            work.begin_trial().await;
        }
        // Orders that keep coming do not put it off.
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.changed() => break,
                Some(order) = orders.recv() => work.take(&order).await,
                _ = look.tick(), if work.trial.is_some() => work.look_at_trial().await,
                Some(ended) = work.running.join_next() => {
                    if let Ok((id, ended)) = ended {
                        work.ended(id, ended).await;
                    }
                }
            }
        }
        work.end.store(true, Ordering::Relaxed);
        let ended = async { while work.running.join_next().await.is_some() {} };
        // What is interrupted is said to be at the next start.
        let _ = timeout(END, ended).await;
    }
}

impl Work {
    async fn take(&mut self, order: &Order) {
        let config = Arc::clone(&self.office.current.borrow());
        let about = if order.purpose == Purpose::Config { About::Config } else { About::Command };
        self.office.counters.add(Event::Orders, 1);
        match (Document::open(&order.payload, config.remote.trust.get_ref()), about) {
            (Ok(Document::Config(signed)), About::Config) => self.config(signed, &order.payload).await,
            (Ok(Document::Command(signed)), About::Command) => self.command(signed, &order.payload).await,
            (Ok(_), _) => {
                let why = "a command belongs on the topic do, settings on the topic config";
                self.refuse(about, "document", why, &order.payload).await;
            }
            (Err(error), _) => self.untrusted(about, &error, &order.payload).await,
        }
    }

    /// A document that cannot be opened.
    async fn untrusted(&mut self, about: About, error: &DocumentError, payload: &[u8]) {
        if !error.is_authentic() {
            let recently = self.untrusted_at.is_some_and(|at| at.elapsed() < UNTRUSTED);
            if recently {
                return self.office.counters.warn(Event::OrdersRefused, || error.to_string());
            }
            self.untrusted_at = Some(Instant::now());
        }
        self.refuse(about, "document", &error.to_string(), payload).await;
    }

    /// Tells that a document is not obeyed, and why; once for as long as it is remembered.
    async fn refuse(&mut self, about: About, what: &str, why: &str, payload: &[u8]) {
        self.office.counters.warn(Event::OrdersRefused, || format!("{what}: {why}"));
        let digest = ring::digest::digest(&ring::digest::SHA256, payload).as_ref().to_vec();
        if self.refused.contains(&digest) {
            return;
        }
        let (headline, why) = (format!("{what} refused"), why.to_owned());
        if self.change(move |ledger, desk| desk.owe(ledger, about, headline, &why)).await.is_some() {
            self.refused.push_back(digest);
            if self.refused.len() > MAX_REFUSED {
                self.refused.pop_front();
            }
        }
    }

    /// Changes the ledger on another thread; none if that failed, and nothing changed.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Ledger, &Desk) -> T + Send + 'static,
    ) -> Option<T> {
        let desk = Arc::clone(&self.office.desk);
        match tokio::task::spawn_blocking(move || desk.change(change)).await.ok()? {
            Ok(result) => Some(result),
            Err(error) => {
                self.office
                    .counters
                    .warn(Event::OrdersRefused, || format!("cannot be kept, and so not obeyed: {error}"));
                None
            }
        }
    }

    async fn config(&mut self, signed: SignedConfig, payload: &[u8]) {
        let SignedConfig { header, version, settings } = signed;
        let what = version.to_string();
        let digest = hex(payload);
        let decided = self.office.desk.look(|ledger| (ledger.highest, ledger.is_highest(&digest)));
        match decided {
            // It is delivered with every connection.
            (highest, true) if highest == version => return,
            (highest, _) if version <= highest => {
                let why = format!("version {highest} was decided on; sign with a higher one");
                return self.refuse(About::Config, &what, &why, payload).await;
            }
            _ => {}
        }
        if let Err(not_now) = header.check(self.office.agent.as_str(), self.now()) {
            return self.refuse(About::Config, &what, &not_now.to_string(), payload).await;
        }
        let overlay = Overlay { version, settings };
        match self.read(&overlay) {
            Ok(config) => self.try_out(overlay, digest, config).await,
            Err(why) => {
                self.office.counters.warn(Event::OrdersRefused, || format!("settings {version}: {why}"));
                let decide = move |ledger: &mut Ledger, desk: &Desk| {
                    ledger.decided(version, digest);
                    desk.owe(ledger, About::Config, format!("{version} refused"), &why);
                };
                self.change(decide).await;
            }
        }
    }

    /// Reads the settings file with `overlay` over it.
    fn read(&self, overlay: &Overlay) -> Result<Config, String> {
        let source = Source::new(overlay.name(), overlay.settings.as_str());
        check_from_afar(&source).map_err(|error| error.to_string())?;
        (self.office.read)(Some(overlay))
    }

    async fn try_out(&mut self, overlay: Overlay, digest: String, config: Config) {
        let begin = move |ledger: &mut Ledger, desk: &Desk| {
            let version = overlay.version;
            ledger.decided(version, digest);
            if let Some(before) = ledger.trial.take() {
                let why = format!("by {version}, before it was confirmed");
                desk.owe(ledger, About::Config, format!("{} superseded", before.overlay.version), &why);
            }
            ledger.try_out(overlay);
        };
        if self.change(begin).await.is_none() {
            return;
        }
        if self.trial.is_none() {
            self.before = Some(Arc::clone(&self.office.current.borrow()));
        }
        match reload::apply(&self.office.reloads, config).await {
            Ok(()) => self.begin_trial().await,
            Err(why) => self.roll_back(why).await,
        }
    }

    /// The settings on trial took over. That they did is a reading, so that there is one to commit and to acknowledge.
    async fn begin_trial(&mut self) {
        let confirm = self.office.current.borrow().remote.confirm.get_ref().0;
        self.trial = Some(Trial::begin(&self.office.counters, confirm));
        let tell = |ledger: &mut Ledger, desk: &Desk| {
            if let Some(version) = ledger.trial.as_ref().map(|trial| trial.overlay.version) {
                desk.owe(ledger, About::Config, format!("{version} trying"), "");
            }
        };
        self.change(tell).await;
    }

    async fn look_at_trial(&mut self) {
        let Some(trial) = self.trial else { return };
        if !self.office.current.borrow().remote.is_on() {
            return self.roll_back("nobody is trusted any more".to_owned()).await;
        }
        match trial.stands(&self.office.counters) {
            Stands::Open => {}
            Stands::Works => {
                let confirm = |ledger: &mut Ledger, desk: &Desk| {
                    if let Some(version) = ledger.confirm() {
                        desk.owe(ledger, About::Config, format!("{version} confirmed"), "");
                    }
                };
                // If it cannot be written, the next look tries again.
                if self.change(confirm).await.is_some() {
                    (self.trial, self.before) = (None, None);
                }
            }
            Stands::Failed => self.roll_back(trial.missing(&self.office.counters).to_owned()).await,
        }
    }

    /// Goes back to the settings before the trial.
    async fn roll_back(&mut self, why: String) {
        self.trial = None;
        // Should it not be written, the next start rolls back.
        self.change(move |ledger, desk| desk.roll_back(ledger, &why)).await;
        let confirmed = self.office.desk.look(|ledger| ledger.confirmed.clone());
        let before = self.before.take();
        let config = (self.office.read)(confirmed.as_ref());
        let config = match (config, before) {
            (Ok(config), _) => config,
            // The file was changed meanwhile, and is wrong.
            (Err(why), Some(before)) => {
                tracing::error!("going back to the settings as they were read last:\n{why}");
                (*before).clone()
            }
            (Err(why), None) => {
                return tracing::error!("there is nothing to go back to; mend the settings and reload:\n{why}");
            }
        };
        if let Err(error) = reload::apply(&self.office.reloads, config).await {
            tracing::error!(error, "the settings before do not start");
        }
    }

    async fn command(&mut self, signed: SignedCommand, payload: &[u8]) {
        let SignedCommand { header, id, name, args } = signed;
        let (id, digest) = (id.to_string(), hex(payload));
        if self.office.desk.look(|ledger| ledger.has_begun(&id, &digest)) {
            // It is delivered with every connection.
            return self.office.counters.add(Event::OrdersRepeated, 1);
        }
        if let Err(not_now) = header.check(self.office.agent.as_str(), self.now()) {
            return self.refuse(About::Command, &id, &not_now.to_string(), payload).await;
        }
        let config = Arc::clone(&self.office.current.borrow());
        let allowed = config.command.iter().find(|command| command.name.get_ref().as_str() == name);
        let words = match (allowed, name.as_str()) {
            (Some(command), _) => command.words(&args).map(|words| Some((words, command.patience()))),
            (None, "ping" | "reload") if args.is_empty() => Ok(None),
            (None, "ping" | "reload") => Err(format!("{name} takes no arguments")),
            (None, _) => Err(format!("no [[command]] is called {name:?} here")),
        };
        let words = match words {
            Ok(_) if self.running.len() >= MAX_RUNNING => Err(format!("{MAX_RUNNING} commands are running")),
            words => words,
        };
        let words = match words {
            Ok(words) => words,
            Err(why) => return self.refuse(About::Command, &id, &why, payload).await,
        };
        let (now, begun) = (self.now(), id.clone());
        let begin = move |ledger: &mut Ledger, _: &Desk| ledger.begin(&begun, &digest, header.expires, now);
        match self.change(begin).await {
            None => return,
            Some(Err(why)) => return self.refuse(About::Command, &id, &why.to_string(), payload).await,
            Some(Ok(())) => self.office.counters.add(Event::CommandsRun, 1),
        }
        match words {
            Some((words, patience)) => self.start(id, words, patience),
            None => {
                let ended = self.own(&name).await;
                self.ended(id, ended).await;
            }
        }
    }

    /// A command of the agent's own.
    async fn own(&self, name: &str) -> Ended {
        let done = match name {
            "reload" => match (self.office.read)(self.office.desk.overlay().as_ref()) {
                Ok(config) => reload::apply(&self.office.reloads, config).await,
                Err(why) => Err(why),
            },
            _ => Ok(()),
        };
        match done {
            Ok(()) => Ended { how: "exited 0".to_owned(), output: String::new() },
            Err(why) => Ended { how: "exited 1".to_owned(), output: why },
        }
    }

    fn start(&mut self, id: String, words: Vec<String>, patience: Duration) {
        let (told, hear) = oneshot::channel();
        let end = Arc::clone(&self.end);
        let spawned = std::thread::Builder::new().name("command".to_owned()).spawn(move || {
            // Nobody listens any more once the agent stopped.
            let _ = told.send(command::run(&words, patience, &end));
        });
        let spawned = spawned.map(drop).map_err(|error| error.to_string());
        self.running.spawn(async move {
            let lost = |output: String| Ended { how: "not started".to_owned(), output };
            let ended = match spawned {
                Ok(()) => hear.await.unwrap_or_else(|_| lost("its thread ended".to_owned())),
                Err(error) => lost(error),
            };
            (id, ended)
        });
    }

    async fn ended(&self, id: String, ended: Ended) {
        let Ended { how, output } = ended;
        let end = move |ledger: &mut Ledger, desk: &Desk| {
            ledger.end(&id);
            desk.owe(ledger, About::Command, format!("{id} {how}"), &output);
        };
        self.change(end).await;
    }

    /// Seconds since 1970.
    fn now(&self) -> i64 {
        self.office.clock.now().as_millis().div_euclid(1000)
    }
}

fn hex(payload: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, payload);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
