//! rumqttc, MQTT 3.1.1 and 5, over TCP and TLS: does what it is told on stdin and says what happens; see
//! tests/mqtt/README.md.
//!
//! The library says which packet id it gave a message and which was acknowledged; names are paired with them here.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::time::Duration;

use clap::Parser;
use rumqttc::v5;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

/// How long a durable session of MQTT 5 outlives its connection, in seconds.
const EXPIRY: u32 = 3600;
/// Requests that wait for the library.
const REQUESTS: usize = 100_000;
/// Messages under way: well below half of the packet ids that the library uses. It gives them in turn, asks only for
/// PUBLISHes whether one is free, and sends again by id and not by age: with more under way it takes an id whose PUBREL is
/// not answered, and forgets a message that waited for an id when its connection ends.
const WINDOW: usize = 20;
/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(500);
const KEEP_ALIVE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Order {
    #[arg(long)]
    host: String,
    #[arg(long)]
    port: u16,
    #[arg(long, default_value = "tcp")]
    transport: String,
    #[arg(long)]
    version: String,
    #[arg(long)]
    id: String,
    #[arg(long)]
    durable: bool,
    #[arg(long)]
    user: Option<String>,
    #[arg(long)]
    password: Option<String>,
    #[arg(long)]
    ca: Option<String>,
    #[arg(long)]
    certificate: Option<String>,
    #[arg(long)]
    key: Option<String>,
    /// QOS RETAIN TOPIC TEXT
    #[arg(long)]
    will: Option<String>,
    #[arg(long, default_value_t = 0)]
    will_delay: u32,
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A test that no longer listens has ended.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What the test wants, in the words of no version.
enum Wish {
    Publish { name: String, qos: u8, retain: bool, topic: String, text: String },
    Subscribe { qos: u8, filter: String },
    Unsubscribe { filter: String },
    Disconnect,
}

/// Which message has which packet id.
#[derive(Default)]
struct Names {
    /// Handed to the library, which has given none a packet id yet.
    waiting: VecDeque<(String, u8)>,
    known: HashMap<u16, String>,
}

impl Names {
    fn has_room(&self) -> bool {
        self.waiting.len() + self.known.len() < WINDOW
    }

    /// The library sent a PUBLISH. One that it sends again has its name already.
    fn sent(&mut self, id: u16) {
        if id == 0 {
            if let Some((name, _)) = self.waiting.pop_front() {
                say(&format!("published {name}"));
            }
        } else if !self.known.contains_key(&id)
            && let Some((name, _)) = self.waiting.pop_front()
        {
            self.known.insert(id, name);
        }
    }

    fn acknowledged(&mut self, id: u16, problem: Option<String>) {
        let Some(name) = self.known.remove(&id) else { return };
        match problem {
            None => say(&format!("published {name}")),
            Some(problem) => say(&format!("failed {name} {problem}")),
        }
    }
}

fn wishes(line: &str) -> Vec<Wish> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["publish", name, qos, retain, topic, ref text @ ..] => vec![Wish::Publish {
            name: name.to_owned(),
            qos: number(qos),
            retain: retain == "1",
            topic: topic.to_owned(),
            text: text.join(" "),
        }],
        ["flood", qos, topic, first, count] => (number::<u64>(first)..number::<u64>(first) + number::<u64>(count))
            .map(|each| Wish::Publish {
                name: each.to_string(),
                qos: number(qos),
                retain: false,
                topic: topic.to_owned(),
                text: each.to_string(),
            })
            .collect(),
        ["subscribe", qos, filter] => vec![Wish::Subscribe { qos: number(qos), filter: filter.to_owned() }],
        ["unsubscribe", filter] => vec![Wish::Unsubscribe { filter: filter.to_owned() }],
        ["disconnect"] => vec![Wish::Disconnect],
        ["vanish"] => std::process::exit(0),
        _ => panic!("got {line:?}, expected an order of tests/mqtt/README.md"),
    }
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a number")
}

fn level(qos: u8) -> rumqttc::QoS {
    rumqttc::qos(qos).expect("0, 1 or 2")
}

fn level_5(qos: u8) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(qos).expect("0, 1 or 2")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn will(order: &Order) -> Option<(u8, bool, String, String)> {
    let mut words = order.will.as_ref()?.splitn(4, ' ');
    let mut word = || words.next().expect("four words");
    Some((number(word()), word() == "1", word().to_owned(), word().to_owned()))
}

fn tls(order: &Order) -> Option<rumqttc::Transport> {
    if order.transport != "tls" {
        return None;
    }
    let read = |path: &String| std::fs::read(path).expect("a PEM file");
    let pem = |bytes: Vec<u8>| pem_files::chain(&bytes);
    let mut roots = rustls::RootCertStore::empty();
    for certificate in pem(read(order.ca.as_ref().expect("--ca"))) {
        roots.add(certificate).expect("a certificate of an authority");
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let config = match (&order.certificate, &order.key) {
        (Some(certificate), Some(key)) => {
            let key = pem_files::key(&read(key));
            builder.with_client_auth_cert(pem(read(certificate)), key).expect("certificate and key")
        }
        _ => builder.with_no_client_auth(),
    };
    Some(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(std::sync::Arc::new(config))))
}

/// PEM files.
mod pem_files {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    pub(super) fn chain(pem: &[u8]) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().expect("certificates")
    }

    pub(super) fn key(pem: &[u8]) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(pem).expect("a private key")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let order = Order::parse();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            wishes(&line).into_iter().for_each(|wish| drop(sender.send(wish)));
        }
    });
    if order.version == "5" { version_5(order, receiver).await } else { version_4(order, receiver).await }
}

