//! What a client says, line by line; `tests/mqtt/README.md` lists the lines.

/// A message as a client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    /// Whether it came because it was retained.
    pub(crate) retain: bool,
    /// The topic.
    pub(crate) topic: String,
    /// The payload.
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// The payload as a text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is connected; whether the gateway had its session.
    Connected(bool),
    /// It was not let in, in the client's own words.
    Refused(String),
    /// The connection ended.
    Disconnected,
    /// The answer to a SUBSCRIBE: QoS or reason code.
    Subscribed(String),
    /// The answer to an UNSUBSCRIBE.
    Unsubscribed,
    /// A message of its own is acknowledged: PUBACK or PUBCOMP.
    Published(String),
    /// A message of its own was refused.
    Failed(String),
    /// A message.
    Message(Message),
    /// It ends.
    Bye,
}

impl Event {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Self {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "connected" => Self::Connected(rest == "1"),
            "refused" => Self::Refused(rest.to_owned()),
            "disconnected" => Self::Disconnected,
            "subscribed" => Self::Subscribed(rest.to_owned()),
            "unsubscribed" => Self::Unsubscribed,
            "published" => Self::Published(rest.to_owned()),
            "failed" => Self::Failed(rest.to_owned()),
            "message" => Self::Message(message(rest)),
            "bye" => Self::Bye,
            _ => panic!("got the line {line:?}, expected one of tests/mqtt/README.md"),
        }
    }
}

fn message(rest: &str) -> Message {
    let words: Vec<&str> = rest.splitn(4, ' ').collect();
    let [qos, retain, topic, ref payload @ ..] = words[..] else { panic!("got the message {rest:?}") };
    let hex = payload.first().copied().unwrap_or_default().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let payload = hex.chunks(2).map(byte).collect();
    Message { qos: qos.parse().unwrap(), retain: retain == "1", topic: topic.to_owned(), payload }
}
