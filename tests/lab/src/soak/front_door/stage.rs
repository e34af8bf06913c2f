//! A gateway behind its front door, set up as its operator would: two authorities, rules, users, tokens; every command is one
//! that people type.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value as Json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::authority::{Authority, Flaw};
use crate::census::LogReader;
use crate::clients::mqtt::Link;
use crate::clients::tls::{Card, client, request, roots, secure};
use crate::deployment::{Deployment, Plan, Scratch};
use crate::soak::Bench;

/// What buffers may take of the gateway's memory, so that a bound that does not hold shows.
const MQTT: &str = "tls_listen = \"127.0.0.1:0\"\nlive_buffer = \"1 MiB\"\nbuffers = \"32 MiB\"\n\
                    subscriptions = 64\n\n\
                    [[mqtt.store]]\nfilter = \"plant/#\"\n";
const KAFKA: &str = "buffers = \"16 MiB\"\n";
/// Everybody writes below a topic of its own; bombs read everything, others nothing.
const ACCESS: &str = "[access]\nmqtt = \"required\"\nhttp = \"required\"\nkafka = \"required\"\n\n\
                      [[access.rule]]\nclients = \"*\"\npublish = [\"plant/{client}/#\"]\n\n\
                      [[access.rule]]\nclients = \"reader-*\"\nsubscribe = [\"plant/#\"]\n";

/// The gateway, and who gives out what it believes.
pub(super) struct Stage {
    /// The gateway.
    pub(super) deployment: Deployment,
    /// Where it takes MQTT over TLS.
    pub(super) tls: SocketAddr,
    /// The plant's own authority.
    pub(super) plant: Authority,
    /// A token of the role viewer.
    pub(super) viewer: Token,
    roots: Arc<RootCertStore>,
    settings: PathBuf,
    files: Scratch,
}

/// A token as it was made.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Its id, for revoking it.
    pub(super) id: String,
    /// What whoever has it shows.
    pub(super) shown: String,
}

impl Stage {
    /// Makes the authorities, starts the gateway, and makes a token that reads the log.
    pub(super) async fn new(bench: &Bench<'_>) -> Result<Self> {
        let (files, plant) = (Scratch::new()?, Authority::new("The plant")?);
        let (authority, list) = (files.join("plant.pem"), files.join("plant.crl"));
        fs::write(&authority, plant.pem())?;
        fs::write(&list, plant.revoked()?)?;
        let mut plan = Plan::new(bench.seed);
        plan.boards = 0;
        (plan.mqtt, plan.kafka) = (MQTT.to_owned(), KAFKA.to_owned());
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        plan.tables = format!("[tls]\nclient_ca = {}\ncrl = {}\n\n{ACCESS}", quoted(&authority), quoted(&list));
        let mut deployment = Deployment::prepare(plan, bench.binaries).await?;
        let settings = deployment.scratch.join("gateway.toml");
        let program = deployment.gateway.program.path.clone();
        command(&program, &settings, &["ca", "init", "--server-name", crate::clients::tls::NAME], "").await?;
        deployment.gateway.start()?;
        deployment.wait_for_gateway().await?;
        let running = fs::read(deployment.scratch.join("gateway").join("gateway.json"))?;
        let running: Json = serde_json::from_slice(&running).context("gateway.json")?;
        let tls = running["mqtt_tls"].as_str().context("no port for MQTT over TLS")?.parse()?;
        let ca = fs::read(deployment.scratch.join("gateway").join("ca").join("ca.pem"))?;
        let viewer = Token { id: String::new(), shown: String::new() };
        let mut stage = Self { deployment, tls, plant, viewer, roots: roots(&ca)?, settings, files };
        stage.viewer = stage.token(&["--role", "viewer"]).await?;
        stage.deployment.log = LogReader::with_token(stage.deployment.http, &stage.viewer.shown)?;
        Ok(stage)
    }

    /// Types a command of the gateway; what it prints.
    pub(super) async fn command(&self, arguments: &[&str], input: &str) -> Result<String> {
        command(&self.deployment.gateway.program.path, &self.settings, arguments, input).await
    }

    /// Makes a token.
    pub(super) async fn token(&self, arguments: &[&str]) -> Result<Token> {
        let made = self.command(&[&["token", "create", "--output", "json"], arguments].concat(), "").await?;
        let made: Json = serde_json::from_str(&made).context("token create")?;
        let text = |key: &str| made[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {made}"));
        Ok(Token { id: text("id")?, shown: text("token")? })
    }

    /// A client with a certificate of the gateway's own authority, for a request as devices make it.
    pub(super) async fn issued(&self, name: &str) -> Result<Arc<ClientConfig>> {
        let (key, request) = request()?;
        let file = self.files.join(&format!("{name}.csr"));
        fs::write(&file, request)?;
        let chain = self.command(&["ca", "issue", "--csr", &file.display().to_string(), "--name", name], "").await?;
        self.client(Some(&Card::of_pem(&chain, &key)?))
    }

    /// A client with a certificate of the plant's authority.
    pub(super) fn certified(&self, name: &str) -> Result<Arc<ClientConfig>> {
        self.client(Some(&self.plant.card(name, Flaw::None)?))
    }

    /// A client that trusts the gateway and shows `card`.
    pub(super) fn client(&self, card: Option<&Card>) -> Result<Arc<ClientConfig>> {
        client(&self.roots, card)
    }

    /// A connection over TLS.
    pub(super) async fn secure(&self, number: usize, client: &Arc<ClientConfig>) -> Result<Link> {
        secure(number, self.tls, client).await
    }

    /// A counter of the gateway by its name and labels, without the `weir_gateway_` in front.
    pub(super) async fn counter(&self, name: &str) -> Result<u64> {
        let metrics = self.deployment.log.text("/metrics").await?;
        let line = metrics.lines().find_map(|line| line.strip_prefix("weir_gateway_")?.strip_prefix(name));
        let number = line.and_then(|rest| rest.strip_prefix(' ')?.parse().ok());
        number.with_context(|| format!("no metric weir_gateway_{name}"))
    }

    /// Stops the gateway and removes everything.
    pub(super) async fn end(mut self) -> Result<()> {
        self.deployment.gateway.stop(crate::deployment::DRAIN).await?;
        self.deployment.scratch.remove()?;
        self.files.remove()
    }
}

async fn command(program: &Path, settings: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).arg("--config").arg(settings).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("what it printed is no text")
}
