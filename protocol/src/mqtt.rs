//! MQTT topics: `weir/1/{tenant}/{agent}/{channel}`.
//!
//! | last part | direction | QoS | payload |
//! |---|---|---|---|
//! | `batch` | agent to gateway | 1 | [`crate::batch`] envelope of readings and claims |
//! | `describe` | agent to gateway | 1 | [`crate::batch::describe`]: the channels of one schema of one device |
//! | `status` | agent to gateway | 1, retained | JSON, for people; also the will |
//! | `command` | gateway to agent | 1 | [`crate::batch::command`] |
//! | `config` | operator to agent | 1, retained | a signed document of settings ([`Purpose::Config`]) |
//! | `do/{id}` | operator to agent | 1, retained | a signed command ([`Purpose::Do`]), `id` being its own; without a payload: agent to gateway, it is decided on |
//! | `do` | operator to agent | 1, retained | the same, in the place of the one before it |
//!
//! Committed readings, live: `weir/1/{tenant}/live/{device}/{channel}` ([`LiveTopic`]), gateway to anybody of the
//! tenant who subscribes, QoS 0 or 1. The payload is one JSON object, the record as `GET /topics/readings/...`
//! serves it:
//!
//! ```json
//! {"partition": 0, "offset": 16, "timestamp_ms": 1795230000000, "key": "pump-1", "value": {"device": "pump-1", ...}}
//! ```
//!
//! An agent may be called `live`: its topics have one part less.
//!
//! A gateway names itself in CONNACK of MQTT 5 by the user property [`SERVER_PROPERTY`]: what it acknowledges is on its
//! disk. MQTT 3.1.1 has no place for that.

use core::fmt::{self, Write};

use crate::identity::{AgentId, DeviceId, Tenant};
use crate::name::Name;

/// The part of every topic that names the version of the topic scheme.
pub const PREFIX: &str = "weir/1/";

/// The user property of CONNACK by which a gateway says that it is one; its value is the gateway's version.
pub const SERVER_PROPERTY: &str = "weir";

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
    /// Settings of the agent, signed by its operator. Opaque to the gateway, which retains the last one;
    /// `agent/src/remote/document.rs` has the format.
    Config,
    /// A command for the agent, signed by its operator; as [`Purpose::Config`].
    Do,
}

/// The largest payload on the topics of an operator ([`Purpose::is_order`]), in bytes.
pub const MAX_ORDER: usize = 48 * 1024;

impl Purpose {
    /// The last part of the topic.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Describe => "describe",
            Self::Status => "status",
            Self::Command => "command",
            Self::Config => "config",
            Self::Do => "do",
        }
    }

    /// Whether an operator publishes here, and one agent alone listens.
    pub const fn is_order(self) -> bool {
        matches!(self, Self::Config | Self::Do)
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
            "config" => Purpose::Config,
            "do" => Purpose::Do,
            _ => return None,
        };
        let is_whole = match (purpose, parts.next()) {
            (_, None) => true,
            // The id of a command.
            (Purpose::Do, Some(id)) => Name::new(id).is_ok() && parts.next().is_none(),
            _ => false,
        };
        is_whole.then_some(Self { tenant, agent, purpose })
    }

    /// The topic that a filter of operators' orders names: the filter itself, or `do` for that of all commands with ids,
    /// `do/+`.
    pub fn of_orders(filter: &str) -> Option<Self> {
        let topic = filter.strip_suffix(EACH).filter(|topic| topic.ends_with("/do")).unwrap_or(filter);
        Self::parse(topic).filter(|topic| topic.purpose.is_order())
    }
}

/// What a filter ends with that is for every topic one level below.
pub const EACH: &str = "/+";

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}/{}", self.tenant, self.agent, self.purpose.as_str())
    }
}

/// The part behind the tenant that begins the topics of live readings.
pub const LIVE: &str = "live";

/// The topic of the committed readings of one channel.
///
/// A channel's name may be any text; in the topic every byte of it but `A-Z a-z 0-9 . _ - :` is written as `%` and two
/// hexadecimal digits (RFC 3986, section 2.1), so that it is one level without wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LiveTopic<'a> {
    /// Whose reading it is.
    pub tenant: Tenant,
    /// The device that sampled.
    pub device: DeviceId,
    /// The name of the channel.
    pub channel: &'a str,
}

impl fmt::Display for LiveTopic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{LIVE}/{}/", self.tenant, self.device)?;
        for byte in self.channel.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':') {
                f.write_char(byte.into())?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}
