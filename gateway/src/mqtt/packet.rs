//! What clients and the gateway tell each other, in one shape for both versions.
//!
//! A topic name in here is valid UTF-8, not empty unless an alias stands for it, and has neither wildcards nor U+0000.

use bytes::Bytes;

/// The version of MQTT that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// 3.1.1.
    V4,
    /// 5.
    V5,
}

/// How surely a message arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// 0.
    #[default]
    AtMostOnce,
    /// 1.
    AtLeastOnce,
    /// 2.
    ExactlyOnce,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Opens the connection.
    Connect(Box<Connect>),
    /// Carries a message.
    Publish(Box<Publish>),
    /// Acknowledges a message of QoS 1.
    PubAck(Ack),
    /// Says that a message of QoS 2 arrived.
    PubRec(Ack),
    /// Gives the packet id of a message of QoS 2 free.
    PubRel(Ack),
    /// Says that it is free.
    PubComp(Ack),
    /// Asks for topics.
    Subscribe(Subscribe),
    /// Asks for topics no more.
    Unsubscribe(Unsubscribe),
    /// Asks whether we are there.
    PingReq,
    /// Says goodbye.
    Disconnect(Disconnect),
    /// Enhanced authentication, which nobody here speaks; MQTT 5 only.
    Auth,
}

/// CONNECT, section 3.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Empty if the gateway is to choose one.
    pub client_id: String,
    /// Whether what the gateway knows of an earlier session is to be forgotten. 3.1.1: clean session.
    pub clean_start: bool,
    /// Seconds of silence that the client allows itself; 0: any.
    pub keep_alive: u16,
    /// Seconds that the session outlives its connection; `u32::MAX`: for ever. 3.1.1: 0 if clean, else for ever.
    pub session_expiry: u32,
    /// How many of our messages above QoS 0 the client takes unacknowledged; never 0.
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes; never 0.
    pub max_packet: u32,
    /// The highest topic alias that the client takes from us.
    pub topic_alias_maximum: u16,
    /// Whether the client wants response information.
    pub request_response_information: bool,
    /// Whether the client wants reason strings and user properties on more than PUBLISH, CONNACK and DISCONNECT.
    pub request_problem_information: bool,
    /// The method of enhanced authentication, if the client wants any.
    pub authentication_method: Option<String>,
    /// The user name.
    pub username: Option<String>,
    /// The password; MQTT 5 allows one without a user name.
    pub password: Option<Bytes>,
    /// What to publish if the client vanishes.
    pub will: Option<Box<Will>>,
}

/// The will of a client, section 3.1.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: Bytes,
    /// What.
    pub payload: Bytes,
    /// How surely.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Seconds between the end of the connection and the message.
    pub delay: u32,
    /// What else it carries.
    pub properties: Properties,
}

/// PUBLISH, section 3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Whether the sender may have sent it before.
    pub dup: bool,
    /// How surely.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Where; empty if the alias says it.
    pub topic: Bytes,
    /// The packet id; 0 at QoS 0.
    pub id: u16,
    /// The alias that stands for the topic, or will from here on; never 0.
    pub alias: Option<u16>,
    /// What.
    pub payload: Bytes,
    /// What else it carries.
    pub properties: Properties,
}

/// What a message carries beside its payload; empty in 3.1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Seconds after which nobody wants it.
    pub expiry: Option<u32>,
    /// Payload format indicator, content type, response topic, correlation data and user properties, checked, as they came
    /// and in the order in which they came (section 2.2.2): they go to every subscriber unchanged.
    pub forwarded: Bytes,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP, sections 3.4 to 3.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The packet id of the message; never 0.
    pub id: u16,
    /// The reason code; 3.1.1: 0.
    pub reason: u8,
}

/// SUBSCRIBE, section 3.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The packet id.
    pub id: u16,
    /// What messages of these subscriptions are to carry; never 0.
    pub identifier: Option<u32>,
    /// At least one.
    pub filters: Vec<Filter>,
}

/// One filter of a SUBSCRIBE, and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The filter, which may be none: that is answered filter by filter.
    pub filter: String,
    /// How surely at most.
    pub qos: QoS,
    /// Whether the client's own messages stay away.
    pub no_local: bool,
    /// Whether messages keep their retain flag.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent to a subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainHandling {
    /// At each SUBSCRIBE.
    #[default]
    Always,
    /// If the subscription is new.
    IfNew,
    /// Never.
    Never,
}

/// UNSUBSCRIBE, section 3.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The packet id.
    pub id: u16,
    /// At least one.
    pub filters: Vec<String>,
}

/// DISCONNECT, section 3.14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The reason code; 0x04 asks for the will. 3.1.1: 0.
    pub reason: u8,
    /// A new time for the session to outlive its connection, in seconds.
    pub session_expiry: Option<u32>,
}
