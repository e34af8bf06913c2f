//! TLS 1.3 beside mosquitto with the same certificate (ECDSA, P-256), which the gateway's own authority gave: publishes,
//! connects, and connections that only wait.
//!
//! The clients are the same for both: rustls, no certificate of their own, and they do not look at the server's, so
//! that on a machine of few cores the server is what is measured.

mod client;
mod connects;
mod idle;
mod publish;

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Measure;
use super::peers;
use crate::binaries::Binaries;
use crate::clients::allow_files;
use crate::deployment::{DRAIN, Deployment, Plan, Scratch};
use crate::mosquitto::{Certificate, Mosquitto};

/// What to type.
const NOT_INSTALLED: &str = "mosquitto is not installed: apt-get install mosquitto";
/// Connections of either that are open at a time, and files besides.
const MOST: usize = idle::COUNT;
const BESIDES: usize = 500;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    // What is started from here on has it too.
    let may_open = allow_files((MOST + BESIDES) as u64);
    let servers = Servers::start(binaries).await?;
    let mut measures = vec![publish::run(&servers, quick)?];
    measures.extend(connects::run(&servers, quick)?);
    servers.stop().await?;
    measures.push(match may_open {
        Ok(()) => idle::run(binaries, quick).await?,
        Err(error) => idle::skipped(&error),
    });
    Ok(measures)
}

/// A gateway and, if it is installed, mosquitto: both with the same certificate.
struct Servers {
    gateway: Deployment,
    /// Where the gateway speaks MQTT over TLS.
    tls: SocketAddr,
    mosquitto: Option<Mosquitto>,
    scratch: Scratch,
}

impl Servers {
    async fn start(binaries: &Binaries) -> Result<Self> {
        let mut plan = Plan::new(0);
        plan.boards = 0;
        // All clients come from one address, and are let in as everybody is by mosquitto.
        plan.mqtt = format!(
            "tls_listen = \"127.0.0.1:0\"\nconnections = {}\nconnects_per_address = 0\nconnects_per_client = 0\n",
            MOST + BESIDES
        );
        plan.tables = "[access]\nmqtt = \"open\"\n".to_owned();
        let mut gateway = Deployment::prepare(plan, binaries).await?;
        let made = Command::new(&binaries.gateway)
            .args(["ca", "init", "--server-name", "localhost", "--config"])
            .arg(gateway.scratch.join("gateway.toml"))
            .stdout(Stdio::null())
            .status();
        ensure!(made.context("cannot start weir-gateway")?.success(), "`weir-gateway ca init` failed");
        gateway.gateway.start()?;
        gateway.wait_for_gateway().await?;
        let data = gateway.scratch.join("gateway");
        let running: serde_json::Value = serde_json::from_slice(&fs::read(data.join("gateway.json"))?)?;
        let tls = running["mqtt_tls"].as_str().context("gateway.json has no mqtt_tls")?.parse()?;
        let certificate =
            Certificate { certificate: data.join("ca").join("server.pem"), key: data.join("ca").join("server.key") };
        let scratch = Scratch::new()?;
        let mosquitto = peers::mosquitto(&scratch, binaries, Some(&certificate)).await?;
        Ok(Self { gateway, tls, mosquitto, scratch })
    }

    fn pid(&self) -> i32 {
        self.gateway.gateway.pid()
    }

    async fn stop(mut self) -> Result<()> {
        self.mosquitto = None;
        if let Some(mut gateway) = self.gateway.gateway.take() {
            gateway.stop(DRAIN).await?;
        }
        self.gateway.scratch.remove()?;
        self.scratch.remove()
    }
}
