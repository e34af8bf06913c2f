//! An operator at a desk: signs what agents are told.

use weir_agent::remote::document::{Document, Header, SignedCommand, SignedConfig};
use weir_agent::remote::keys::SecretKey;
use weir_protocol::name::Name;
use weir_protocol::time::{SystemClock, WallClock};

use super::control_room::ControlRoom;
use crate::process::{Agent, Place};
use crate::reload::Manager;

/// Somebody with a key, and the place of the agent that trusts it.
pub(crate) struct Operator {
    pub(crate) key: SecretKey,
    pub(crate) place: Place,
    pub(crate) manager: Manager,
}

impl Operator {
    /// `settings` are those of `[remote]` beside the key, and what follows.
    pub(crate) fn of(room: &ControlRoom, settings: &str) -> Self {
        let place = Place::new("");
        let key = SecretKey::generate(&place.path().join("operator.key")).expect("a key");
        let text = format!(
            "name = \"edge-1\"\ndata_dir = {:?}\n[uplink]\naddress = \"127.0.0.1:{}\"\nbatch_interval = \"1ms\"\n\
             backoff_min = \"10ms\"\nbackoff_max = \"50ms\"\n[system]\nenabled = false\n[remote]\ntrust = [\"{}\"]\n{settings}",
            place.data(),
            room.port,
            key.public(),
        );
        std::fs::write(place.config(), text).expect("a file");
        let manager = Manager::listen(&place);
        Self { key, place, manager }
    }

    pub(crate) async fn start(&self) -> Agent {
        let agent = self.manager.start(&self.place, &["run"], &[]);
        self.manager.hears("READY=1").await;
        agent
    }

    pub(crate) fn config(&self, version: u64, settings: &str) -> String {
        let config = SignedConfig { header: header("edge-*", 60), version, settings: settings.to_owned() };
        Document::Config(config).sign(&self.key).expect("a small document")
    }

    pub(crate) fn command(&self, id: &str, name: &str, args: &[&str]) -> String {
        self.command_for(header("edge-1", 60), id, name, args)
    }

    pub(crate) fn command_for(&self, header: Header, id: &str, name: &str, args: &[&str]) -> String {
        let (id, name) = (Name::new(id).expect("a name"), name.to_owned());
        let args = args.iter().map(ToString::to_string).collect();
        let command = SignedCommand { header, id, name, args };
        Document::Command(command).sign(&self.key).expect("a small document")
    }
}

/// For an agent, good for so many seconds from now.
pub(crate) fn header(agent: &str, seconds: i64) -> Header {
    let now = SystemClock.now().as_millis() / 1000;
    Header { agent: agent.to_owned(), issued: now - 100, expires: now + seconds }
}

pub(crate) fn address(room: &ControlRoom) -> String {
    address_of(room.port)
}

pub(crate) fn address_of(port: u16) -> String {
    format!("[uplink]\naddress = \"127.0.0.1:{port}\"\n")
}
