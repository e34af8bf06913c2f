//! TLS in a deployment: the commands that a person types once to make an authority and to let the agent in.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::AGENT;
use crate::binaries::Binaries;
use crate::clients::peer::Peer;
use crate::clients::tls::request;
use crate::relay::seal::{SERVER, Seal};

/// The authority of a run, and what its programs need to be told.
#[derive(Clone, Debug)]
pub struct Trust {
    gateway: PathBuf,
    gateway_settings: PathBuf,
    agent: PathBuf,
    agent_settings: PathBuf,
    http: SocketAddr,
    /// The certificate of the authority.
    pub authority: PathBuf,
    /// Key and certificate of the agent, once it has enrolled.
    pub device: PathBuf,
    /// Where the gateway takes MQTT over TLS.
    pub mqtts: SocketAddr,
}

impl Trust {
    /// Of programs with these settings, which were written, and these data directories.
    pub(super) fn new(
        binaries: &Binaries,
        (gateway_settings, gateway_data): (&Path, &Path),
        (agent_settings, agent_data): (&Path, &Path),
        http: SocketAddr,
        mqtts: SocketAddr,
    ) -> Self {
        Self {
            gateway: binaries.gateway.clone(),
            gateway_settings: gateway_settings.to_owned(),
            agent: binaries.agent.clone(),
            agent_settings: agent_settings.to_owned(),
            http,
            authority: gateway_data.join("ca/ca.pem"),
            device: agent_data.join("identity/device.pem"),
            mqtts,
        }
    }

    /// The keys for a relay between the two.
    pub(super) fn seal(&self) -> Seal {
        let server = |name: &str| self.authority.with_file_name(name);
        Seal {
            authority: self.authority.clone(),
            server: server("server.pem"),
            server_key: server("server.key"),
            device: self.device.clone(),
        }
    }

    /// Makes the authority; no gateway runs yet.
    pub(super) async fn found(&self) -> Result<()> {
        self.gateway(&["ca", "init", "--server-name", SERVER]).await.map(drop)
    }

    /// Lets the agent in, as the README says it.
    ///
    /// # Errors
    /// What the commands said.
    pub async fn enroll(&self) -> Result<()> {
        let token = self.gateway(&["token", "create", "--enroll", AGENT]).await?;
        self.enroll_with(&token, &[]).await
    }

    /// Lets the agent in with this token; `more` goes to the command.
    ///
    /// # Errors
    /// What the command said.
    pub async fn enroll_with(&self, token: &str, more: &[&str]) -> Result<()> {
        let shown = self.gateway(&["ca", "show"]).await?;
        let fingerprint = shown.lines().find_map(|line| line.strip_prefix("sha256 ")).context("no fingerprint")?;
        let url = format!("https://{SERVER}:{}", self.http.port());
        let arguments = ["enroll", "--gateway", &url, "--token", token, "--ca-fingerprint", fingerprint];
        typed(&self.agent, &[&arguments, more].concat(), &self.agent_settings, "").await.map(drop)
    }

    /// Gives a client of this name a certificate: `NAME.pem` and `NAME.key` in `directory`.
    ///
    /// # Errors
    /// What the command said, or a file that cannot be written.
    pub async fn certify(&self, name: &str, directory: &Path) -> Result<()> {
        let (key, request) = request()?;
        let file = |extension: &str| directory.join(format!("{name}.{extension}"));
        let write = |path: PathBuf, text: &str| {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(file("csr"), &request)?;
        let request = file("csr").display().to_string();
        let chain = self.gateway(&["ca", "issue", "--csr", &request, "--name", name]).await?;
        write(file("key"), &key)?;
        write(file("pem"), &chain)
    }

    /// Lets clients whose ids are like `clients` in over MQTT, with this user name and password.
    ///
    /// # Errors
    /// What the command said.
    pub async fn admit(&self, user: &str, clients: &str, password: &str) -> Result<()> {
        let arguments = ["user", "add", user, "--mqtt", "--clients", clients];
        typed(&self.gateway, &arguments, &self.gateway_settings, &format!("{password}\n")).await.map(drop)
    }

    /// The gateway, reached through a relay at `address`, to clients that trust the authority.
    ///
    /// # Errors
    /// There is no authority yet.
    pub(crate) fn peer(&self, address: SocketAddr) -> Result<Peer> {
        Peer::sealed(address, SERVER, &self.authority)
    }

    /// Types a command of the gateway; what it prints.
    ///
    /// # Errors
    /// What it said.
    pub async fn gateway(&self, arguments: &[&str]) -> Result<String> {
        typed(&self.gateway, arguments, &self.gateway_settings, "").await
    }
}

async fn typed(program: &Path, arguments: &[&str], settings: &Path, input: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).arg("--config").arg(settings).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that asks for nothing may have ended.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.with_context(|| format!("cannot wait for {}", program.display()))?;
    if !output.status.success() {
        bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
