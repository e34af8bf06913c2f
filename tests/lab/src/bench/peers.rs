//! Servers to measure against, each started as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::mosquitto::{self, Certificate, Mosquitto};
use crate::process::{Process, Program};

/// How long a peer may take to listen.
const READY: Duration = Duration::from_secs(10);

/// The minimal loop of [`super::codec_loop`], running.
pub(super) struct Minimal {
    pub(super) address: SocketAddr,
    pub(super) process: Process,
}

impl Minimal {
    pub(super) async fn start(scratch: &Scratch, binaries: &Binaries) -> Result<Self> {
        let file: PathBuf = scratch.join("codec-loop.data");
        let program = Program {
            name: "codec-loop".to_owned(),
            guard: binaries.lab.clone(),
            path: binaries.lab.clone(),
            arguments: vec!["codec-loop".into(), file.into()],
            environment: Vec::new(),
            log: scratch.join("codec-loop.log"),
        };
        let mut process = program.start()?;
        let mut lines = process.lines().context("the codec loop has no stdout")?;
        let line = tokio::time::timeout(READY, lines.recv()).await.context("the codec loop does not listen")?;
        let address = line.context("the codec loop ended")?.parse().context("the address of the codec loop")?;
        Ok(Self { address, process })
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
    mosquitto::subscribe(mosquitto.address)?;
    Ok(Some(mosquitto))
}
