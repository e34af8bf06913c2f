//! Why a client is refused: each way has an MQTT 5 reason code, a name that is counted, and a sentence that
//! says what to do.
//!
//! Codes are those of the OASIS standard, MQTT 5.0 section 2.4. MQTT 3.1.1 has none after CONNECT: there the
//! connection closes.

use crate::access::Denied;
use crate::mqtt::malformed::{Fault, Malformed};
use crate::mqtt::packet::Version;
use crate::sessions;

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
    /// A client id that is none, or that this client may not take.
    ClientId,
    /// An unknown user or a wrong password.
    Credentials,
    /// Neither a certificate nor a password, where one is required.
    NothingProven,
    /// A certificate or password that was revoked before CONNECT.
    Revoked,
    /// A certificate or password that was revoked while its client was connected, or a session that was deleted.
    SentAway,
    /// As many passwords as may be are being checked, or the session cannot be had now.
    TryAgain,
    /// CONNECTs or failed logins come too often.
    TooOften,
    /// Enhanced authentication (AUTH).
    AuthMethod,
    /// A will that nobody would store.
    Will,
    /// A session that was to end with its connection and is not to any more.
    SessionExpiry,
    /// As many sessions outlive their connections as may.
    Sessions,
    /// A packet larger than announced.
    PacketTooLarge,
    /// More unacknowledged QoS 1 messages than announced.
    ReceiveMaximum,
    /// A topic alias beyond the maximum.
    TopicAlias,
    /// A topic alias that stands for no topic.
    UnknownAlias,
    /// The packet id of a message that is still in flight.
    PacketIdInUse,
    /// A topic that is none of Weir's and that nobody stores.
    TopicName,
    /// A topic with too many bytes or levels.
    TopicTooLong,
    /// A message that carries too much beside topic and payload.
    PropertiesTooLong,
    /// As many retained messages as there may be.
    Retained,
    /// A topic filter that is none, or a longer one than is taken.
    TopicFilter,
    /// A shared subscription.
    SharedSubscription,
    /// A topic of somebody else, or one that only the gateway writes.
    NotAuthorized,
    /// More subscriptions than there may be, of this client or of all.
    TooManySubscriptions,
    /// Silence for longer than 1.5 times the keep alive.
    KeepAlive,
    /// A packet that began and does not end.
    SlowPacket,
    /// The client does not read its answers.
    NotReading,
    /// The same client id connected again.
    TakenOver,
    /// As many sessions as are allowed.
    Busy,
    /// As many sockets that have not said CONNECT as are allowed, and this one was the oldest.
    Crowded,
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
    pub const ALL: [Self; 39] = [
        Self::Malformed,
        Self::Protocol,
        Self::Version,
        Self::ConnectTimeout,
        Self::ClientId,
        Self::Credentials,
        Self::NothingProven,
        Self::Revoked,
        Self::SentAway,
        Self::TryAgain,
        Self::TooOften,
        Self::AuthMethod,
        Self::Will,
        Self::SessionExpiry,
        Self::Sessions,
        Self::PacketTooLarge,
        Self::ReceiveMaximum,
        Self::TopicAlias,
        Self::UnknownAlias,
        Self::PacketIdInUse,
        Self::TopicName,
        Self::TopicTooLong,
        Self::PropertiesTooLong,
        Self::Retained,
        Self::TopicFilter,
        Self::SharedSubscription,
        Self::NotAuthorized,
        Self::TooManySubscriptions,
        Self::KeepAlive,
        Self::SlowPacket,
        Self::NotReading,
        Self::TakenOver,
        Self::Busy,
        Self::Crowded,
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
            (Version::V4, Self::Credentials) => 4,
            (Version::V4, Self::Busy | Self::ShuttingDown | Self::TryAgain | Self::TooOften | Self::Sessions) => 3,
            (Version::V4, _) => 5,
        }
    }

    const fn parts(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::Malformed => (0x81, "malformed", "not an MQTT packet"),
            Self::Protocol => (0x82, "protocol", "this packet may not come here"),
            Self::Version => (0x84, "version", "use MQTT 3.1.1 (level 4) or 5"),
            Self::ConnectTimeout => (0x82, "connect-timeout", "no CONNECT in time"),
            Self::ClientId => (
                0x85,
                "client-id",
                "use 1 to 128 bytes without control characters, and the name of your certificate or user",
            ),
            Self::Credentials => (0x86, "credentials", "unknown user or wrong password"),
            Self::NothingProven => {
                (0x87, "nothing-proven", "a certificate, or a user name and a password, is required")
            }
            Self::Revoked => (0x87, "revoked", "this certificate or password was revoked"),
            Self::SentAway => (0x98, "sent-away", "what lets this client in was revoked, or its session deleted"),
            Self::TryAgain => (0x89, "try-again", "too much is going on; try again later"),
            Self::TooOften => (0x9f, "too-often", "too many attempts; try again later"),
            Self::AuthMethod => (0x8c, "auth-method", "enhanced authentication is not supported"),
            Self::Will => (0x90, "will", "the will is on a topic that nobody stores, or larger than a message may be"),
            Self::SessionExpiry => (0x82, "session-expiry", "CONNECT said that the session ends with the connection"),
            Self::Sessions => (0x97, "sessions", "as many sessions as mqtt.sessions allows; use session expiry 0"),
            Self::PacketTooLarge => (0x95, "packet-too-large", "larger than the maximum packet size of CONNACK"),
            Self::ReceiveMaximum => (0x93, "receive-maximum", "more in flight than the receive maximum of CONNACK"),
            Self::TopicAlias => (0x94, "topic-alias", "a topic alias beyond the topic alias maximum of CONNACK"),
            Self::UnknownAlias => (0x82, "unknown-alias", "a topic alias that stands for no topic"),
            Self::PacketIdInUse => (0x91, "packet-id-in-use", "a message with this packet id is still in flight"),
            Self::TopicName => (0x90, "topic-name", "nothing stores this topic: an operator adds it as [[mqtt.store]]"),
            Self::TopicTooLong => {
                (0x90, "topic-too-long", "more than mqtt.topic_levels, or longer than mqtt.topic_bytes")
            }
            Self::PropertiesTooLong => (0x97, "properties-too-long", "more properties than mqtt.property_bytes"),
            Self::Retained => (0x97, "retained", "stored, but as many retained messages as there may be"),
            Self::TopicFilter => {
                (0x8f, "topic-filter", "not a topic filter, longer than 1024 bytes, or of too many levels")
            }
            Self::SharedSubscription => (0x9e, "shared-subscription", "shared subscriptions are not served"),
            Self::NotAuthorized => (0x87, "not-authorized", "this topic is not of this client"),
            Self::TooManySubscriptions => {
                (0x97, "too-many-subscriptions", "more subscriptions than one client, or all of them, may have")
            }
            Self::KeepAlive => (0x8d, "keep-alive", "silent for longer than 1.5 times the keep alive"),
            Self::SlowPacket => (0x83, "slow-packet", "a packet began and did not end in time"),
            Self::NotReading => (0x80, "not-reading", "the answers are not read"),
            Self::TakenOver => (0x8e, "taken-over", "this client id connected again"),
            Self::Busy => (0x97, "busy", "as many sessions as mqtt.connections allows; try again later"),
            Self::Crowded => (0x97, "crowded", "too many sockets wait without a CONNECT; try again later"),
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

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::ClientId => Self::ClientId,
            Denied::Credentials => Self::Credentials,
            Denied::NothingProven => Self::NothingProven,
            Denied::Revoked => Self::Revoked,
            Denied::Busy => Self::TryAgain,
            Denied::TooOften => Self::TooOften,
        }
    }
}

