//! What changes while the gateway runs: settings, users, certificates.

use std::num::NonZeroU32;
use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use weir_gateway::kafka::auth::Secret;

use crate::client::{Client, text};
use crate::program::Program;
use crate::secure::{PATIENCE, Secure, connect};

/// A client that is connected as a user with the password `pencil`.
struct User {
    client: AsyncClient,
    events: EventLoop,
}

impl User {
    async fn connect(program: &Program, name: &str) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", program.mqtt.port());
        options.set_credentials(name, "pencil").set_keep_alive(Duration::from_secs(60));
        let (client, events) = AsyncClient::new(options, 10);
        let mut user = Self { client, events };
        user.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
        user
    }

    async fn until(&mut self, is_it: impl Fn(&Packet) -> bool) {
        loop {
            let event = timeout(PATIENCE, self.events.poll()).await.unwrap().unwrap();
            if matches!(event, Event::Incoming(packet) if is_it(&packet)) {
                return;
            }
        }
    }

    async fn publish(&mut self, topic: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, false, "21.5").await.unwrap();
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await;
    }

    /// Waits until its connection ends.
    async fn until_sent_away(mut self) {
        let ended = async { while self.events.poll().await.is_ok() {} };
        timeout(PATIENCE, ended).await.expect("it is sent away");
    }
}

/// A consumer that is connected as a user with the password `pencil`.
async fn consumer(program: &Program, name: &str) -> (Client, i16) {
    let mut client = Client::new(program.kafka).await;
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    let _: SaslHandshakeResponse = client.ask(ApiKey::SaslHandshake, 1, &handshake).await;
    let said = format!("\0{name}\0pencil").into_bytes();
    let message = SaslAuthenticateRequest::default().with_auth_bytes(said.into());
    let answer: SaslAuthenticateResponse = client.ask(ApiKey::SaslAuthenticate, 2, &message).await;
    (client, answer.error_code)
}

/// Settings: `a/#` and what is given of `b/#` may be published by everybody.
fn rules(of_b: &str, kafka_users: &[&str]) -> String {
    let secret = Secret::of(b"pencil", NonZeroU32::new(4096).unwrap(), vec![7; 16]);
    let users: String = kafka_users.iter().map(|name| format!("{name} = \"{secret}\"\n")).collect();
    format!(
        "[access]\nmqtt = \"required\"\nhttp = \"open\"\n[[access.rule]]\nclients = \"press\"\npublish = [\"a/#\"]\n\
         [[access.rule]]\nclients = \"pump\"\npublish = [{of_b}]\n\
         [[mqtt.store]]\nfilter = \"a/#\"\n[[mqtt.store]]\nfilter = \"b/#\"\n[kafka.users]\n{users}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_sends_away_whom_the_settings_no_longer_allow_and_nobody_else() {
    let mut program = Program::start(&rules("\"b/#\"", &["stays", "goes"])).await;
    program.command(&["user", "add", "press", "--mqtt"], "pencil\n").await;
    program.command(&["user", "add", "pump", "--mqtt"], "pencil\n").await;
    let mut press = User::connect(&program, "press").await;
    let mut pump = User::connect(&program, "pump").await;
    press.publish("a/1").await;
    pump.publish("b/1").await;
    let (mut goes, error) = consumer(&program, "goes").await;
    assert_eq!(error, 0);

    program.reload("[access]\nmqtt = \"requierd\"\n");
    let said = program.says("the settings are not good; the old ones stay").await.to_string();
    assert!(said.contains("requierd") && said.contains("gateway.toml"), "{said}");
    press.publish("a/2").await;
    pump.publish("b/2").await;
    assert_eq!(consumer(&program, "goes").await.1, 0, "nothing has changed");

    program.reload(&rules("", &["stays"]));
    program.says("settings read again").await;
    pump.until_sent_away().await;
    press.publish("a/3").await;
    assert_eq!(consumer(&program, "goes").await.1, 58);
    assert_eq!(consumer(&program, "stays").await.1, 0);
    assert!(goes.frame().await.is_none(), "a removed user of Kafka is disconnected");

    program.command(&["user", "remove", "press"], "").await;
    press.until_sent_away().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_is_shown_to_the_next_client_without_a_restart() {
    let secure = Secure::start(&[]).await;
    let at = secure.gateway.at.http;
    let shown = async || {
        let stream = connect(at, &secure.roots(), None).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let before = shown().await;
    let mut open = connect(at, &secure.roots(), None).await.unwrap();
    secure.command(&["ca", "init", "--server-name", "localhost", "--server-name", "gateway.example"]).await;
    let replaced = async { while shown().await == before {} };
    timeout(PATIENCE, replaced).await.unwrap();
    // Whoever was connected stays.
    open.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // A file that is no certificate changes nothing.
    let good = shown().await;
    let file = secure.gateway.data.path().join("ca/server.pem");
    assert!(file.exists());
    std::fs::write(&file, "garbage").unwrap();
    let (refused, failed) = ("weir_gateway_tls_reloads_total{outcome=\"refused\"} ", "the reload was refused");
    let counted = async {
        loop {
            let stream = connect(at, &secure.roots(), None).await;
            let mut stream = stream.expect(failed);
            assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], good);
            let head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            let count = text.lines().find_map(|line| line.strip_prefix(refused)).unwrap();
            if count != "0" {
                return;
            }
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
}
