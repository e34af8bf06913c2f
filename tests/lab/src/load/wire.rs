//! MQTT of both versions, as far as a publisher needs it, on a socket that costs little while it is idle.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use anyhow::{Context as _, Result, bail};
use bytes::{Buf, BytesMut};
use clap::ValueEnum;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clients::mqtt::{self, CONNACK, DISCONNECT, Hello, Link, PUBACK, packet, string};

/// The largest answer that is taken, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Bytes read at a time.
const READ: usize = 4096;
/// First byte of a PUBLISH at QoS 1.
const PUBLISH: u8 = 0x32;
/// On MQTT 3.1.1 nobody says how many messages may be under way: as many as Receive Maximum is if it is not said.
const WINDOW_UNSAID: u16 = u16::MAX;

/// The version of MQTT that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Version {
    /// 3.1.1
    #[value(name = "3.1.1")]
    V4,
    /// 5
    #[value(name = "5")]
    V5,
}

/// What came from the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Let in; so many messages may be under way.
    Connected { window: u16 },
    /// Not let in, by a reason code.
    Refused(u8),
    /// A message is answered with a reason code.
    Acknowledged { id: u16, code: u8 },
    /// The gateway ends the connection, by a reason code.
    Disconnected(u8),
    /// Nothing that matters.
    Other,
}

/// CONNECT of a session that ends with its connection.
pub(crate) fn connect(version: Version, id: &str, login: Option<(&str, &str)>) -> Result<Vec<u8>> {
    if version == Version::V5 {
        return Ok(Hello { login, ..Hello::of(id) }.packet());
    }
    let mut connect = v4::Connect::new(id);
    connect.keep_alive = 0;
    connect.login = login.map(|(user, password)| v4::Login::new(user, password));
    let mut bytes = BytesMut::new();
    connect.write(&mut bytes).context("CONNECT")?;
    Ok(bytes.to_vec())
}

/// PUBLISH at QoS 1.
pub(crate) fn publish(version: Version, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    if version == Version::V5 {
        return mqtt::publish(topic, id, payload);
    }
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    string(topic.as_bytes(), &mut body);
    body.extend_from_slice(&id.to_be_bytes());
    body.extend_from_slice(payload);
    packet(PUBLISH, &body)
}

/// Takes the next whole packet; `None` if there is none yet.
fn take(version: Version, input: &mut BytesMut) -> Result<Option<Answer>> {
    let Some(length_bytes) = input.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0) else {
        if input.len() > 4 {
            bail!("a packet whose length has no end");
        }
        return Ok(None);
    };
    let length = (0..=length_bytes).rev().fold(0, |length, at| length << 7 | usize::from(input[1 + at] & 0x7f));
    if length > MAX_ANSWER {
        bail!("a packet of {length} bytes, expected at most {MAX_ANSWER}");
    }
    let head = 2 + length_bytes;
    if input.len() < head + length {
        return Ok(None);
    }
    let whole = input.split_to(head + length);
    let body = &whole[head..];
    let code = |at: usize| body.get(at).copied().unwrap_or(0);
    Ok(Some(match whole[0] & 0xf0 {
        CONNACK if body.len() < 2 => bail!("a CONNACK without a code"),
        CONNACK if code(1) != 0 => Answer::Refused(code(1)),
        CONNACK => Answer::Connected { window: window(version, whole)? },
        PUBACK if body.len() < 2 => bail!("a PUBACK without a packet id"),
        PUBACK => Answer::Acknowledged { id: u16::from_be_bytes([body[0], body[1]]), code: code(2) },
        DISCONNECT => Answer::Disconnected(code(0)),
        _ => Answer::Other,
    }))
}

/// What a CONNACK says of Receive Maximum.
fn window(version: Version, connack: BytesMut) -> Result<u16> {
    let mut connack = connack;
    match version {
        Version::V4 => Ok(WINDOW_UNSAID),
        Version::V5 => match v5::Packet::read(&mut connack, None) {
            Ok(v5::Packet::ConnAck(ack)) => Ok(ack.properties.and_then(|said| said.receive_max).unwrap_or(u16::MAX)),
            other => bail!("got {other:?}, expected a CONNACK"),
        },
    }
}

