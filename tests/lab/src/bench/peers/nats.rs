//! NATS with JetStream and its MQTT listener. A publish at QoS 1 goes to a stream on disk, if somebody will want it, and is
//! answered then: so a session that is away is subscribed. When the stream is synced is a setting.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result};
use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};

use super::{Card, Found, MESSAGES, Peer, installed, listening, program, said};
use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::ports::Reserved;

/// When what is stored is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Sync {
    /// Every two minutes, behind the answer.
    Default,
    /// Each message, before the answer.
    Always,
}

impl Sync {
    /// What it is called, without a version.
    pub(in super::super) const fn name(self) -> &'static str {
        match self {
            Self::Default => "NATS JetStream, default",
            Self::Always => "NATS JetStream, sync_interval: always",
        }
    }
}

pub(super) async fn start(sync: Sync, scratch: &Scratch, binaries: &Binaries) -> Result<Found> {
    let Some(path) = installed("nats", binaries).map(|place| place.join("nats-server")) else {
        return Ok(Err("it is not there; type: apt-get install golang && tests/lab/peers/install nats".to_owned()));
    };
    let (name, setting, means) = match sync {
        Sync::Default => ("nats-default", "", "in the page cache; synced every 2 minutes"),
        Sync::Always => ("nats-always", ", sync_interval: always", "on disk: each message synced"),
    };
    let [clients, mqtt] = [Reserved::new(0)?, Reserved::new(0)?];
    let store = scratch.join(name);
    let settings = scratch.join(&format!("{name}.conf"));
    let text = format!(
        "server_name: bench\nlisten: \"{}\"\njetstream {{ store_dir: {:?}{setting} }}\nmqtt {{ listen: \"{}\" }}\n",
        clients.address,
        store.display().to_string(),
        mqtt.address
    );
    fs::write(&settings, text).with_context(|| format!("cannot write {}", settings.display()))?;
    let program = program(name, &path, vec!["-c".into(), settings.into()], scratch, binaries);
    let mut process = program.start()?;
    listening(&mut process, &program.log, mqtt.address).await?;
    tokio::task::block_in_place(|| leave_a_session(mqtt.address))?;
    // It says `nats-server: v2.15.2`.
    let version = said(Command::new(&path).arg("--version"))?.replace("nats-server: v", "");
    let card = Card {
        name: format!("NATS JetStream {version}, {}", if sync == Sync::Always { "sync always" } else { "default" }),
        means: means.to_owned(),
        settings: format!(
            "`jetstream {{ store_dir: ...{setting} }}`, its MQTT listener; a QoS 1 session that is away is subscribed, so \
             that JetStream stores"
        ),
    };
    let (address, pids) = (mqtt.address, vec![process.pid()]);
    Ok(Ok(Peer { card, address, pids, _running: Box::new((process, clients, mqtt)) }))
}

/// Subscribes to what will be published at QoS 1 as a session that stays, and goes.
fn leave_a_session(address: SocketAddr) -> Result<()> {
    let mut socket = TcpStream::connect(address).context("cannot connect the subscriber")?;
    let mut packets = BytesMut::new();
    let mut connect = v4::Connect::new("bench-subscriber");
    connect.clean_session = false;
    connect.write(&mut packets).context("CONNECT")?;
    let mut subscribe = v4::Subscribe::new(MESSAGES, QoS::AtLeastOnce);
    subscribe.pkid = 1;
    subscribe.write(&mut packets).context("SUBSCRIBE")?;
    socket.write_all(&packets)?;
    // CONNACK and SUBACK: 4 and 5 bytes.
    socket.read_exact(&mut [0; 9]).context("NATS refuses the subscriber")?;
    let mut goodbye = BytesMut::new();
    v4::Disconnect.write(&mut goodbye).context("DISCONNECT")?;
    Ok(socket.write_all(&goodbye)?)
}
