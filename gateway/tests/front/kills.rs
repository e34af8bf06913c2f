//! What ends a broker of this field from outside, and slow clients, each beside healthy agents whose batches go on
//! being stored and acknowledged. The five are the ways in which rumqttd 0.20's own listener dies.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use crate::script::{Answered, Client, connect, packet, puback, publish, subscribe, subscribe_at};
use crate::world::{Gateway, batch, description};

const PATIENCE: Duration = Duration::from_secs(60);
const BOTH: [Version; 2] = [V4, V5];
const LIVE: &str = "weir/1/default/live/#";

/// An agent that behaves: it stores readings for as long as the test attacks.
struct Healthy {
    agent: Client<TcpStream>,
    name: String,
    stored: u64,
}

impl Healthy {
    async fn start(gateway: &Gateway, name: &str, version: Version) -> Self {
        let mut agent = Client::dial_tcp(gateway.at.mqtt, version).await;
        agent.send(&connect(version, name, 30, None)).await;
        assert_eq!(agent.answer().await, Answered::Connected(0));
        let topic = format!("weir/1/default/{name}/describe");
        agent.send(&publish(version, &topic, 1, 1, &description(name))).await;
        assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
        Self { agent, name: name.to_owned(), stored: 0 }
    }

    /// Stores one more reading.
    async fn store(&mut self) {
        let topic = format!("weir/1/default/{}/batch", self.name);
        let payload = batch(&self.name, self.stored..self.stored + 1);
        self.agent.send(&publish(self.agent.version(), &topic, 1, 2, &payload)).await;
        assert_eq!(self.agent.answer().await, Answered::Acknowledged(2, 0));
        self.stored += 1;
    }
}

/// Healthy agents of both versions.
struct Beside(Vec<Healthy>);

impl Beside {
    async fn start(gateway: &Gateway) -> Self {
        Self(vec![Healthy::start(gateway, "edge-1", V4).await, Healthy::start(gateway, "edge-2", V5).await])
    }

    async fn go_on(&mut self) {
        for healthy in &mut self.0 {
            healthy.store().await;
        }
    }

    /// Everything that was acknowledged is in the log.
    async fn conclude(mut self, gateway: Gateway) {
        self.go_on().await;
        let all: u64 = self.0.iter().map(|healthy| healthy.stored).sum();
        assert_eq!(gateway.records("readings").await.len() as u64, all);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_1_a_client_id_with_wildcards_that_connects_twice() {
    let gateway = Gateway::start().await;
    let mut beside = Beside::start(&gateway).await;
    for version in BOTH {
        for id in ["+", "#", "$SYS", "a/b", "a+b"] {
            for _ in 0..2 {
                let mut client = Client::dial_tcp(gateway.at.mqtt, version).await;
                client.send(&connect(version, id, 0, None)).await;
                assert_eq!(client.answer().await, Answered::Connected(0));
                beside.go_on().await;
            }
        }
    }
    beside.conclude(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_2_coming_back_after_a_refusal_for_too_many_connections() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_with(data, &[("MQTT__CONNECTIONS", "2")]).await;
    let mut beside = Beside::start(&gateway).await;
    for version in BOTH {
        for _ in 0..5 {
            let mut client = Client::dial_tcp(gateway.at.mqtt, version).await;
            client.send(&connect(version, "view", 0, None)).await;
            let refused = if version == V4 { 3 } else { 0x97 };
            assert_eq!(client.answer().await, Answered::Connected(refused));
            assert_eq!(client.answer().await, Answered::Closed);
            beside.go_on().await;
        }
    }
    beside.conclude(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_3_a_persistent_session_with_a_shared_subscription_that_is_cut() {
    let gateway = Gateway::start().await;
    let mut beside = Beside::start(&gateway).await;
    for version in BOTH {
        for _ in 0..3 {
            let mut client = Client::dial_tcp(gateway.at.mqtt, version).await;
            // Clean session is not asked for: on 3.1.1 the session goes on, and what it missed may come before SUBACK.
            let mut hello = connect(version, "view", 0, None);
            hello[9] = 0;
            client.send(&hello).await;
            assert_eq!(client.answer().await, Answered::Connected(0));
            client.send(&subscribe(version, &[&format!("$share/group/{LIVE}"), LIVE])).await;
            let refused = if version == V4 { 0x80 } else { 0x9e };
            let mut answer = client.answer().await;
            while matches!(answer, Answered::Published { .. }) {
                answer = client.answer().await;
            }
            assert_eq!(answer, Answered::Subscribed(vec![refused, 1]));
            beside.go_on().await;
            // Messages are on their way, at QoS 1, and nobody acknowledges them.
            assert!(matches!(client.answer().await, Answered::Published { pkid: 1.., .. }));
            drop(client);
            beside.go_on().await;
        }
    }
    beside.conclude(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_4_a_puback_that_a_flooded_subscriber_at_qos_0_owes_nobody() {
    let gateway = Gateway::start().await;
    let mut beside = Beside::start(&gateway).await;
    for version in BOTH {
        let mut client = Client::dial_tcp(gateway.at.mqtt, version).await;
        client.send(&connect(version, "view", 0, None)).await;
        assert_eq!(client.answer().await, Answered::Connected(0));
        client.send(&subscribe_at(version, 0, &[LIVE])).await;
        assert_eq!(client.answer().await, Answered::Subscribed(vec![0]));
        for id in 1..20 {
            beside.go_on().await;
            client.send(&puback(id)).await;
            assert!(matches!(client.answer().await, Answered::Published { pkid: 0, .. }));
            assert!(matches!(client.answer().await, Answered::Published { pkid: 0, .. }));
        }
        client.expect_quiet().await;
    }
    beside.conclude(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_5_connections_that_say_nothing() {
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &[("MQTT__LOBBY", "50")]).await;
    let mut beside = Beside::start(&gateway).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(gateway.at.mqtt).await.unwrap());
        if silent.len().is_multiple_of(20) {
            beside.go_on().await;
            // Who comes new gets in past them.
            Healthy::start(&gateway, "edge-3", V5).await;
        }
    }
    let mut first = silent.swap_remove(0);
    let sent_away = timeout(PATIENCE, first.read(&mut [0])).await.unwrap();
    assert!(matches!(sent_away, Ok(0) | Err(_)));
    beside.conclude(gateway).await;
}

/// Starts clients that send `bytes` one by one for as long as they are let.
fn lorises(gateway: &Gateway, count: usize, bytes: &[u8]) -> Vec<JoinHandle<()>> {
    let loris = async |at, bytes: Vec<u8>| {
        let mut stream = TcpStream::connect(at).await.unwrap();
        for byte in bytes {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    (0..count).map(|_| tokio::spawn(loris(gateway.at.mqtt, bytes.to_vec()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_loris_before_and_after_connect() {
    let settings = [("MQTT__CONNECT_TIMEOUT", "200ms")];
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &settings).await;
    let mut beside = Beside::start(&gateway).await;
    for version in BOTH {
        let hello = connect(version, &"x".repeat(40), 0, None);
        let after = [&hello[..], &packet(0x32, &[7; 100_000])[..200]].concat();
        let mut all = lorises(&gateway, 30, &hello);
        all.extend(lorises(&gateway, 30, &after));
        while !all.iter().all(JoinHandle::is_finished) {
            beside.go_on().await;
        }
    }
    beside.conclude(gateway).await;
}