impl From<sessions::Refused> for Refusal {
    fn from(refused: sessions::Refused) -> Self {
        match refused {
            sessions::Refused::Full => Self::Sessions,
            sessions::Refused::Busy | sessions::Refused::NotWritten => Self::TryAgain,
        }
    }
}

/// A refusal, and the sentence that says most of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is counted, and gives the code.
    pub refusal: Refusal,
    /// What the client is told.
    pub text: &'static str,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, text: refusal.text() }
    }
}

impl From<Malformed> for Refused {
    fn from(Malformed { fault, rule }: Malformed) -> Self {
        let refusal = match fault {
            Fault::Malformed => Refusal::Malformed,
            Fault::Protocol => Refusal::Protocol,
            Fault::Version => Refusal::Version,
            Fault::ClientId => Refusal::ClientId,
            Fault::TooLarge => Refusal::PacketTooLarge,
            Fault::TopicAlias => Refusal::TopicAlias,
        };
        Self { refusal, text: rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that each packet may carry: MQTT 5.0, sections 3.2.2.2, 3.4.2.1, 3.9.3 and 3.14.2.1.
    const CONNACK: &[u8] = &[
        0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
        0x9c, 0x9d, 0x9f,
    ];
    const PUBACK: &[u8] = &[0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    const SUBACK: &[u8] = &[0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2];
    const DISCONNECT: &[u8] = &[
        0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
        0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
    ];

    #[test]
    fn every_refusal_is_counted_under_its_own_name_and_is_an_error_to_the_client() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
            assert!(refusal.code() >= 0x80, "{refusal:?}");
            assert!(Refusal::ALL[..index].iter().all(|other| other.as_str() != refusal.as_str()), "{refusal:?}");
        }
    }

    #[test]
    fn every_refusal_is_given_in_packets_that_may_carry_its_code() {
        use Refusal::*;
        for refusal in Refusal::ALL {
            let packets: &[&[u8]] = match refusal {
                Malformed | Protocol => &[DISCONNECT],
                // Never told: nobody waits for an answer.
                ConnectTimeout | Crowded => &[],
                Version | ClientId | AuthMethod | Will | Busy | Credentials | NothingProven | Revoked | TryAgain
                | TooOften | Sessions => &[CONNACK],
                PacketTooLarge => &[CONNACK, DISCONNECT],
                SentAway | SessionExpiry | UnknownAlias | ReceiveMaximum | TopicAlias | KeepAlive | SlowPacket
                | NotReading | TakenOver | Commit | ShuttingDown => &[DISCONNECT],
                PacketIdInUse | AfterRefusal => &[PUBACK],
                Unreadable | Quota | TopicName | TopicTooLong | PropertiesTooLong => &[PUBACK, DISCONNECT],
                Retained => &[PUBACK],
                NotAuthorized => &[CONNACK, PUBACK, SUBACK, DISCONNECT],
                TopicFilter | SharedSubscription | TooManySubscriptions => &[SUBACK],
            };
            assert!(packets.iter().all(|allowed| allowed.contains(&refusal.code())), "{refusal:?}");
        }
    }
}
