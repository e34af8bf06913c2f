//! Servers to measure against, each started as a process of its own; what is not installed is skipped, with the line to type.

pub(super) mod kafka;
mod nats;

use std::any::Any;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::found::Card;
use super::payload::MESSAGES;
use super::rumqttd;
use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::mosquitto::{self, Certificate, Mosquitto};
use crate::process::{Process, Program};

pub(super) use nats::Sync;

/// How long a peer may take to listen; a virtual machine of Java's takes longest.
const READY: Duration = Duration::from_secs(60);
/// How often it is looked whether one listens.
const LOOK: Duration = Duration::from_millis(20);

/// An MQTT server that runs.
pub(super) struct Peer {
    /// What the report says of it.
    pub(super) card: Card,
    /// Where it takes MQTT.
    pub(super) address: SocketAddr,
    /// Its processes, whose processor time is counted.
    pub(super) pids: Vec<i32>,
    /// They end with it.
    _running: Box<dyn Any>,
}

/// An MQTT server, or why there is none and what to type.
pub(super) type Found = Result<Peer, String>;

/// The minimal loop of [`super::codec_loop`], running.
pub(super) struct Minimal {
    pub(super) address: SocketAddr,
    pub(super) process: Process,
}

impl Minimal {
    pub(super) async fn start(scratch: &Scratch, binaries: &Binaries) -> Result<Self> {
        let file: PathBuf = scratch.join("codec-loop.data");
        let arguments = vec!["codec-loop".into(), file.into()];
        let mut process = program("codec-loop", &binaries.lab, arguments, scratch, binaries).start()?;
        let mut lines = process.lines().context("the codec loop has no stdout")?;
        let line = tokio::time::timeout(READY, lines.recv()).await.context("the codec loop does not listen")?;
        let address = line.context("the codec loop ended")?.parse().context("the address of the codec loop")?;
        Ok(Self { address, process })
    }

    /// As one of several.
    pub(super) async fn peer(scratch: &Scratch, binaries: &Binaries) -> Result<Peer> {
        let minimal = Self::start(scratch, binaries).await?;
        let card = Card {
            name: "minimal codec loop".to_owned(),
            means: "on disk: fdatasync of its group".to_owned(),
            settings: format!(
                "rumqttc {}'s codec, one file, group commit; no identity, no topic, no repeat: the least that can \
                 acknowledge after the disk",
                locked(&binaries.root, "rumqttc")
            ),
        };
        Ok(Peer { card, address: minimal.address, pids: vec![minimal.process.pid()], _running: Box::new(minimal) })
    }
}

/// mosquitto with a subscriber, if it is installed; else says how to install it.
pub(super) async fn mosquitto(
    scratch: &Scratch,
    binaries: &Binaries,
    certificate: Option<&Certificate>,
) -> Result<Option<Mosquitto>> {
    let Some(path) = mosquitto::find() else {
        eprintln!("SKIPPED the comparison with mosquitto: it is not installed; type: apt-get install mosquitto");
        return Ok(None);
    };
    let mosquitto = Mosquitto::start(path, scratch, binaries, certificate).await?;
    mosquitto::subscribe(mosquitto.address, "weir/1/#")?;
    Ok(Some(mosquitto))
}

/// mosquitto as one of several.
pub(super) async fn mosquitto_peer(scratch: &Scratch, binaries: &Binaries) -> Result<Found> {
    let Some(path) = mosquitto::find() else {
        return Ok(Err("it is not installed; type: apt-get install mosquitto".to_owned()));
    };
    let running = Mosquitto::start(path.clone(), scratch, binaries, None).await?;
    mosquitto::subscribe(running.address, MESSAGES)?;
    let card = Card {
        // Its first line is `mosquitto version 2.0.11`.
        name: said(Command::new(path).arg("-h"))?.replace(" version", ""),
        means: "received; in memory".to_owned(),
        settings: "persistence off, no limits on queues and windows, TCP_NODELAY; one QoS 0 subscriber".to_owned(),
    };
    let pids = vec![running.process.pid()];
    Ok(Ok(Peer { card, address: running.address, pids, _running: Box::new(running) }))
}

/// rumqttd as one of several.
pub(super) async fn rumqttd_peer(scratch: &Scratch, binaries: &Binaries) -> Result<Found> {
    let running = rumqttd::Peer::start(scratch, binaries).await?;
    mosquitto::subscribe(running.address, MESSAGES)?;
    let card = Card {
        name: format!("rumqttd {}", locked(&binaries.root, "rumqttd")),
        means: "received; in memory, not yet in its log".to_owned(),
        settings: "its own listener with the limits of its sample settings; one QoS 0 subscriber".to_owned(),
    };
    let pids = vec![running.process.pid()];
    Ok(Ok(Peer { card, address: running.address, pids, _running: Box::new(running) }))
}

/// NATS JetStream as one of several.
pub(super) async fn nats_peer(sync: Sync, scratch: &Scratch, binaries: &Binaries) -> Result<Found> {
    nats::start(sync, scratch, binaries).await
}

/// Where `tests/lab/peers/install` puts what it builds.
fn installed(name: &str, binaries: &Binaries) -> Option<PathBuf> {
    let place = binaries.lab.ancestors().nth(2)?.join("bench-peers").join(name);
    place.join("made-of").is_file().then_some(place)
}

fn program(
    name: &str,
    path: &Path,
    arguments: Vec<std::ffi::OsString>,
    scratch: &Scratch,
    binaries: &Binaries,
) -> Program {
    Program {
        name: name.to_owned(),
        guard: binaries.lab.clone(),
        path: path.to_owned(),
        arguments,
        environment: Vec::new(),
        log: scratch.join(&format!("{name}.log")),
    }
}

/// Waits until `process` listens.
async fn listening(process: &mut Process, log: &Path, address: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        let said = || fs::read_to_string(log).unwrap_or_default();
        if let Some(status) = process.ended()? {
            bail!("{} ended with {status}; it said:\n{}", process.name, said());
        }
        if begun.elapsed() > READY {
            bail!("{} does not listen on {address}: {error}; it said:\n{}", process.name, said());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The first line that a program prints.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The version of a crate that the workspace is locked to.
fn locked(root: &Path, name: &str) -> String {
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")));
    let version = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")));
    version.unwrap_or("of an unknown version").trim_matches('"').to_owned()
}
