//! Where the clients of a load connect, and how each proves who it is.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::LoadPlan;
use super::wire::{Wire, connect};
use crate::clients::mqtt::Link;
use crate::clients::peer::Peer;
use crate::clients::tls::Card;
use crate::kafka::client::Broker;

/// In the name of a file it stands for the client id.
pub(crate) const CLIENT: &str = "{client}";

/// Where a load comes to a gateway.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// The port that takes MQTT.
    pub mqtt: Peer,
    /// What every client shows.
    pub proof: Proof,
    /// The port at which a consumer follows what the load sends, to say how long that takes.
    pub consumer: Option<Broker>,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    Nothing,
    /// A user name and a password, the same of all clients.
    Login(String, String),
    /// A certificate of its own and the key, in PEM: `{client}` in these paths stands for its client id. They are read for
    /// each connection, so that what is renewed is shown.
    Certificate(PathBuf, PathBuf),
}

impl<P: Into<Peer>> From<P> for Entrance {
    /// Where nobody has to prove anything, and nobody consumes.
    fn from(mqtt: P) -> Self {
        Self { mqtt: mqtt.into(), proof: Proof::Nothing, consumer: None }
    }
}

impl Entrance {
    /// Whether the clients of a plan can come in here.
    ///
    /// # Errors
    /// What cannot be, with what to type instead; a file that cannot be read.
    pub(super) fn check(&self, plan: &LoadPlan) -> Result<()> {
        if let Proof::Certificate(chain, _) = &self.proof {
            ensure!(
                plan.connections == 1 || chain.to_string_lossy().contains(CLIENT),
                "{} connections need a certificate each, since the name in it is the client id; type --certificate \
                 'DIRECTORY/{CLIENT}.pem' --key 'DIRECTORY/{CLIENT}.key', or --login for all of them, or --connections 1",
                plan.connections
            );
            self.card(&plan.client(0))?;
        }
        Ok(())
    }

    /// Connects and says CONNECT; its answer is yet to come.
    pub(super) async fn open(&self, plan: &LoadPlan, number: u32) -> Result<Wire> {
        let (socket, hello) = self.connect(plan, number).await?;
        Ok(Wire::new(socket, plan.version, &hello))
    }

    /// Connects; the CONNECT that is to be said then.
    pub(super) async fn connect(&self, plan: &LoadPlan, number: u32) -> Result<(Link, Vec<u8>)> {
        let client = plan.client(number);
        let login = match &self.proof {
            Proof::Login(user, password) => Some((&**user, &**password)),
            Proof::Nothing | Proof::Certificate(..) => None,
        };
        let hello = connect(plan.version, &client, login)?;
        Ok((self.mqtt.connect_as(number as usize, self.card(&client)?.as_ref()).await?, hello))
    }

    fn card(&self, client: &str) -> Result<Option<Card>> {
        let Proof::Certificate(chain, key) = &self.proof else { return Ok(None) };
        let read = |path: &PathBuf| {
            let path = path.to_string_lossy().replace(CLIENT, client);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        Card::of_pem(&read(chain)?, &read(key)?).with_context(|| format!("of {client}")).map(Some)
    }
}
