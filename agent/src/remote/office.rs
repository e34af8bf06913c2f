//! Decides on what comes in, and does it.
//!
//! One document is decided on at a time. Commands run beside that, one after the other ([`commands`]).

mod commands;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use weir_protocol::AgentId;
use weir_protocol::mqtt::Purpose;
use weir_protocol::name::Name;
use weir_protocol::settings::Source;
use weir_protocol::time::WallClock;

use super::command::Ended;
use super::desk::Desk;
use super::document::{Document, DocumentError, SignedConfig};
use super::ledger::{Ledger, Overlay};
use super::outcome::About;
use super::settings::check_from_afar;
use super::trial::{LOOK, Stands, Trial};
use super::waiting::{Given, Waiting};
use crate::config::Config;
use crate::counters::{Counters, Event};
use crate::reload::{self, Read, Reload};
use crate::uplink::orders::Order;

/// The most documents of which it is remembered that they were refused, so that one that is delivered with every
/// connection is told of once.
const MAX_REFUSED: usize = 64;
/// The least time between two results about documents that nobody who is trusted signed: each costs a write.
const UNTRUSTED: Duration = Duration::from_secs(60);
/// Time between two tries to go back to settings that did not start.
const BACK: Duration = Duration::from_secs(2);
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
    /// When to try again to go back to them: they did not start.
    back_at: Option<Instant>,
    waiting: Waiting,
    /// The command that runs.
    running: JoinSet<(String, Ended)>,
    /// Tells it to end.
    end: Arc<AtomicBool>,
    /// When the result of a command was told last.
    answered: BTreeMap<String, Instant>,
    /// The digests of documents.
    refused: VecDeque<String>,
    untrusted_at: Option<Instant>,
}

impl Office {
    /// Takes orders until the agent stops.
    pub async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let mut stop = self.stop.clone();
        let mut work = Work {
            trial: None,
            before: None,
            back_at: None,
            waiting: Waiting::default(),
            running: JoinSet::new(),
            end: Arc::default(),
            answered: BTreeMap::new(),
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
            let due_at = work.waiting.due_at().filter(|_| work.running.is_empty());
            let again_at = work.office.desk.decided.again_at().filter(|_| due_at.is_none() && orders.is_empty());
            let later = Instant::now() + LOOK;
            tokio::select! {
                _ = stop.changed() => break,
                Some(order) = orders.recv() => work.take(&order).await,
                () = sleep_until(due_at.unwrap_or(later)), if due_at.is_some() => work.begin_next().await,
                () = sleep_until(again_at.unwrap_or(later)), if again_at.is_some() => work.office.desk.decided.has_room(),
                () = sleep_until(work.back_at.unwrap_or(later)), if work.back_at.is_some() => work.go_back().await,
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
            (Ok(Document::Command(signed)), About::Command) => {
                let given = Given { signed, digest: hex(&order.payload), topic: order.id };
                self.command(given, order.retained).await;
            }
            (Ok(_), _) => {
                let why = "a command belongs on the topic do, settings on the topic config";
                self.refuse(about, "document", why, hex(&order.payload), None).await;
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
        self.refuse(about, "document", &error.to_string(), hex(payload), None).await;
    }

    /// Tells that a document is not obeyed, and why; once for as long as it is remembered. `decides` is the id of a
    /// command that is decided on with this, and has a topic of its own.
    async fn refuse(&mut self, about: About, what: &str, why: &str, digest: String, decides: Option<Name>) {
        self.office.counters.warn(Event::OrdersRefused, || format!("{what}: {why}"));
        if self.refused.contains(&digest) {
            return decides.into_iter().for_each(|id| self.office.desk.decided.add(id));
        }
        let (headline, why) = (format!("{what} refused"), why.to_owned());
        let owe = move |ledger: &mut Ledger, desk: &Desk| desk.owe_decided(ledger, about, headline, &why, decides);
        if self.change(owe).await.is_some() {
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
                return self.refuse(About::Config, &what, &why, digest, None).await;
            }
            _ => {}
        }
        if let Err(not_now) = header.check(self.office.agent.as_str(), self.now()) {
            return self.refuse(About::Config, &what, &not_now.to_string(), digest, None).await;
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
        // Those that did not start again are still those before.
        if self.trial.is_none() && self.back_at.take().is_none() {
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
        self.go_back().await;
    }

    /// Runs with the settings that were confirmed last, or with those before the trial. If they do not start (a port is
    /// taken, a disk is full) the agent goes on with those on trial, which do, and this is tried again.
    async fn go_back(&mut self) {
        self.back_at = None;
        let confirmed = self.office.desk.look(|ledger| ledger.confirmed.clone());
        let config = (self.office.read)(confirmed.as_ref());
        let config = match (config, &self.before) {
            (Ok(config), _) => config,
            // The file was changed meanwhile, and is wrong.
            (Err(why), Some(before)) => {
                tracing::error!("going back to the settings as they were read last:\n{why}");
                (**before).clone()
            }
            (Err(why), None) => {
                return tracing::error!("there is nothing to go back to; mend the settings and reload:\n{why}");
            }
        };
        match reload::apply(&self.office.reloads, config).await {
            Ok(()) => self.before = None,
            Err(error) => {
                tracing::error!(error, again_in_s = BACK.as_secs(), "the settings before do not start");
                self.back_at = Some(Instant::now() + BACK);
            }
        }
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
