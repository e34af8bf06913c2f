//! The clients as programs: how each is started, and what it says while it runs.

use std::collections::BTreeSet;
use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use weir_tests::{PATIENCE, binaries, skip};

use crate::event::{Event, Positions, Taken};
use crate::order::Order;
use crate::stage::Stage;

/// A client library with a program of ours around it. kcat is a program already; see `kcat.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// confluent-kafka for Python, which is librdkafka.
    Confluent,
    /// aiokafka for Python.
    Aiokafka,
    /// kafkajs for Node.
    Kafkajs,
    /// org.apache.kafka:kafka-clients.
    Java,
    /// franz-go.
    Franz,
}

/// The Java client describes itself in 200 lines otherwise.
const QUIET: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";

/// Where `tests/kafka/install` puts what it builds: beside the profile's directory in that of cargo.
pub(crate) fn built() -> PathBuf {
    let program = env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().join("kafka-clients")
}

impl Client {
    /// Its program with first arguments, or `None`, said loudly, if it was not built.
    fn command(self) -> Option<Command> {
        let (built, sources) = (built(), binaries().root.join("tests/kafka/clients"));
        let (language, program, first): (_, PathBuf, Vec<PathBuf>) = match self {
            Self::Confluent => ("python", built.join("python/bin/python"), vec![sources.join("python/confluent.py")]),
            Self::Aiokafka => ("python", built.join("python/bin/python"), vec![sources.join("python/aio.py")]),
            Self::Kafkajs => ("javascript", "node".into(), vec![built.join("javascript/consume.mjs")]),
            Self::Java => {
                let classes = format!("{0}/consume.jar:{0}/dependency/*", built.join("java").display());
                ("java", "java".into(), vec![QUIET.into(), "-cp".into(), classes.into(), "weir.Consume".into()])
            }
            Self::Franz => ("go", built.join("go/consume"), Vec::new()),
        };
        if !built.join(language).join("made-of").is_file() {
            skip(&format!("{self:?}: its program is not built; type: tests/run kafka"));
            return None;
        }
        let mut command = Command::new(program);
        command.args(first).env("PYTHONDONTWRITEBYTECODE", "1");
        Some(command)
    }

    /// Starts it; `None` if it was not built.
    pub(crate) fn start(self, bootstrap: SocketAddr, order: &Order) -> Option<Running> {
        let mut command = self.command()?;
        command.args(order.arguments(&bootstrap.to_string()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Read at once, or a client would block on a full pipe while the test looks at another.
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = sender.send(Event::parse(&line));
            }
        });
        let (taken, committed, held) = (Vec::new(), Positions::new(), BTreeSet::new());
        Some(Running { client: self, child, events, taken, committed, held })
    }
}

impl Client {
    /// Expects it to give up on `order`, and `part` in its own message.
    pub(crate) async fn says(self, stage: &Stage, order: &Order, part: &str) {
        let Some(running) = self.start(stage.kafka, order) else { return };
        let message = running.error().await;
        assert!(message.contains(part), "{self:?} says {message:?}, expected {part:?} in it");
    }

    /// Expects it to go on in spite of `order`, and `part` in a line of its log.
    pub(crate) async fn complains(self, stage: &Stage, order: &Order, part: &str) {
        let Some(mut running) = self.start(stage.kafka, order) else { return };
        let mut log = BufReader::new(running.child.stderr.take().unwrap()).lines();
        let line = async {
            loop {
                let line = log.next_line().await.unwrap().unwrap_or_else(|| panic!("{self:?} ended without {part:?}"));
                if line.contains(part) {
                    return line;
                }
            }
        };
        let line = tokio::time::timeout(PATIENCE, line).await.unwrap_or_else(|_| panic!("{self:?}: no {part:?}"));
        println!("{self:?} logs: {line}");
    }
}

/// A client that runs, and what it has said so far. It is killed when this is dropped.
pub(crate) struct Running {
    client: Client,
    child: Child,
    /// As many as the order lets it write.
    events: mpsc::UnboundedReceiver<Event>,
    /// What it took, in its order, without what it gave up uncommitted.
    pub(crate) taken: Vec<Taken>,
    /// Its last commit.
    pub(crate) committed: Positions,
    /// The partitions that its group has given it.
    pub(crate) held: BTreeSet<u32>,
}

impl Running {
    /// What it says next, after it was noted.
    async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        let Ok(event) = event else {
            panic!("{:?} says nothing for {PATIENCE:?}; {} records so far", self.client, self.taken.len());
        };
        let Some(event) = event else {
            let mut complaint = String::new();
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut complaint).await;
            panic!("{:?} ended; {} records so far:\n{complaint}", self.client, self.taken.len());
        };
        match &event {
            Event::Assigned(partitions) => self.held.extend(partitions),
            Event::Revoked(partitions) => self.give_up(partitions),
            Event::Committed(positions) => self.committed.extend(positions),
            Event::Record(record) => self.taken.push(record.clone()),
            Event::Holding | Event::Done | Event::Error(_) => {}
        }
        event
    }

    /// What it took of these partitions and did not commit comes again, to it or to another member.
    fn give_up(&mut self, partitions: &BTreeSet<u32>) {
        self.held.retain(|held| !partitions.contains(held));
        let committed = &self.committed;
        let is_kept = |record: &Taken| committed.get(&record.partition).is_some_and(|next| record.offset < *next);
        self.taken.retain(|record| !partitions.contains(&record.partition) || is_kept(record));
    }

    /// Listens until `holds`.
    async fn until(&mut self, holds: impl Fn(&Self, &Event) -> bool) {
        loop {
            let event = self.event().await;
            if holds(self, &event) {
                return;
            }
            if let Event::Error(message) = event {
                panic!("{:?}: {message}; {} records so far", self.client, self.taken.len());
            }
        }
    }

    /// Waits until it takes no more and waits to be killed.
    pub(crate) async fn until_it_holds(&mut self) {
        self.until(|_, event| *event == Event::Holding).await;
    }

    /// Waits until the group has given it so many partitions.
    pub(crate) async fn until_it_has(&mut self, partitions: usize) {
        self.until(|it, event| matches!(event, Event::Assigned(_)) && it.held.len() == partitions).await;
    }

    /// Waits until it has taken so many records in all.
    pub(crate) async fn until_it_took(&mut self, records: usize) {
        if self.taken.len() < records {
            self.until(|it, _| it.taken.len() >= records).await;
        }
    }

    /// Waits until it has done what it was asked to, and returns what it took.
    pub(crate) async fn finish(mut self) -> Vec<Taken> {
        self.until(|_, event| *event == Event::Done).await;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        self.taken
    }

    /// Waits until it gives up, prints its own message and returns it.
    pub(crate) async fn error(mut self) -> String {
        loop {
            match self.event().await {
                Event::Error(message) => {
                    println!("{:?} says: {message}", self.client);
                    return message;
                }
                Event::Done => panic!("{:?} succeeded, expected an error", self.client),
                _ => {}
            }
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}
