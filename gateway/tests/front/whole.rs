//! Unmodified clients, a real log, real sockets.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_gateway::mqtt::packet::Version;
use weir_protocol::batch::command::{self, AgentCommand};

use crate::script::{Answered, Client, connect, packet, publish};
use crate::world::{Gateway, batch, description};

/// Far beyond what anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes with rumqttc's MQTT 3.1.1 client and waits for every PUBACK.
pub(crate) async fn publish_v4(gateway: &Gateway, agent: &str, messages: Vec<(&str, Vec<u8>)>) {
    let options = MqttOptions::new(agent, "127.0.0.1", gateway.at.mqtt.port());
    let (client, mut events) = AsyncClient::new(options, 10);
    let mut open = messages.len();
    for (purpose, payload) in messages {
        let topic = format!("weir/1/default/{agent}/{purpose}");
        client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }
    while open > 0 {
        let event = timeout(PATIENCE, events.poll()).await.unwrap().unwrap();
        open -= usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
    }
}

/// The same with its MQTT 5 client; the reasons of the PUBACKs.
async fn publish_v5(gateway: &Gateway, agent: &str, messages: Vec<(&str, Vec<u8>)>) -> Vec<PubAckReason> {
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let options = MqttOptions::new(agent, "127.0.0.1", gateway.at.mqtt.port());
    let (client, mut events) = AsyncClient::new(options, 10);
    let count = messages.len();
    for (purpose, payload) in messages {
        let topic = format!("weir/1/default/{agent}/{purpose}");
        client.publish(topic, QoS5::AtLeastOnce, false, payload).await.unwrap();
    }
    let mut reasons = Vec::new();
    while reasons.len() < count {
        let polled = timeout(PATIENCE, events.poll()).await.unwrap();
        // When a DISCONNECT comes with the last PUBACK, the client has kept that one in its buffer.
        let told = polled.map_or_else(|_| events.state.events.drain(..).collect(), |event| vec![event]);
        assert!(!told.is_empty(), "the connection ended after {reasons:?}");
        reasons.extend(told.into_iter().filter_map(|event| match event {
            Event::Incoming(Packet::PubAck(ack)) => Some(ack.reason),
            _ => None,
        }));
    }
    reasons
}

