//! The clients as programs: how each is started, what it is told, and what it says while it runs.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use weir_tests::{PATIENCE, binaries, skip};

use crate::event::{Event, Message};
use crate::order::{Order, Transport};

/// A client library with a program of ours around it, and the version that it speaks. mosquitto's are programs already;
/// see `mosquitto.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// paho-mqtt for Python, MQTT 3.1.1.
    Paho,
    /// The same, MQTT 5.
    Paho5,
    /// MQTT.js, MQTT 3.1.1.
    MqttJs,
    /// The same, MQTT 5.
    MqttJs5,
    /// rumqttc, MQTT 3.1.1.
    Rumqttc,
    /// The same, MQTT 5.
    Rumqttc5,
}

/// Where `tests/mqtt/install` puts what it builds: beside the profile's directory in that of cargo.
fn built() -> PathBuf {
    let program = env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().join("mqtt-clients")
}

impl Client {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Paho, Self::Paho5, Self::MqttJs, Self::MqttJs5, Self::Rumqttc, Self::Rumqttc5];

    /// Whether it speaks MQTT 5.
    pub(crate) fn is_5(self) -> bool {
        matches!(self, Self::Paho5 | Self::MqttJs5 | Self::Rumqttc5)
    }

    /// Whether its library has this transport.
    pub(crate) fn knows(self, transport: Transport) -> bool {
        matches!(transport, Transport::Tcp | Transport::Tls) || matches!(self, Self::MqttJs | Self::MqttJs5)
    }

    /// Its program with first arguments, or `None`, said loudly, if it was not built.
    fn command(self) -> Option<Command> {
        let (built, sources) = (built(), binaries().root.join("tests/mqtt/clients"));
        let (language, program, first): (_, PathBuf, Option<PathBuf>) = match self {
            Self::Paho | Self::Paho5 => {
                (Some("python"), built.join("python/bin/python"), Some(sources.join("python/client.py")))
            }
            Self::MqttJs | Self::MqttJs5 => {
                (Some("javascript"), "node".into(), Some(built.join("javascript/client.mjs")))
            }
            Self::Rumqttc | Self::Rumqttc5 => (None, env!("CARGO_BIN_EXE_rumqttc-client").into(), None),
        };
        if language.is_some_and(|language| !built.join(language).join("made-of").is_file()) {
            skip(&format!("{self:?}: its program is not built; type: tests/run mqtt"));
            return None;
        }
        let mut command = Command::new(program);
        command.args(first).args(["--version", if self.is_5() { "5" } else { "3.1.1" }]);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Some(command)
    }

    /// Starts it; `None` if it was not built.
    pub(crate) fn start(self, order: &Order) -> Option<Running> {
        let mut command = self.command()?;
        command.args(order.arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Read at once, or a client would block on a full pipe while the test looks at another.
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = sender.send(Event::parse(&line));
            }
        });
        Some(Running { client: self, child, orders, events, messages: Vec::new(), published: Vec::new() })
    }

    /// Starts it and waits until it is connected; whether the gateway had its session.
    pub(crate) async fn connect(self, order: &Order) -> Option<(Running, bool)> {
        let mut running = self.start(order)?;
        let present = running.until_connected().await;
        Some((running, present))
    }
}

/// A client that runs, and what it has said so far. It is killed when this is dropped.
pub(crate) struct Running {
    client: Client,
    child: Child,
    orders: ChildStdin,
    /// As many as the test asked for.
    events: mpsc::UnboundedReceiver<Event>,
    /// What it got, in its order.
    pub(crate) messages: Vec<Message>,
    /// What of its own is acknowledged, in the order of the acknowledgements.
    pub(crate) published: Vec<String>,
}

impl Running {
    /// Tells it what to do.
    pub(crate) async fn tell(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    /// What it says next, after it was noted.
    async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        let Ok(event) = event else {
            let (got, acknowledged) = (self.messages.len(), self.published.len());
            panic!("{:?} says nothing for {PATIENCE:?}; {got} messages, {acknowledged} published", self.client);
        };
        let Some(event) = event else {
            let mut complaint = String::new();
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut complaint).await;
            panic!("{:?} ended:\n{complaint}", self.client);
        };
        match &event {
            Event::Message(message) => self.messages.push(message.clone()),
            Event::Published(name) => self.published.push(name.clone()),
            _ => {}
        }
        event
    }

    /// Listens until `holds` says what it was waiting for.
    pub(crate) async fn until<T>(&mut self, mut holds: impl FnMut(&Self, &Event) -> Option<T>) -> T {
        loop {
            let event = self.event().await;
            if let Some(found) = holds(self, &event) {
                return found;
            }
            if let Event::Failed(why) = event {
                panic!("{:?}: refused: {why}", self.client);
            }
        }
    }

    /// Waits until it is connected; whether the gateway had its session.
    pub(crate) async fn until_connected(&mut self) -> bool {
        self.until(|_, event| if let Event::Connected(present) = event { Some(*present) } else { None }).await
    }

    /// Waits until it is not let in; the client's own words.
    pub(crate) async fn until_refused(&mut self) -> String {
        let client = self.client;
        self.until(|_, event| match event {
            Event::Refused(why) => Some(why.clone()),
            Event::Connected(_) => panic!("{client:?} was let in"),
            _ => None,
        })
        .await
    }

    /// Waits until its connection ends.
    pub(crate) async fn until_disconnected(&mut self) {
        self.until(|_, event| (*event == Event::Disconnected).then_some(())).await;
    }

    /// Expects that it was not let in since the last look.
    pub(crate) fn is_not_connected(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            assert!(!matches!(event, Event::Connected(_)), "{:?} was let in", self.client);
        }
    }

    /// Subscribes, and waits for the answer: QoS or reason code.
    pub(crate) async fn subscribe(&mut self, qos: u8, filter: &str) -> String {
        self.tell(&format!("subscribe {qos} {filter}")).await;
        self.until(|_, event| if let Event::Subscribed(codes) = event { Some(codes.clone()) } else { None }).await
    }

    /// Publishes, and waits until it is acknowledged.
    pub(crate) async fn publish(&mut self, qos: u8, retain: bool, topic: &str, text: &str) {
        let name = format!("m{}", self.published.len());
        self.tell(&format!("publish {name} {qos} {} {topic} {text}", u8::from(retain))).await;
        self.until(|_, event| (*event == Event::Published(name.clone())).then_some(())).await;
    }

    /// Publishes, and waits until it is refused; the client's own words.
    pub(crate) async fn is_refused(&mut self, qos: u8, topic: &str) -> String {
        self.tell(&format!("publish refused {qos} 0 {topic} x")).await;
        loop {
            if let Event::Failed(why) = self.event().await {
                return why;
            }
        }
    }

    /// Waits until it has got so many messages in all.
    pub(crate) async fn until_it_got(&mut self, messages: usize) -> &[Message] {
        if self.messages.len() < messages {
            self.until(|it, _| (it.messages.len() >= messages).then_some(())).await;
        }
        &self.messages
    }

    /// Waits until so many messages of its own are acknowledged in all.
    pub(crate) async fn until_it_published(&mut self, messages: usize) {
        if self.published.len() < messages {
            self.until(|it, _| (it.published.len() >= messages).then_some(())).await;
        }
    }

    /// Lets it say goodbye.
    pub(crate) async fn disconnect(mut self) -> Vec<Message> {
        self.tell("disconnect").await;
        self.until(|_, event| (*event == Event::Bye).then_some(())).await;
        self.messages
    }

    /// `kill -9`: it says nothing to the gateway.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
