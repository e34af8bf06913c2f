//! One connection to the gateway's Kafka port: a request, its answer, the next request.
//!
//! It speaks through the codec of the crate kafka-protocol, so that what it understands is what Kafka means. A lost
//! connection is an error; whoever asked connects again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::log::expect;
use crate::clients::mqtt::Link;
use crate::clients::peer::Peer;

/// Versions of SASL that every client of the last years speaks.
const SASL_HANDSHAKE: i16 = 1;
const SASL_AUTHENTICATE: i16 = 1;
/// What the client calls itself.
const NAME: &str = "weir-lab";
/// The longest wait for an answer; a member that joins waits for the others of its group.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Where Kafka is spoken, and what lets a client in.
#[derive(Clone, Debug)]
pub struct Broker {
    peer: Peer,
    token: Option<String>,
}

impl Broker {
    /// The Kafka port of a gateway; with a token, where one is needed.
    pub fn new(peer: impl Into<Peer>, token: Option<String>) -> Self {
        Self { peer: peer.into(), token }
    }
}

impl From<SocketAddr> for Broker {
    fn from(address: SocketAddr) -> Self {
        Self::new(address, None)
    }
}

/// A connected client.
pub struct Client {
    socket: Link,
    correlation: i32,
    /// How answers are taken; at once unless said.
    pace: Option<Pace>,
}

/// Takes an answer in bites, as a consumer on a slow line does.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes of a bite.
    pub bytes: usize,
    /// Between two.
    pub pause: Duration,
}

impl Client {
    /// Connects to the gateway's Kafka port, and proves who it is if it has a token.
    pub async fn connect(broker: impl Into<Broker>) -> Result<Self> {
        let Broker { peer, token } = broker.into();
        let socket = timeout(PATIENCE, peer.connect(0)).await.context("nobody answers").flatten();
        let socket = socket.with_context(|| format!("cannot connect to Kafka on {}", peer.address()))?;
        let mut client = Self { socket, correlation: 0, pace: None };
        if let Some(token) = token {
            client.login(&token).await.context("the token does not let anybody in over Kafka")?;
        }
        Ok(client)
    }

    /// Proves who it is by a token, as SASL/PLAIN has it.
    pub async fn login(&mut self, token: &str) -> Result<()> {
        let mechanism = StrBytes::from_static_str("PLAIN");
        self.ask(SASL_HANDSHAKE, &SaslHandshakeRequest::default().with_mechanism(mechanism)).await?;
        let message = Bytes::from(format!("\0token\0{token}"));
        let answer = self.ask(SASL_AUTHENTICATE, &SaslAuthenticateRequest::default().with_auth_bytes(message)).await?;
        expect(answer.error_code, || "SaslAuthenticate".to_owned())
    }

    /// How answers are taken from now on.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        self.pace = pace;
    }

    /// Asks in `version` of the request.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.correlation += 1;
        let frame = encode(request, version, self.correlation)?;
        let answer = timeout(PATIENCE, self.exchange(&frame));
        let mut answer = answer.await.with_context(|| format!("no answer to Kafka request {} in time", R::KEY))??;
        if answer.remaining() < size_of::<i32>() {
            bail!("an answer to Kafka request {} of {} bytes, expected a header", R::KEY, answer.remaining());
        }
        let correlation = answer.get_i32();
        if correlation != self.correlation {
            bail!("got the answer to request {correlation}, expected {}", self.correlation);
        }
        if R::Response::header_version(version) > 0 {
            // Tagged fields of the header: nobody sends any.
            answer.advance(1.min(answer.remaining()));
        }
        R::Response::decode(&mut answer, version)
            .with_context(|| format!("cannot decode the answer to Kafka request {} version {version}", R::KEY))
    }

    async fn exchange(&mut self, frame: &[u8]) -> Result<Bytes> {
        self.socket.write_all(frame).await.context("the gateway hung up")?;
        // TLS may hold back what was written.
        self.socket.flush().await.context("the gateway hung up")?;
        let length = self.socket.read_u32().await.context("the gateway hung up")? as usize;
        if length > MAX_ANSWER {
            bail!("an answer of {length} bytes, expected at most {MAX_ANSWER}");
        }
        let mut answer = vec![0; length];
        let Pace { bytes, pause } = self.pace.unwrap_or(Pace { bytes: length.max(1), pause: Duration::ZERO });
        for bite in answer.chunks_mut(bytes) {
            self.socket.read_exact(bite).await.context("the gateway hung up within an answer")?;
            tokio::time::sleep(pause).await;
        }
        Ok(answer.into())
    }
}

fn encode<R: Request>(request: &R, version: i16, correlation: i32) -> Result<BytesMut> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(NAME)));
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    header.encode(&mut frame, R::header_version(version))?;
    request.encode(&mut frame, version)?;
    let length = u32::try_from(frame.len() - size_of::<u32>()).context("a request too large")?;
    frame[..size_of::<u32>()].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}