async fn version_4(order: Order, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    use rumqttc::{Event, Outgoing, Packet, SubscribeReasonCode};
    let mut options = rumqttc::MqttOptions::new(&order.id, &order.host, order.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_session(!order.durable);
    if let Some(user) = &order.user {
        options.set_credentials(user, order.password.clone().unwrap_or_default());
    }
    if let Some((qos, retain, topic, text)) = will(&order) {
        options.set_last_will(rumqttc::LastWill::new(topic, text, level(qos), retain));
    }
    if let Some(transport) = tls(&order) {
        options.set_transport(transport);
    }
    let (client, mut events) = rumqttc::AsyncClient::new(options, REQUESTS);
    let mut names = Names::default();
    loop {
        tokio::select! {
            Some(wish) = wishes.recv(), if names.has_room() => match wish {
                Wish::Publish { name, qos, retain, topic, text } => {
                    names.waiting.push_back((name, qos));
                    client.try_publish(topic, level(qos), retain, text).expect("there is room");
                }
                Wish::Subscribe { qos, filter } => client.try_subscribe(filter, level(qos)).expect("there is room"),
                Wish::Unsubscribe { filter } => client.try_unsubscribe(filter).expect("there is room"),
                Wish::Disconnect => client.try_disconnect().expect("there is room"),
            },
            event = events.poll() => match event {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => say(&format!("connected {}", u8::from(ack.session_present))),
                Ok(Event::Incoming(Packet::Publish(publish))) => say(&format!(
                    "message {} {} {} {}",
                    publish.qos as u8, u8::from(publish.retain), publish.topic, hex(&publish.payload)
                )),
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    let codes = ack.return_codes.iter().map(|code| match code {
                        SubscribeReasonCode::Success(qos) => (*qos as u8).to_string(),
                        SubscribeReasonCode::Failure => "128".to_owned(),
                    });
                    say(&format!("subscribed {}", codes.collect::<Vec<_>>().join(",")));
                }
                Ok(Event::Incoming(Packet::UnsubAck(_))) => say("unsubscribed"),
                Ok(Event::Incoming(Packet::PubAck(ack))) => names.acknowledged(ack.pkid, None),
                Ok(Event::Incoming(Packet::PubComp(ack))) => names.acknowledged(ack.pkid, None),
                Ok(Event::Outgoing(Outgoing::Publish(id))) => names.sent(id),
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return say("bye"),
                Ok(_) => {}
                Err(rumqttc::ConnectionError::ConnectionRefused(code)) => {
                    say(&format!("refused {code:?}"));
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    say(&format!("disconnected {}", error.to_string().replace('\n', " ")));
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

async fn version_5(order: Order, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    use rumqttc::Outgoing;
    use v5::Event;
    use v5::mqttbytes::v5::{ConnectProperties, LastWill, LastWillProperties, Packet, SubscribeReasonCode};
    let mut options = v5::MqttOptions::new(&order.id, &order.host, order.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(!order.durable);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(if order.durable { EXPIRY } else { 0 });
    options.set_connect_properties(properties);
    if let Some(user) = &order.user {
        options.set_credentials(user, order.password.clone().unwrap_or_default());
    }
    if let Some((qos, retain, topic, text)) = will(&order) {
        let properties = LastWillProperties {
            delay_interval: Some(order.will_delay),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        options.set_last_will(LastWill::new(topic, text, level_5(qos), retain, Some(properties)));
    }
    if let Some(transport) = tls(&order) {
        options.set_transport(transport);
    }
    let (client, mut events) = v5::AsyncClient::new(options, REQUESTS);
    let mut names = Names::default();
    loop {
        tokio::select! {
            Some(wish) = wishes.recv(), if names.has_room() => match wish {
                Wish::Publish { name, qos, retain, topic, text } => {
                    names.waiting.push_back((name, qos));
                    client.try_publish(topic, level_5(qos), retain, text).expect("there is room");
                }
                Wish::Subscribe { qos, filter } => client.try_subscribe(filter, level_5(qos)).expect("there is room"),
                Wish::Unsubscribe { filter } => client.try_unsubscribe(filter).expect("there is room"),
                Wish::Disconnect => client.try_disconnect().expect("there is room"),
            },
            event = events.poll() => match event {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => say(&format!("connected {}", u8::from(ack.session_present))),
                Ok(Event::Incoming(Packet::Publish(publish))) => say(&format!(
                    "message {} {} {} {}",
                    publish.qos as u8,
                    u8::from(publish.retain),
                    String::from_utf8_lossy(&publish.topic),
                    hex(&publish.payload)
                )),
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    let codes = ack.return_codes.iter().map(|code| match code {
                        SubscribeReasonCode::Success(qos) => (*qos as u8).to_string(),
                        other => format!("{other:?}"),
                    });
                    say(&format!("subscribed {}", codes.collect::<Vec<_>>().join(",")));
                }
                Ok(Event::Incoming(Packet::UnsubAck(_))) => say("unsubscribed"),
                Ok(Event::Incoming(Packet::PubAck(ack))) => {
                    let is_failure = ack.reason as u8 > 1;
                    names.acknowledged(ack.pkid, is_failure.then(|| format!("{:?}", ack.reason)));
                }
                Ok(Event::Incoming(Packet::PubComp(ack))) => names.acknowledged(ack.pkid, None),
                Ok(Event::Outgoing(Outgoing::Publish(id))) => names.sent(id),
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return say("bye"),
                Ok(_) => {}
                Err(v5::ConnectionError::ConnectionRefused(code)) => {
                    say(&format!("refused {code:?}"));
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    say(&format!("disconnected {}", error.to_string().replace('\n', " ")));
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}