/// A connection. Nothing waits but [`Wire::turn`], which may be dropped at any time.
pub(crate) struct Wire {
    socket: Link,
    version: Version,
    input: BytesMut,
    output: BytesMut,
    /// TLS has taken what the socket did not yet.
    is_held: bool,
}

impl Wire {
    /// Says `hello` on a connection that was just made.
    pub(crate) fn new(socket: Link, version: Version, hello: &[u8]) -> Self {
        Self { socket, version, input: BytesMut::new(), output: BytesMut::from(hello), is_held: false }
    }

    /// Bytes that the socket did not take yet.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Sends a message, as soon as the socket takes it.
    pub(crate) fn publish(&mut self, topic: &str, id: u16, payload: &[u8]) {
        self.output.extend_from_slice(&publish(self.version, topic, id, payload));
    }

    /// The next packet that came whole.
    pub(crate) fn next(&mut self) -> Result<Option<Answer>> {
        if self.input.is_empty() { Ok(None) } else { take(self.version, &mut self.input) }
    }

    /// Writes what waits as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        // Nobody is woken for the rest: whoever waits in `turn` asks again.
        match self.write(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Waits until something came or went, and takes it.
    pub(crate) async fn turn(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            let before = self.waiting();
            if let Poll::Ready(Err(error)) = self.write(context) {
                return Poll::Ready(Err(error));
            }
            let mut chunk = [0; READ];
            let mut read = ReadBuf::new(&mut chunk);
            match Pin::new(&mut self.socket).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(())) => {
                    self.input.extend_from_slice(read.filled());
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending if self.waiting() < before => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(context, &self.output))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.output.advance(written),
            }
            self.is_held = true;
        }
        if self.is_held {
            // An idle connection keeps no buffer.
            self.output = BytesMut::new();
            ready!(Pin::new(&mut self.socket).poll_flush(context))?;
            self.is_held = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives back the room of what was read.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_whole_whatever_pieces_they_come_in() {
        // CONNACK with Receive Maximum 7, PUBACK of 258 without and with 0x97, DISCONNECT with 0x8b.
        let bytes = b"\x20\x06\x00\x00\x03\x21\x00\x07\x40\x02\x01\x02\x40\x04\x01\x02\x97\x00\xe0\x01\x8b";
        let expected = [
            Answer::Connected { window: 7 },
            Answer::Acknowledged { id: 258, code: 0 },
            Answer::Acknowledged { id: 258, code: 0x97 },
            Answer::Disconnected(0x8b),
        ];
        for size in 1..bytes.len() {
            let (mut input, mut got) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(size) {
                input.extend_from_slice(piece);
                while let Some(answer) = take(Version::V5, &mut input).unwrap() {
                    got.push(answer);
                }
            }
            assert_eq!(got, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_mqtt_is_an_error() {
        assert!(take(Version::V5, &mut BytesMut::from(&b"\x40\xff\xff\xff\xff\xff"[..])).is_err());
        assert!(take(Version::V4, &mut BytesMut::from(&b"\x40\xff\xff\xff\x7f"[..])).is_err());
        assert!(take(Version::V5, &mut BytesMut::from(&b"\x40\x01\x00"[..])).is_err());
    }

    #[test]
    fn a_publish_is_what_an_independent_codec_reads() {
        let mut bytes = BytesMut::from(&publish(Version::V4, "a/b", 3, b"text")[..]);
        let Ok(v4::Packet::Publish(read)) = v4::Packet::read(&mut bytes, 100) else { panic!("{bytes:?}") };
        assert_eq!((read.topic.as_str(), read.pkid, &read.payload[..]), ("a/b", 3, &b"text"[..]));
        let mut bytes = BytesMut::from(&publish(Version::V5, "a/b", 3, b"text")[..]);
        let Ok(v5::Packet::Publish(read)) = v5::Packet::read(&mut bytes, None) else { panic!("{bytes:?}") };
        assert_eq!((&read.topic[..], read.pkid, &read.payload[..]), (&b"a/b"[..], 3, &b"text"[..]));
    }
}
