//! Who a client is.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use weir_protocol::{AgentId, Tenant};

use crate::tls::CertificateId;

/// The longest client id, in bytes.
pub const MAX_CLIENT_ID: usize = 128;

/// The name of an MQTT client within its tenant: 1 to [`MAX_CLIENT_ID`] bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

/// A text that is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a client id has 1 to {MAX_CLIENT_ID} bytes of UTF-8 without control characters")]
pub struct NoClientId;

impl ClientId {
    /// Checks a text.
    ///
    /// # Errors
    /// [`NoClientId`].
    pub fn new(text: &str) -> Result<Self, NoClientId> {
        let is_one = (1..=MAX_CLIENT_ID).contains(&text.len()) && !text.chars().any(char::is_control);
        is_one.then(|| Self(text.into())).ok_or(NoClientId)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<AgentId> for ClientId {
    /// Every name of an agent is a client id.
    fn from(agent: AgentId) -> Self {
        Self(agent.as_str().into())
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name there.
    pub client: ClientId,
    /// How it proved that.
    pub proof: Proof,
}

/// How a client proved who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Not at all: nobody has to.
    Nothing,
    /// By this certificate, of an authority that is believed.
    Certificate(CertificateId),
    /// By a user name and a password.
    Password {
        /// The name.
        user: Arc<str>,
        /// Which password of that name it was: a new one is a new version.
        version: u64,
    },
}
