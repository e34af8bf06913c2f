//! A gateway that somebody else runs: where it is, how we prove who we are, and its log as far as it is ours.
//!
//! What is typed is looked at before anything begins: an address that nobody has, a port that speaks something else, a proof
//! that is none, and a log that may not be read are said with what to type instead. A gateway that is starting is waited for.

mod endpoint;
mod witness;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::census::LogReader;
use crate::clients::peer::Peer;
use crate::kafka::client::Broker;
use crate::load::{Entrance, Proof};

pub(crate) use endpoint::Endpoint;
pub(crate) use witness::{Attending, Witness};

/// How a gateway is reached, and how we prove who we are.
#[derive(Args, Clone, Debug, Default)]
pub struct Reach {
    /// Where the gateway takes MQTT; with TLS mqtts://HOST:PORT, which is meant with --ca anyway
    #[arg(long, value_name = "HOST:PORT", value_parser = Endpoint::mqtt)]
    pub(crate) gateway: Option<Endpoint>,
    /// Where the gateway answers HTTP, or https://HOST:PORT: read the log at the end, and judge it
    #[arg(long, value_name = "HOST:PORT", value_parser = Endpoint::http)]
    pub(crate) http: Option<Endpoint>,
    /// Where the gateway speaks Kafka, or ssl://HOST:PORT: a consumer follows what is sent, and both logs are compared
    #[arg(long, value_name = "HOST:PORT", value_parser = Endpoint::kafka, requires = "http")]
    pub(crate) kafka: Option<Endpoint>,
    /// A token for HTTP and Kafka, where one is needed: `weir-gateway token create --role viewer`
    #[arg(long, env = "WEIR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// User name and password of every client, where they are needed
    #[arg(long, env = "WEIR_LOGIN", hide_env_values = true, value_name = "USER:PASSWORD", value_parser = login)]
    login: Option<(String, String)>,
    /// The authority of the gateway's certificate, a PEM file: <data>/ca/ca.pem of its machine
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificates of the clients, with `{client}` for the client id
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "login")]
    certificate: Option<PathBuf>,
    /// Their keys
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

fn login(text: &str) -> Result<(String, String), String> {
    let (user, password) = text.split_once(':').ok_or("expected USER:PASSWORD")?;
    Ok((user.to_owned(), password.to_owned()))
}

impl Reach {
    /// Where a load comes in; `None` if no gateway was named.
    ///
    /// # Errors
    /// What was typed does not go together.
    pub(crate) fn entrance(&self) -> Result<Option<Entrance>> {
        let Some(gateway) = &self.gateway else { return Ok(None) };
        let mqtt = self.peer(gateway)?;
        let proof = match (&self.login, &self.certificate, &self.key) {
            (Some((user, password)), ..) => Proof::Login(user.clone(), password.clone()),
            (None, Some(chain), Some(key)) if mqtt.name().is_some() => Proof::Certificate(chain.clone(), key.clone()),
            (None, Some(_), Some(_)) => bail!("a certificate is shown over TLS alone; type --ca FILE"),
            _ => Proof::Nothing,
        };
        Ok(Some(Entrance { mqtt, proof, consumer: self.broker()? }))
    }

    /// Whoever reads the log over HTTP; `None` if its port was not named.
    ///
    /// # Errors
    /// As [`Reach::entrance`].
    pub(crate) fn reader(&self) -> Result<Option<LogReader>> {
        let Some(http) = &self.http else { return Ok(None) };
        let http = self.peer(http)?;
        match &self.token {
            Some(token) => LogReader::with_token(http, token).map(Some),
            None => LogReader::new(http).map(Some),
        }
    }

    /// Where the log is read over Kafka; `None` if that port was not named.
    ///
    /// # Errors
    /// As [`Reach::entrance`].
    pub(crate) fn broker(&self) -> Result<Option<Broker>> {
        let broker = |kafka| Ok(Broker::new(self.peer(kafka)?, self.token.clone()));
        self.kafka.as_ref().map(broker).transpose()
    }

    fn peer(&self, endpoint: &Endpoint) -> Result<Peer> {
        if !endpoint.tls.unwrap_or(self.ca.is_some()) {
            return Ok(endpoint.address.into());
        }
        let ca = self.ca.as_ref().with_context(|| {
            format!(
                "{endpoint} is to prove who it is, and nobody says by which authority; type --ca FILE: <data>/ca/ca.pem of \
                 its machine, or /etc/ssl/certs/ca-certificates.crt for the public ones"
            )
        })?;
        Peer::sealed(endpoint.address, &endpoint.host, ca).context("--ca")
    }

    /// The options again, as they are typed, but for what is secret.
    pub(crate) fn typed(&self) -> String {
        let mut typed = String::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                typed += &format!(" --{name} {value}");
            }
        };
        let endpoint = |endpoint: &Option<Endpoint>| endpoint.as_ref().map(ToString::to_string);
        let file = |file: &Option<PathBuf>| file.as_ref().map(|path| format!("'{}'", path.display()));
        add("gateway", endpoint(&self.gateway));
        add("http", endpoint(&self.http));
        add("kafka", endpoint(&self.kafka));
        add("ca", file(&self.ca));
        add("certificate", file(&self.certificate));
        add("key", file(&self.key));
        add("login", self.login.as_ref().map(|(user, _)| format!("{user}:PASSWORD")));
        add("token", self.token.as_ref().map(|_| "TOKEN".to_owned()));
        typed
    }
}
