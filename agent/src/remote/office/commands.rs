//! Commands: each once, one after the other in the order in which they were signed.
//!
//! A command waits, begins, and ends; what became of it is owed to the queue and recorded for whoever gives it again. Its
//! own topic, if it has one, keeps it until that is in the queue, so that an agent that is killed before hears it again.
//! `ping` waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::command::{self, Ended};
use super::super::desk::Desk;
use super::super::document::NotNow;
use super::super::ledger::Ledger;
use super::super::outcome::About;
use super::super::settings::BUILT_IN;
use super::super::waiting::{Full, Given, MAX_WAITING};
use super::Work;
use crate::counters::Event;
use crate::reload;

/// The least time between two answers to a command that is given again: each costs a write.
const AGAIN: Duration = Duration::from_secs(60);
/// What is told while others run.
const AT_ONCE: &str = "ping";

impl Work {
    /// A command came; `retained` if it was there before this agent listened.
    pub(super) async fn command(&mut self, given: Given, retained: bool) {
        let id = given.signed.id;
        if self.office.desk.look(|ledger| ledger.has_begun(id.as_str(), &given.digest)) {
            return self.repeated(&given, retained).await;
        }
        if let Some(topic) = given.topic.filter(|topic| *topic != id) {
            let why = format!("it belongs on the topic do/{id}, and came on do/{topic}");
            return self.refuse(About::Command, id.as_str(), &why, given.digest, Some(topic)).await;
        }
        if given.signed.name == AT_ONCE {
            return self.begin(given).await;
        }
        if self.waiting.add(given, retained) == Err(Full) {
            self.office.desk.decided.miss();
            self.office.counters.warn(Event::OrdersDropped, || {
                format!(
                    "{MAX_WAITING} commands wait: {id} is heard again later, if it is retained on a topic of its own"
                )
            });
        }
    }

    /// The same document again: nothing happens but that what became of it is told, to whoever gave it again.
    async fn repeated(&mut self, given: &Given, retained: bool) {
        self.office.counters.add(Event::OrdersRepeated, 1);
        let (id, topic) = (given.signed.id.to_string(), given.topic);
        let Some(recorded) = self.office.desk.look(|ledger| ledger.result_of(&id).cloned()) else { return };
        // What shares its topic stays there until another takes its place, and comes with every connection.
        if topic.is_none() && retained {
            return;
        }
        if self.answered.get(&id).is_some_and(|at| at.elapsed() < AGAIN) {
            return topic.into_iter().for_each(|id| self.office.desk.decided.add(id));
        }
        self.answered(&id);
        let answer = move |ledger: &mut Ledger, desk: &Desk| {
            desk.owe_decided(ledger, About::Command, format!("{id} {}", recorded.how), &recorded.output, topic);
        };
        self.change(answer).await;
    }

    /// Notes that a result is told; there are no more of these than commands that are remembered.
    fn answered(&mut self, id: &str) {
        self.answered.retain(|_, at| at.elapsed() < AGAIN);
        self.answered.insert(id.to_owned(), Instant::now());
    }

    /// Begins the command whose turn it is.
    pub(super) async fn begin_next(&mut self) {
        if let Some(given) = self.waiting.pop() {
            self.begin(given).await;
        }
    }

    async fn begin(&mut self, given: Given) {
        let Given { signed, digest, topic } = given;
        let (id, header) = (signed.id.to_string(), &signed.header);
        if let Err(not_now) = header.check(self.office.agent.as_str(), self.now()) {
            // One that is ahead of the clock is obeyed once the clock is right.
            let decides = topic.filter(|_| !matches!(not_now, NotNow::Ahead(_)));
            return self.refuse(About::Command, &id, &not_now.to_string(), digest, decides).await;
        }
        let (name, args) = (signed.name.as_str(), &signed.args);
        let config = Arc::clone(&self.office.current.borrow());
        let allowed = config.command.iter().find(|command| command.name.get_ref().as_str() == name);
        let words = match allowed {
            Some(command) => command.words(args).map(|words| Some((words, command.patience()))),
            None if !BUILT_IN.contains(&name) => Err(format!("no [[command]] is called {name:?} here")),
            None if args.is_empty() => Ok(None),
            None => Err(format!("{name} takes no arguments")),
        };
        let words = match words {
            Ok(words) => words,
            Err(why) => return self.refuse(About::Command, &id, &why, digest, topic).await,
        };
        let (begun, same, times) = (id.clone(), digest.clone(), (header.expires, self.now()));
        let begin = move |ledger: &mut Ledger, _: &Desk| ledger.begin(&begun, &same, times, topic.is_some());
        match self.change(begin).await {
            // It is heard again, if it is kept where it came from.
            None => return self.office.desk.decided.miss(),
            Some(Err(why)) => return self.refuse(About::Command, &id, &why.to_string(), digest, topic).await,
            Some(Ok(())) => self.office.counters.add(Event::CommandsRun, 1),
        }
        match words {
            Some((words, patience)) => self.start(id, words, patience),
            None => {
                let ended = self.own(name).await;
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

    /// How a command ended, durable and owed in one change.
    pub(super) async fn ended(&mut self, id: String, ended: Ended) {
        self.answered(&id);
        let Ended { how, output } = ended;
        self.change(move |ledger, desk| desk.end(ledger, &id, &how, &output)).await;
    }
}
