//! What people and programs may do that administer the gateway or read from it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_protocol::Tenant;

/// A role; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads topics, devices and groups, and consumes in groups.
    Viewer,
    /// Also resets groups, redrives dead letters, ends sessions and moves devices.
    Operator,
    /// Also users, tokens, certificates and the audit.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name in commands and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("got {text:?}, expected viewer, operator or admin"))
    }
}

/// Who asks, over HTTP, Kafka or the socket of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub who: Who,
    /// What it may do.
    pub role: Role,
    /// The only tenant that it may see; `None`: all.
    pub tenant: Option<Tenant>,
    /// Where it comes from; `None`: this machine, through the socket.
    pub address: Option<IpAddr>,
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody had to say.
    Anybody,
    /// A user of this machine, by the number that the kernel told.
    Local(u32),
    /// The holder of the token with this id.
    Token(Arc<str>),
    /// A user of the Kafka port.
    User(Arc<str>),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::Local(uid) => write!(f, "uid:{uid}"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}
