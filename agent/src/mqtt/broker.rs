//! Whose promise an acknowledgement is.

use std::fmt;

use weir_protocol::mqtt::SERVER_PROPERTY;

/// The longest version that is repeated in a log.
const MAX_VERSION: usize = 32;

/// Who takes the readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broker {
    /// A gateway of Weir, of this version: what it acknowledges is on its disk.
    Weir(String),
    /// Another broker of MQTT 5: what it acknowledges is as safe as it makes it.
    Other,
    /// MQTT 3.1.1 has no way to say who one is.
    Unknown,
}

impl Broker {
    /// From the user properties of CONNACK.
    pub(super) fn of(properties: &[(String, String)]) -> Self {
        let version = properties.iter().find(|(name, _)| name == SERVER_PROPERTY).map(|(_, version)| version);
        version.map_or(Self::Other, |version| {
            Self::Weir(version.chars().filter(|c| !c.is_control()).take(MAX_VERSION).collect())
        })
    }

    /// Whether it is known to be a gateway of Weir.
    pub fn is_weir(&self) -> bool {
        matches!(self, Self::Weir(_))
    }

    /// What an acknowledgement of it means.
    pub fn promise(&self) -> &'static str {
        match self {
            Self::Weir(_) => "what it acknowledges is on its disk, exactly once",
            Self::Other => {
                "it is no Weir gateway: what it acknowledges leaves the queue here, and is then as safe as that broker \
                 makes it; nobody drops repeats, asks for descriptions, or answers what cannot be read"
            }
            Self::Unknown => {
                "over MQTT 3.1.1 nobody can say whether it is a Weir gateway: if it is another broker, what it \
                 acknowledges leaves the queue here and is then as safe as that broker makes it, and a refusal looks \
                 like an acknowledgement"
            }
        }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weir(version) => write!(f, "Weir {version}"),
            Self::Other => f.write_str("another broker"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
