//! MQTT 5 packets as bytes, right or wrong on purpose, and what comes back.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::connect;

/// A connection, whatever it goes over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}
/// One end of it.
pub(crate) type Link = Box<dyn Transport>;

/// The largest answer that is taken, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// First bytes of packets, without flags.
pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const DISCONNECT: u8 = 0xe0;
/// What a CONNECT has besides its strings: protocol name and level, user name and password follow, no keep alive.
const VERSION: &[u8] = b"\x00\x04MQTT\x05";
const CLEAN: u8 = 0x02;
const WILL_QOS_1: u8 = 0x04 | 0x08;
const NAMED: u8 = 0x80 | 0x40;
const PUBLISH_QOS_1: u8 = 0x32;
const SUBSCRIBE: u8 = 0x82;
const QOS_1: u8 = 1;

/// A connection without TLS from an address that `number` chooses.
pub(crate) async fn plain(number: usize, to: SocketAddr) -> Result<Link> {
    let socket = connect(number, to).await?;
    socket.set_nodelay(true)?;
    Ok(Box::new(socket))
}

/// A packet with a fixed header that is right for `body`.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    length(body.len(), &mut packet);
    packet.extend_from_slice(body);
    packet
}

/// A variable byte integer (MQTT 5, section 1.5.5).
pub(crate) fn length(mut length: usize, out: &mut Vec<u8>) {
    loop {
        let more = if length < 128 { 0 } else { 128 };
        out.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            return;
        }
    }
}

/// A string with its length in front; what is longer than 65,535 bytes is cut.
pub(crate) fn string(text: &[u8], out: &mut Vec<u8>) {
    let text = &text[..text.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

/// What a CONNECT says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hello<'a> {
    /// The client id.
    pub(crate) id: &'a str,
    /// User name and password.
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// How long the session outlives the connection, in seconds.
    pub(crate) expiry: u32,
    /// Topic and payload of a will.
    pub(crate) will: Option<(&'a str, &'a [u8])>,
}

impl<'a> Hello<'a> {
    /// Of a client that says no more than its id.
    pub(crate) fn of(id: &'a str) -> Self {
        Self { id, ..Self::default() }
    }

    /// The packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut body = VERSION.to_vec();
        let clean = if self.expiry == 0 { CLEAN } else { 0 };
        let will = if self.will.is_some() { WILL_QOS_1 } else { 0 };
        body.push(clean | will | if self.login.is_some() { NAMED } else { 0 });
        // No keep alive; the only property is the session expiry.
        body.extend_from_slice(&[0, 0, 5, 0x11]);
        body.extend_from_slice(&self.expiry.to_be_bytes());
        string(self.id.as_bytes(), &mut body);
        if let Some((topic, payload)) = self.will {
            body.push(0);
            string(topic.as_bytes(), &mut body);
            string(payload, &mut body);
        }
        if let Some((user, password)) = self.login {
            string(user.as_bytes(), &mut body);
            string(password.as_bytes(), &mut body);
        }
        packet(0x10, &body)
    }

    /// Says it and waits for the CONNACK; its reason code.
    pub(crate) async fn say(&self, link: &mut Link) -> Result<u8> {
        link.write_all(&self.packet()).await?;
        link.flush().await?;
        match answer(link).await? {
            (CONNACK, body) if body.len() >= 2 => Ok(body[1]),
            (first, body) => bail!("got {first:02x} {body:02x?}, expected a CONNACK"),
        }
    }

    /// The same; anything but success is an error.
    pub(crate) async fn enter(&self, link: &mut Link) -> Result<()> {
        match self.say(link).await? {
            0 => Ok(()),
            code => bail!("{} was refused with {code:#04x}", self.id),
        }
    }
}

/// A PUBLISH at QoS 1 without properties.
pub(crate) fn publish(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    publish_with(topic.as_bytes(), id, &[], payload)
}

/// The same with properties, which are taken as they are.
pub(crate) fn publish_with(topic: &[u8], id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + properties.len() + payload.len() + 8);
    string(topic, &mut body);
    body.extend_from_slice(&id.to_be_bytes());
    length(properties.len(), &mut body);
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    packet(PUBLISH_QOS_1, &body)
}

/// A SUBSCRIBE at QoS 1.
pub(crate) fn subscribe<T: AsRef<str>>(id: u16, filters: &[T]) -> Vec<u8> {
    subscribe_at(QOS_1, id, filters)
}

/// A SUBSCRIBE.
pub(crate) fn subscribe_at<T: AsRef<str>>(qos: u8, id: u16, filters: &[T]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.push(0);
    for filter in filters {
        string(filter.as_ref().as_bytes(), &mut body);
        body.push(qos);
    }
    packet(SUBSCRIBE, &body)
}

/// The next packet: the upper half of its first byte, and its body.
pub(crate) async fn answer(link: &mut Link) -> Result<(u8, Vec<u8>)> {
    let first = link.read_u8().await.context("the gateway hung up")?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = link.read_u8().await.context("the gateway hung up")?;
        length |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            break;
        }
    }
    if length > MAX_ANSWER {
        bail!("an answer of {length} bytes, expected at most {MAX_ANSWER}");
    }
    let mut body = vec![0; length];
    link.read_exact(&mut body).await.context("the gateway hung up")?;
    Ok((first & 0xf0, body))
}

/// The reason codes of the next packet of this kind, which follow a packet id and, in a SUBACK, no properties; others are
/// passed over.
pub(crate) async fn codes(kind: u8, link: &mut Link) -> Result<Vec<u8>> {
    loop {
        let (first, body) = answer(link).await?;
        match first {
            DISCONNECT => bail!("disconnected with {body:02x?}"),
            // Success may be left out (section 3.4.2.1); a PUBACK has one code and then properties.
            _ if first == kind && kind == PUBACK => return Ok(vec![body.get(2).copied().unwrap_or(0)]),
            _ if first == kind => return Ok(suback_codes(&body)),
            _ => (),
        }
    }
}

fn suback_codes(body: &[u8]) -> Vec<u8> {
    // Reason strings are short: their length is one byte or two.
    let (mut properties, mut at, mut shift) = (0, 2, 0);
    while let Some(byte) = body.get(at) {
        properties |= usize::from(byte & 127) << shift;
        (at, shift) = (at + 1, shift + 7);
        if *byte < 128 {
            break;
        }
    }
    body.get(at + properties..).unwrap_or_default().to_vec()
}
