//! What the uplink shows and believes: read again for each connection, as far as it changed.
//!
//! What it guarantees: a connection uses the files as they are when it begins; what is wrong with them is said, and tried
//! again with the next connection, while the queue keeps everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use weir_protocol::AgentId;

use crate::config::GatewayConfig;
use crate::identity::{Identity, Store, trust};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Credentials {
    tls: Option<Files>,
    login: Option<(String, PathBuf)>,
    agent: AgentId,
    /// What was made of the files, and of which.
    known: Option<(Vec<Option<SystemTime>>, Arc<ClientConfig>)>,
}

#[derive(Clone, Debug)]
struct Files {
    ca: PathBuf,
    /// Certificate and key; the enrolled ones may be missing.
    shown: Option<(PathBuf, PathBuf)>,
    enrolled: Store,
}

/// What a connection uses.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// TLS; None: plain.
    pub tls: Option<Arc<ClientConfig>>,
    /// User name and password.
    pub login: Option<(String, String)>,
}

impl Credentials {
    /// As the settings of a gateway say; what an enrolment got is below `data_dir`.
    pub fn of(gateway: &GatewayConfig, data_dir: &Path, agent: AgentId) -> Self {
        let GatewayConfig { address, ca, certificate, key, username, password_file, .. } = gateway;
        let enrolled = Store::of(data_dir);
        let path = |set: &weir_protocol::settings::Spanned<PathBuf>| set.get_ref().clone();
        let shown = certificate.as_ref().zip(key.as_ref()).map(|(certificate, key)| (path(certificate), path(key)));
        let ca = ca.as_ref().map_or_else(|| enrolled.ca(), path);
        let login = username.as_ref().zip(password_file.as_ref());
        Self {
            tls: address.get_ref().tls.then_some(Files { ca, shown, enrolled }),
            login: login.map(|(name, file)| (name.get_ref().clone(), path(file))),
            agent,
            known: None,
        }
    }

    /// None at all: a plain connection, for tests.
    pub fn none(agent: AgentId) -> Self {
        Self { tls: None, login: None, agent, known: None }
    }

    /// What the next connection uses.
    ///
    /// # Errors
    /// What is wrong, and what to type.
    pub fn read(&mut self) -> Result<Shown, String> {
        let login = match &self.login {
            Some((name, file)) => Some((name.clone(), password(file)?)),
            None => None,
        };
        let Some(files) = &self.tls else { return Ok(Shown { tls: None, login }) };
        let stamps = files.stamps();
        if let Some((_, config)) = self.known.as_ref().filter(|(known, _)| *known == stamps) {
            // With its sessions, so that the next handshake is short.
            return Ok(Shown { tls: Some(Arc::clone(config)), login });
        }
        let config = Arc::new(files.client(self.agent)?);
        self.known = Some((stamps, Arc::clone(&config)));
        Ok(Shown { tls: Some(config), login })
    }
}

impl Files {
    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let shown = self.shown.iter().flat_map(|(certificate, key)| [certificate.clone(), key.clone()]);
        let all = shown.chain([self.ca.clone(), self.enrolled.device()]);
        all.map(|path| std::fs::metadata(path).ok()?.modified().ok()).collect()
    }

    fn client(&self, agent: AgentId) -> Result<ClientConfig, String> {
        if !self.ca.exists() {
            return Err(format!(
                "{}: nothing there to recognise the gateway by: enrol with `weir-agent enroll --gateway URL --token TOKEN`, \
                 or set uplink.ca to the gateway's authority",
                self.ca.display()
            ));
        }
        let identity = match &self.shown {
            Some((certificate, key)) => Some(Identity::read(certificate, key).map_err(|error| error.to_string())?),
            None if self.enrolled.exists() => Some(self.enrolled.load().map_err(|error| error.to_string())?),
            None => None,
        };
        let life = identity.as_ref().and_then(Identity::life);
        if let Some(life) = life.filter(|life| life.name != agent.as_str()) {
            let name = life.name;
            return Err(format!(
                "the certificate is for {name:?} and this agent is {:?}: set name = {name:?}, or enrol again",
                agent.as_str()
            ));
        }
        trust::client(&self.ca, identity.as_ref()).map_err(|error| error.to_string())
    }
}

/// The first line of a file.
fn password(file: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("uplink.password_file: {}: {error}", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