fn sequences(records: &[Value], device: &str) -> Vec<u64> {
    let ours = records.iter().filter(|record| record["key"] == device);
    ours.map(|record| record["value"]["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unmodified_client_was_acknowledged_is_read_back_over_http() {
    let gateway = Gateway::start().await;
    let messages = |device: &str| {
        let batches = [batch(device, 0..20), batch(device, 20..40), batch(device, 10..50)];
        let batches = batches.into_iter().map(|payload| ("batch", payload));
        [("describe", description(device))].into_iter().chain(batches).collect::<Vec<_>>()
    };
    publish_v4(&gateway, "edge-3", messages("pump-3")).await;
    let reasons = publish_v5(&gateway, "edge-5", messages("pump-5")).await;
    assert_eq!(reasons, [PubAckReason::Success; 4]);

    let records = gateway.records("readings").await;
    for device in ["pump-3", "pump-5"] {
        // The third batch repeats thirty sequences, and each is there once, in order.
        assert_eq!(sequences(&records, device), (0..50).collect::<Vec<_>>());
    }
    let reading = &records.iter().find(|record| record["key"] == "pump-5").unwrap()["value"];
    assert_eq!(
        (&reading["restart"], &reading["unit"], &reading["agent"]),
        (&"7".into(), &"Cel".into(), &"edge-5".into())
    );

    // After a stop and a start it is all still there, and a resend is still a repeat.
    let gateway = Gateway::start_on(gateway.stop().await).await;
    publish_v4(&gateway, "edge-3", vec![("batch", batch("pump-3", 0..60))]).await;
    let records = gateway.records("readings").await;
    assert_eq!(sequences(&records, "pump-3"), (0..60).collect::<Vec<_>>());
    let (_, metrics) = gateway.get("/metrics").await;
    assert!(metrics.contains("weir_gateway_readings_repeated_total 50\n"), "{metrics}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_asked_for_a_schema_that_nobody_knows() {
    let gateway = Gateway::start().await;
    let options = MqttOptions::new("edge-1", "127.0.0.1", gateway.at.mqtt.port());
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("weir/1/default/edge-1/command", QoS::AtLeastOnce).await.unwrap();
    client.publish("weir/1/default/edge-1/batch", QoS::AtLeastOnce, false, batch("pump-1", 0..3)).await.unwrap();
    let mut acknowledged = 0;
    while acknowledged < 2 {
        match timeout(PATIENCE, events.poll()).await.unwrap().unwrap() {
            Event::Incoming(Packet::Publish(asked)) => {
                let Ok(AgentCommand::Describe { device, .. }) = command::decode(&asked.payload) else { panic!() };
                assert_eq!((device.as_str(), acknowledged), ("pump-1", 0));
                let topic = "weir/1/default/edge-1/describe";
                client.publish(topic, QoS::AtLeastOnce, false, description("pump-1")).await.unwrap();
            }
            Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
            _ => (),
        }
    }
    assert_eq!(sequences(&gateway.records("readings").await, "pump-1"), [0, 1, 2]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_and_poison_is_kept_with_its_bytes() {
    let gateway = Gateway::start().await;
    let mut poison = batch("pump-1", 0..3);
    *poison.last_mut().unwrap() ^= 1;
    let reasons = publish_v5(&gateway, "edge-1", vec![("describe", description("pump-1")), ("batch", poison)]).await;
    assert_eq!(reasons, [PubAckReason::Success, PubAckReason::PayloadFormatInvalid]);
    let reasons = publish_v5(&gateway, "edge-1", vec![("batch", b"garbage".to_vec())]).await;
    assert_eq!(reasons, [PubAckReason::ImplementationSpecificError]);
    let dead = gateway.records("weir.deadletter").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["value"]["reason"], "unreadable-body");
    assert_eq!(dead[0]["value"]["spans"][0]["end"], 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_what_comes_and_goes_on_where_it_was() {
    let gateway = Gateway::start().await;
    publish_v4(&gateway, "edge-1", vec![("describe", description("pump-1")), ("batch", batch("pump-1", 0..5))]).await;
    let mut tail = Tail::open(&gateway, "/topics/readings/tail", "").await;
    publish_v4(&gateway, "edge-1", vec![("batch", batch("pump-1", 5..8))]).await;
    let mut last = String::new();
    for expected in 5..8 {
        let (id, record) = tail.record().await;
        assert_eq!(record["value"]["sequence"], expected);
        last = id;
    }
    drop(tail);
    publish_v4(&gateway, "edge-1", vec![("batch", batch("pump-1", 8..10))]).await;
    let mut tail = Tail::open(&gateway, "/topics/readings/tail", &format!("Last-Event-ID: {last}\r\n")).await;
    assert_eq!(tail.record().await.1["value"]["sequence"], 8);
    assert_eq!(tail.record().await.1["value"]["sequence"], 9);
    let mut tail = Tail::open(&gateway, "/topics/readings/tail?offset=earliest", "").await;
    assert_eq!(tail.record().await.1["value"]["sequence"], 0);
    // A tail does not keep a gateway from stopping.
    timeout(PATIENCE, gateway.stop()).await.unwrap();
}

/// A reader of server-sent events.
struct Tail {
    stream: TcpStream,
    text: String,
}

impl Tail {
    async fn open(gateway: &Gateway, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(gateway.at.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut tail = Self { stream, text: String::new() };
        let head = tail.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        tail
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut bytes = [0; 4096];
            let length = timeout(PATIENCE, self.stream.read(&mut bytes)).await.unwrap().unwrap();
            assert!(length > 0, "the stream ended after {:?}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    }

    /// Id and data of the next record.
    async fn record(&mut self) -> (String, Value) {
        let event = self.until("\n\n").await;
        let field = |name| event.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        assert_eq!(field("event: "), "record");
        (field("id: "), serde_json::from_str(&field("data: ")).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_told_what_to_type() {
    let gateway = Gateway::start().await;
    let cases = [
        ("/topics/reading", 404, "there are readings, weir.loss"),
        ("/topics/readings/partitions/9/records", 404, "there are 0 to 3"),
        ("/topics/readings/partitions/0/records?offset=5", 400, "use offset=0 for the first"),
        ("/topics/readings/partitions/0/records?offset=x", 400, "such as offset=0"),
        ("/topics/readings/partitions/0/records?time=noon", 400, "RFC 3339"),
        ("/topics/readings/partitions/0/records?offset=0&time=0", 400, "exclude each other"),
        ("/topics/readings/partitions/0/records?limit=0", 400, "1 to 10000"),
        ("/topics/readings/partitions/0/records?ofset=0", 400, "use offset= or time="),
        ("/topics/readings/tail?offset=5", 400, "add partition="),
        ("/topics/readings/tail?offset=5&partition=0", 400, "partition 0 holds 0 to 0"),
        ("/topics/readings/tail?offset=1,2", 400, "expected 4 offsets"),
        ("/nowhere", 404, "there are /topics"),
    ];
    for (path, status, what) in cases {
        let (got, body) = gateway.get(path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(what), "{path}: {body}");
    }
    for path in ["/healthz", "/readyz", "/status", "/version", "/topics", "/topics/readings"] {
        assert_eq!(gateway.get(path).await.0, 200, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_too_many_is_told_so_and_its_client_may_come_back() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_with(data, &[("MQTT__CONNECTIONS", "1")]).await;
    let mut first = Client::dial_tcp(gateway.at.mqtt, Version::V4).await;
    first.send(&connect(Version::V4, "edge-1", 0, None)).await;
    assert_eq!(first.answer().await, Answered::Connected(0));
    for (version, code) in [(Version::V4, 3), (Version::V5, 0x97), (Version::V4, 3)] {
        let mut second = Client::dial_tcp(gateway.at.mqtt, version).await;
        second.send(&connect(version, "edge-2", 0, None)).await;
        assert_eq!(second.answer().await, Answered::Connected(code));
        assert_eq!(second.answer().await, Answered::Closed);
    }
    let (_, metrics) = gateway.get("/metrics").await;
    assert!(metrics.contains("mqtt_refusals_total{reason=\"busy\"} 3\n"), "{metrics}");
    // The same agent again: its old connection may be dead and not know it, and gives up its place.
    let mut again = Client::dial_tcp(gateway.at.mqtt, Version::V4).await;
    again.send(&connect(Version::V4, "edge-1", 0, None)).await;
    assert_eq!(first.answer().await, Answered::Closed);
    drop(first);
    assert_eq!(again.answer().await, Answered::Connected(0));
    again.send(&[0xe0, 0]).await;
    assert_eq!(again.answer().await, Answered::Closed);
    drop(again);
    // Another comes back until the place is free, as an agent does.
    let came_back = async {
        loop {
            let mut second = Client::dial_tcp(gateway.at.mqtt, Version::V5).await;
            second.send(&connect(Version::V5, "edge-2", 0, None)).await;
            if second.answer().await == Answered::Connected(0) {
                break;
            }
        }
    };
    timeout(PATIENCE, came_back).await.unwrap();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_request_that_never_ends_its_headers_is_closed() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_with(data, &[("HTTP__HEADER_TIMEOUT", "100ms")]).await;
    let mut slow = TcpStream::connect(gateway.at.http).await.unwrap();
    slow.write_all(b"GET /topics HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(gateway.get("/healthz").await.0, 200);
    gateway.stop().await;
}

/// What `/status` says of the only agent, once it is `expected`.
async fn status_becomes(gateway: &Gateway, expected: &Value) {
    let says = async {
        loop {
            let (_, body) = gateway.get("/status").await;
            let body: Value = serde_json::from_str(&body).unwrap();
            if body[0]["status"] == *expected {
                return body[0]["connected"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let connected = timeout(PATIENCE, says).await.unwrap_or_else(|_| panic!("/status never says {expected}"));
    assert!(connected.is_boolean());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_an_agent_is_its_last_word_or_its_will_also_after_a_restart() {
    const STATUS: &str = "weir/1/default/edge-1/status";
    let mut gateway = Gateway::start().await;
    for version in [Version::V4, Version::V5] {
        let mut agent = Client::dial_tcp(gateway.at.mqtt, version).await;
        agent.send(&connect(version, "edge-1", 0, Some((STATUS, r#"{"online":false}"#)))).await;
        assert_eq!(agent.answer().await, Answered::Connected(0));
        agent.send(&publish(version, STATUS, 1, 1, br#"{"online":true}"#)).await;
        assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
        status_becomes(&gateway, &json!({"online": true})).await;
        drop(agent);
        status_becomes(&gateway, &json!({"online": false})).await;

        // Who says goodbye leaves no will.
        let mut agent = Client::dial_tcp(gateway.at.mqtt, version).await;
        agent.send(&connect(version, "edge-1", 0, Some((STATUS, "gone")))).await;
        assert_eq!(agent.answer().await, Answered::Connected(0));
        agent.send(&publish(version, STATUS, 1, 1, b"leaving")).await;
        assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
        agent.send(&packet(0xe0, &[])).await;
        assert_eq!(agent.answer().await, Answered::Closed);
        gateway = Gateway::start_on(gateway.stop().await).await;
        status_becomes(&gateway, &"leaving".into()).await;
    }
    gateway.stop().await;
}
