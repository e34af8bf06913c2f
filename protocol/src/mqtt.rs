//! MQTT topics: `weir/1/{tenant}/{agent}/{channel}`.
//!
//! | last part | direction | QoS | payload |
//! |---|---|---|---|
//! | `batch` | agent to gateway | 1 | [`crate::batch`] envelope of readings and claims |
//! | `describe` | agent to gateway | 1 | [`crate::batch::describe`]: the channels of one schema of one device |
//! | `status` | agent to gateway | 1, retained | JSON, for people; also the will |
//! | `command` | gateway to agent | 1 | [`crate::batch::command`] |

use core::fmt;

use crate::identity::{AgentId, Tenant};

/// The part of every topic that names the version of the topic scheme.
pub const PREFIX: &str = "weir/1/";

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Readings and claims.
    Batch,
    /// The channels of a device.
    Describe,
    /// Whether the agent is there.
    Status,
    /// Requests of the gateway.
    Command,
}

impl Purpose {
    /// The last part of the topic.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Describe => "describe",
            Self::Status => "status",
            Self::Command => "command",
        }
    }
}

/// One topic of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Who owns the agent.
    pub tenant: Tenant,
    /// The agent.
    pub agent: AgentId,
    /// What the topic is for.
    pub purpose: Purpose,
}

impl Topic {
    /// Reads a topic name; `None` if it is not one of ours.
    pub fn parse(topic: &str) -> Option<Self> {
        let mut parts = topic.strip_prefix(PREFIX)?.split('/');
        let tenant = Tenant::new(parts.next()?).ok()?;
        let agent = AgentId::new(parts.next()?).ok()?;
        let purpose = match parts.next()? {
            "batch" => Purpose::Batch,
            "describe" => Purpose::Describe,
            "status" => Purpose::Status,
            "command" => Purpose::Command,
            _ => return None,
        };
        parts.next().is_none().then_some(Self { tenant, agent, purpose })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}/{}", self.tenant, self.agent, self.purpose.as_str())
    }
}
