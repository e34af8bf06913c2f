//! MQTT over WebSocket at the HTTP port: a client of another library, raw sockets, pages of other sites.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{self, Packet};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::whole::publish_v4;
use crate::world::{Gateway, batch, description};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client, and what it has read and not looked at.
struct Client {
    socket: WebSocketStream<TcpStream>,
    read: BytesMut,
}

impl Client {
    /// Opens a WebSocket.
    async fn open(gateway: &Gateway) -> Self {
        let mut request = format!("ws://{}/mqtt", gateway.at.http).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
        let stream = TcpStream::connect(gateway.at.http).await.unwrap();
        let (socket, response) = client_async(request, stream).await.unwrap();
        // [MQTT-6.0.0-4].
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
        Self { socket, read: BytesMut::new() }
    }

    /// Opens one and connects.
    async fn connect(gateway: &Gateway, id: &str) -> Self {
        let mut client = Self::open(gateway).await;
        client.send(&connect(id)).await;
        assert!(matches!(client.packet().await, Packet::ConnAck(ack) if ack.code == v4::ConnectReturnCode::Success));
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.socket.send(Message::Binary(Bytes::copy_from_slice(bytes))).await.unwrap();
    }

    /// The next packet.
    async fn packet(&mut self) -> Packet {
        loop {
            if let Ok(packet) = Packet::read(&mut self.read, 2 << 20) {
                return packet;
            }
            match timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap() {
                Message::Binary(bytes) => self.read.extend_from_slice(&bytes),
                other => panic!("got {other:?}, expected a binary message"),
            }
        }
    }

    /// How it ends.
    async fn closed(mut self) -> Option<CloseFrame> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => (),
                _ => return None,
            }
        }
    }
}

fn connect(id: &str) -> BytesMut {
    let mut packet = BytesMut::new();
    v4::Connect::new(id).write(&mut packet).unwrap();
    packet
}

fn publish(id: &str, pkid: u16, purpose: &str, payload: Vec<u8>) -> BytesMut {
    let mut packet = BytesMut::new();
    let mut publish = v4::Publish::new(format!("weir/1/default/{id}/{purpose}"), QoS::AtLeastOnce, payload);
    publish.pkid = pkid;
    publish.write(&mut packet).unwrap();
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_over_a_websocket_is_stored_and_what_is_live_comes_through_one() {
    let gateway = Gateway::start().await;
    let mut viewer = Client::connect(&gateway, "viewer").await;
    let mut subscribe = BytesMut::new();
    let mut packet = v4::Subscribe::new("weir/1/default/live/pump-1/#", QoS::AtMostOnce);
    packet.pkid = 7;
    packet.write(&mut subscribe).unwrap();
    viewer.send(&subscribe).await;
    assert!(matches!(viewer.packet().await, Packet::SubAck(ack) if ack.pkid == 7));

    let mut agent = Client::connect(&gateway, "edge-1").await;
    agent.send(&publish("edge-1", 1, "describe", description("pump-1"))).await;
    agent.send(&publish("edge-1", 2, "batch", batch("pump-1", 0..3))).await;
    for id in [1, 2] {
        assert_eq!(agent.packet().await, Packet::PubAck(v4::PubAck::new(id)));
    }
    assert_eq!(gateway.records("readings").await.len(), 3);
    for sequence in 0..3 {
        let Packet::Publish(message) = viewer.packet().await else { panic!("no PUBLISH") };
        let record: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(record["value"]["sequence"], sequence);
    }
}

/// \[MQTT-6.0.0-2\].
#[tokio::test(flavor = "multi_thread")]
async fn packets_lie_in_frames_as_they_like_and_pings_are_answered_between_them() {
    let gateway = Gateway::start().await;
    let mut client = Client::open(&gateway).await;
    let mut packets = connect("edge-1");
    packets.extend_from_slice(&publish("edge-1", 1, "describe", description("pump-1")));
    packets.extend_from_slice(&publish("edge-1", 2, "batch", batch("pump-1", 0..3)));
    let (whole, pieces) = packets.split_at(20);
    client.send(whole).await;
    for byte in pieces {
        client.send(&[*byte]).await;
    }
    assert!(matches!(client.packet().await, Packet::ConnAck(_)));
    assert_eq!(client.packet().await, Packet::PubAck(v4::PubAck::new(1)));
    assert_eq!(client.packet().await, Packet::PubAck(v4::PubAck::new(2)));
    client.socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    let pong = timeout(PATIENCE, client.socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"there?")));
    client.socket.close(None).await.unwrap();
    assert_eq!(client.closed().await, None);
}

/// \[MQTT-6.0.0-1\].
#[tokio::test(flavor = "multi_thread")]
async fn text_ends_the_connection_and_no_subprotocol_begins_none() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(&gateway, "edge-1").await;
    client.socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(client.closed().await.unwrap().code, CloseCode::Unsupported);

    let request = |protocol: &str, more: &str| {
        format!(
            "GET /mqtt HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}{more}\r\n",
            gateway.at.http
        )
    };
    const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";
    for (request, expected) in [
        (request("", ""), "HTTP/1.1 400"),
        (request("Sec-WebSocket-Protocol: chat\r\n", ""), "HTTP/1.1 400"),
        (request(MQTT, "Origin: http://evil.example\r\n"), "HTTP/1.1 403"),
        (request(MQTT, ""), "HTTP/1.1 101"),
        ("GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let mut socket = TcpStream::connect(gateway.at.http).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut status = vec![0; expected.len()];
        timeout(PATIENCE, socket.read_exact(&mut status)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&status), expected, "{request}");
    }
    let (_, metrics) = gateway.get("/metrics").await;
    assert!(metrics.contains("weir_gateway_http_websockets_refused_total 4\n"), "{metrics}");
}

/// It waits, and has its place, where MQTT connections do.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_takes_no_place_of_http_and_is_counted_as_a_session() {
    let more = [("HTTP__CONNECTIONS", "2"), ("MQTT__CONNECTIONS", "3"), ("MQTT__CONNECT_TIMEOUT", "200ms")];
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &more).await;
    let mut clients = Vec::new();
    for number in 0..3 {
        clients.push(Client::connect(&gateway, &format!("edge-{number}")).await);
    }
    assert_eq!(gateway.get("/healthz").await.0, 200);
    let mut one_more = Client::open(&gateway).await;
    one_more.send(&connect("edge-9")).await;
    let refused = v4::ConnectReturnCode::ServiceUnavailable;
    assert!(matches!(one_more.packet().await, Packet::ConnAck(ack) if ack.code == refused));
    drop((one_more, clients));
    // Who says nothing is closed in time.
    let silent = Client::open(&gateway).await;
    assert_eq!(silent.closed().await.map(|frame| frame.code), Some(CloseCode::Normal));
    publish_v4(&gateway, "edge-0", vec![("describe", description("pump-1")), ("batch", batch("pump-1", 0..1))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_closes_websockets_like_other_sessions() {
    let gateway = Gateway::start().await;
    let client = Client::connect(&gateway, "edge-1").await;
    let closed = tokio::spawn(client.closed());
    gateway.stop().await;
    assert_eq!(timeout(PATIENCE, closed).await.unwrap().unwrap().unwrap().code, CloseCode::Normal);
}
