//! A real mosquitto, and a consumer at it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tempfile::TempDir;
use weir_protocol::batch::describe;

use super::gateway::sections;
use super::kept::Kept;
use super::wait::until;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    child: Child,
    _place: TempDir,
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian puts it where ordinary users do not look.
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    directories.map(|directory| directory.join("mosquitto")).find(|file| file.is_file())
}

impl Mosquitto {
    /// Starts it with these settings; `None`, said loudly, if it is not installed. `acl` is a file of its own.
    pub(crate) async fn start(settings: &str, acl: Option<&str>) -> Option<Self> {
        let Some(program) = find() else {
            eprintln!("SKIPPED: mosquitto is not installed; type: apt-get install mosquitto");
            return None;
        };
        let place = tempfile::tempdir().expect("a directory");
        let mut text = format!("allow_anonymous true\npersistence false\nuser root\n{settings}\n");
        if let Some(acl) = acl {
            let file = place.path().join("acl");
            std::fs::write(&file, acl).expect("a file");
            text += &format!("acl_file {}\n", file.display());
        }
        // A port that is free now may be taken a moment later: then mosquitto ends, and another one is tried.
        for _ in 0..10 {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = free.local_addr().expect("an address").port();
            drop(free);
            let file = place.path().join("mosquitto.conf");
            std::fs::write(&file, format!("{text}listener {port} 127.0.0.1\n")).expect("a file");
            let mut command = Command::new(&program);
            command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("mosquitto starts");
            let listens = until("mosquitto", || match child.try_wait().expect("a child") {
                Some(_) => Some(false),
                None => std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true),
            });
            if listens.await {
                return Some(Self { port, child, _place: place });
            }
        }
        panic!("mosquitto does not start with these settings:\n{text}");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who reads what agents publish at a broker, as any program may.
pub(crate) struct Consumer {
    events: EventLoop,
    _client: AsyncClient,
    /// Descriptions that came.
    pub(crate) described: usize,
    /// The state of the last status that came.
    pub(crate) state: Option<String>,
}

impl Consumer {
    /// Subscribed to everything when this returns.
    pub(crate) async fn at(broker: &Mosquitto) -> Self {
        let mut options = MqttOptions::new("consumer", "127.0.0.1", broker.port);
        options.set_max_packet_size(Some(4 << 20));
        let (client, mut events) = AsyncClient::new(options, 10);
        client.subscribe("weir/1/#", QoS::AtLeastOnce).await.expect("an event loop");
        while !matches!(events.poll().await.expect("a broker"), Event::Incoming(Packet::SubAck(_))) {}
        Self { events, _client: client, described: 0, state: None }
    }

    /// The next batch that has more than positions.
    pub(crate) async fn batch(&mut self) -> Vec<Kept> {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.poll()).await.expect("a batch in time");
            let Event::Incoming(Packet::Publish(publish)) = event.expect("a broker") else { continue };
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            if topic.ends_with("/describe") {
                describe::decode(&publish.payload).expect("a good description");
                self.described += 1;
            } else if topic.ends_with("/status") {
                let status: serde_json::Value = serde_json::from_slice(&publish.payload).expect("JSON");
                self.state = status["state"].as_str().map(str::to_owned);
            } else if topic == "weir/1/default/edge-1/batch" {
                let (kept, _) = sections(&publish.payload);
                if !kept.is_empty() {
                    return kept;
                }
            }
        }
    }
}
