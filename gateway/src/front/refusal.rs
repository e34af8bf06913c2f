//! Why a client is refused: each way has an MQTT 5 reason code, a name that is counted, and a sentence that
//! says what to do.
//!
//! Codes are those of the OASIS standard, MQTT 5.0 section 2.4. MQTT 3.1.1 has none after CONNECT: there the
//! connection closes.

use super::wire::Version;

/// One way to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Bytes that are no MQTT packet.
    Malformed,
    /// A packet that may not come now, or never from a client.
    Protocol,
    /// A protocol level that is neither 4 (3.1.1) nor 5.
    Version,
    /// No CONNECT in time.
    ConnectTimeout,
    /// The client id is no agent name.
    ClientId,
    /// Enhanced authentication (AUTH).
    AuthMethod,
    /// A will that is not for the agent's own status topic.
    Will,
    /// A packet larger than announced.
    PacketTooLarge,
    /// More unacknowledged QoS 1 messages than announced.
    ReceiveMaximum,
    /// QoS 2.
    QoS,
    /// A topic alias, although none is allowed.
    TopicAlias,
    /// A topic that is none of Weir's.
    TopicName,
    /// A topic of somebody else, or one that only the gateway writes.
    NotAuthorized,
    /// Silence for longer than 1.5 times the keep alive.
    KeepAlive,
    /// The client does not read its answers.
    NotReading,
    /// The same client id connected again.
    TakenOver,
    /// As many connections as are allowed.
    Busy,
    /// A batch whose manifest cannot be read.
    Unreadable,
    /// Sent behind a message that was refused.
    AfterRefusal,
    /// A bound on devices, restarts or ranges.
    Quota,
    /// The commit failed.
    Commit,
    /// The gateway stops.
    ShuttingDown,
}

impl Refusal {
    /// All of them, in the order of their declaration: metrics exist before they count.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::Protocol,
        Self::Version,
        Self::ConnectTimeout,
        Self::ClientId,
        Self::AuthMethod,
        Self::Will,
        Self::PacketTooLarge,
        Self::ReceiveMaximum,
        Self::QoS,
        Self::TopicAlias,
        Self::TopicName,
        Self::NotAuthorized,
        Self::KeepAlive,
        Self::NotReading,
        Self::TakenOver,
        Self::Busy,
        Self::Unreadable,
        Self::AfterRefusal,
        Self::Quota,
        Self::Commit,
        Self::ShuttingDown,
    ];

    /// The name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        self.parts().1
    }

    /// What the client is told, if it asked for reason strings.
    pub const fn text(self) -> &'static str {
        self.parts().2
    }

    /// The MQTT 5 reason code, for CONNACK, PUBACK, SUBACK and DISCONNECT alike.
    pub const fn code(self) -> u8 {
        self.parts().0
    }

    /// The code of a CONNACK in the version of the client; 3.1.1 has five (section 3.2.2.3).
    pub const fn connack_code(self, version: Version) -> u8 {
        match (version, self) {
            (Version::V5, _) => self.code(),
            (Version::V4, Self::Version) => 1,
            (Version::V4, Self::ClientId) => 2,
            (Version::V4, Self::Busy | Self::ShuttingDown) => 3,
            (Version::V4, _) => 5,
        }
    }

    const fn parts(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::Malformed => (0x81, "malformed", "not an MQTT packet"),
            Self::Protocol => (0x82, "protocol", "this packet may not come here"),
            Self::Version => (0x84, "version", "use MQTT 3.1.1 (level 4) or 5"),
            Self::ConnectTimeout => (0x82, "connect-timeout", "no CONNECT in time"),
            Self::ClientId => (0x85, "client-id", "use the agent's name: 1 to 47 of A-Z a-z 0-9 . _ - :"),
            Self::AuthMethod => (0x8c, "auth-method", "enhanced authentication is not supported"),
            Self::Will => {
                (0x87, "will", "the will may only be on the agent's own status topic, QoS 0 or 1, 4096 bytes")
            }
            Self::PacketTooLarge => (0x95, "packet-too-large", "larger than the maximum packet size of CONNACK"),
            Self::ReceiveMaximum => (0x93, "receive-maximum", "more in flight than the receive maximum of CONNACK"),
            Self::QoS => (0x9b, "qos", "use QoS 0 or 1"),
            Self::TopicAlias => (0x94, "topic-alias", "topic aliases are not supported"),
            Self::TopicName => (0x90, "topic-name", "publish on weir/1/{tenant}/{agent}/batch, describe or status"),
            Self::NotAuthorized => (0x87, "not-authorized", "this topic is not of this agent"),
            Self::KeepAlive => (0x8d, "keep-alive", "silent for longer than 1.5 times the keep alive"),
            Self::NotReading => (0x80, "not-reading", "the answers are not read"),
            Self::TakenOver => (0x8e, "taken-over", "this client id connected again"),
            Self::Busy => (0x89, "busy", "as many connections as mqtt.connections allows"),
            Self::Unreadable => {
                (0x83, "unreadable", "neither body nor manifest of a batch can be read; nothing stored")
            }
            Self::AfterRefusal => (0x80, "after-refusal", "sent behind a refused message; nothing stored"),
            Self::Quota => (0x97, "quota", "too many devices, restarts or ranges; nothing stored"),
            Self::Commit => (0x83, "commit", "the commit failed; send it again"),
            Self::ShuttingDown => (0x8b, "shutting-down", "the gateway stops; send it again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_counted_under_its_own_name_and_is_an_error_to_the_client() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
            assert!(refusal.code() >= 0x80, "{refusal:?}");
            assert!(Refusal::ALL[..index].iter().all(|other| other.as_str() != refusal.as_str()), "{refusal:?}");
        }
    }
}
