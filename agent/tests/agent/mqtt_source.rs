//! A subscriber on a local broker: what it keeps, and when the broker is told so.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::health::SourceState;
use weir_agent::source::mqtt::{self, MqttConfig};
use weir_agent::source::{LifeError, supervise};
use weir_protocol::settings::Source;
use weir_protocol::{AgentId, Value};
use weir_storage::FaultyFs;

use crate::support::broker::{Broker, Subscriber};
use crate::support::device;
use crate::support::office::Office;
use crate::support::sources::Bench;

pub(crate) const COUNTER: &str = "[[mqtt.topic]]\nfilter = \"plant/+\"\npayload = \"json\"\ndevice = \"{2}\"\n";

fn config(text: &str) -> Result<MqttConfig, String> {
    let config = Config::of(&Source::new("agent.toml", text)).map_err(|error| error.to_string())?;
    Ok(config.mqtt.into_iter().next().expect("the section"))
}

pub(crate) fn section(port: u16, more: &str) -> String {
    format!("[[mqtt]]\nname = \"plant\"\naddress = \"127.0.0.1:{port}\"\n{more}")
}

fn agent() -> AgentId {
    AgentId::new("edge-1").expect("a good name")
}

fn lives(bench: &Bench, config: &MqttConfig) -> JoinHandle<Result<(), LifeError>> {
    tokio::spawn(mqtt::run(config.clone(), agent(), Arc::default(), bench.context("mqtt", "plant")))
}

/// One life after the other.
pub(crate) fn supervised(bench: &Bench, text: &str) -> JoinHandle<()> {
    let (config, session) = (config(text).expect("good settings"), Arc::default());
    let live = move |context| mqtt::run(config.clone(), agent(), Arc::clone(&session), context);
    tokio::spawn(supervise(bench.context("mqtt", "plant"), StdRng::seed_from_u64(1), live))
}

/// A subscriber of a running source, and the source.
pub(crate) async fn connected(
    bench: &Bench,
    more: &str,
    is_v5: bool,
) -> (Broker, Subscriber, JoinHandle<Result<(), LifeError>>) {
    let broker = Broker::open().await;
    let life = lives(bench, &config(&section(broker.port(), more)).expect("good settings"));
    let mut subscriber = broker.accept(is_v5).await;
    subscriber.subscribes(|_| true).await;
    (broker, subscriber, life)
}

#[tokio::test]
async fn a_message_is_acknowledged_once_its_readings_are_on_disk_and_not_before() {
    for (is_v5, version) in [(true, "mqtt = \"5\"\n"), (false, "mqtt = \"3.1.1\"\n")] {
        let disk = FaultyFs::new(1);
        let (office, handle) = Office::open(&disk);
        let bench = Bench::feeding(handle, &office.counters);
        let (_broker, mut subscriber, life) = connected(&bench, &format!("{version}{COUNTER}"), is_v5).await;
        disk.set_capacity(Some(0));
        subscriber.publishes(7, "plant/1", b"{\"on\":true}", false).await;
        tokio::select! {
            packet = subscriber.acknowledges() => panic!("{packet} is acknowledged, and the disk has nothing"),
            () = bench.counts(Event::CommitsFailed, 3) => {}
        }
        disk.set_capacity(None);
        assert_eq!(subscriber.acknowledges().await, 7);
        assert_eq!(office.counters.get(Event::ReadingsAccepted), 1);
        bench.stops();
        assert!(subscriber.leaves().await);
        life.await.expect("no panic").expect("a good end");
    }
}

#[tokio::test]
async fn the_session_is_kept_by_the_broker_and_taken_up_again() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let broker = Broker::open().await;
    let task = supervised(&bench, &section(broker.port(), COUNTER));
    for round in 0..2 {
        let mut subscriber = broker.accept(true).await;
        assert_eq!((subscriber.client_id.as_str(), subscriber.clean), ("weir-edge-1-plant", false));
        assert_eq!((subscriber.session, subscriber.receive_max), (Some(86_400), Some(256)));
        assert_eq!(subscriber.subscribes(|_| true).await, ["plant/+"]);
        subscriber.publishes(1, "plant/1", format!("{{\"round\":{round}}}").as_bytes(), false).await;
        assert_eq!(subscriber.acknowledges().await, 1);
        assert_eq!(office.counters.get(Event::ReadingsAccepted), round + 1);
        drop(subscriber);
        bench.looks(|health| health.failures == round + 1).await;
    }
    let failed = bench.looks(|health| health.state == SourceState::Waiting).await;
    assert!(failed.last_error.is_some_and(|error| error.starts_with(&format!("127.0.0.1:{}: ", broker.port()))));
    bench.stops();
    task.await.expect("no panic");
}

#[tokio::test]
async fn what_says_nothing_is_counted_and_acknowledged_in_its_turn() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let number = "max_payload = \"100 B\"\nmax_devices = 1\n\
                  [[mqtt.topic]]\nfilter = \"n/+\"\npayload = \"number\"\ndevice = \"{2}\"\nchannel = \"on\"\n";
    let (_broker, mut subscriber, life) = connected(&bench, number, true).await;
    let messages: [(&str, &[u8], bool); 6] = [
        ("n/box", b"on", false),
        ("n/box", b"warm", false),
        // What the broker remembers, of no known time.
        ("n/box", b"off", true),
        ("n/box", &[b'1'; 101], false),
        ("n/other", b"on", false),
        ("unknown", b"on", false),
    ];
    for (packet, (topic, payload, retained)) in (1..).zip(messages) {
        subscriber.publishes(packet, topic, payload, retained).await;
    }
    for packet in 1..=6 {
        assert_eq!(subscriber.acknowledges().await, packet);
    }
    assert_eq!(office.counters.get(Event::MessagesRefused), 4);
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 1);
    let error = bench.health.sources()[0].last_error.clone();
    assert_eq!(error.as_deref(), Some("unknown: no subscription matches"));
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn messages_have_the_devices_channels_and_units_that_the_settings_say() {
    let bench = Bench::unlinked();
    let map = "[[mqtt.topic]]\nfilter = \"zigbee2mqtt/+\"\npayload = \"json\"\ndevice = \"{2}\"\nretained = true\n\
               fields = [\"temperature\", \"battery.level\", \"state\"]\n\
               [[mqtt.topic]]\nfilter = \"plant/#\"\npayload = \"number\"\ndevice = \"line-{2}\"\n\
               [[mqtt.unit]]\nchannel = \"*temperature\"\nunit = \"Cel\"\n\
               [[mqtt.unit]]\nchannel = \"*.flow\"\nunit = \"L/min\"\n";
    let (_broker, mut subscriber, life) = connected(&bench, map, true).await;
    let message = br#"{"temperature":21.5,"battery":{"level":97},"state":"open","linkquality":9}"#;
    subscriber.publishes(0, "zigbee2mqtt/kitchen", message, true).await;
    subscriber.publishes(0, "plant/3/flow", b"12.5", false).await;
    let held = bench.gives(|held| held.len() == 4).await;
    let named: Vec<_> = held.iter().map(|held| (held.device, held.channel.as_str(), held.unit.as_str())).collect();
    let (kitchen, line) = (device("kitchen"), device("line-3"));
    let expected = [
        (kitchen, "temperature", "Cel"),
        (kitchen, "battery.level", "1"),
        (kitchen, "state", "1"),
        (line, "plant.3.flow", "L/min"),
    ];
    assert_eq!(named, expected);
    assert_eq!((held[0].value, held[2].text.as_deref()), (Value::Double(21.5), Some("open")));
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn a_broker_that_floods_is_held_back_and_evicts_nothing() {
    let bench = Bench::unlinked();
    let number = "ring = 256\nqos = 0\n[[mqtt.topic]]\nfilter = \"#\"\npayload = \"number\"\ndevice = \"box\"\n";
    let (_broker, subscriber, life) = connected(&bench, number, true).await;
    let flood = tokio::spawn(async move { subscriber.floods("n", b"1").await });
    bench.looks(|health| health.readings >= 256).await;
    // Enough turns for what a broken source would read.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.counters.get(Event::ReadingsEvicted), 0);
    assert_eq!(bench.health.sources()[0].readings, 256);
    bench.stops();
    life.await.expect("no panic").expect("a stop, although nothing can be put");
    flood.await.expect("no panic");
}

#[tokio::test]
async fn a_subscription_that_the_broker_refuses_is_named() {
    let bench = Bench::unlinked();
    let broker = Broker::open().await;
    let more = format!(
        "mqtt = \"3.1.1\"\n{COUNTER}[[mqtt.topic]]\nfilter = \"secret/#\"\npayload = \"text\"\ndevice = \"x\"\n"
    );
    let life = lives(&bench, &config(&section(broker.port(), &more)).expect("good settings"));
    let mut subscriber = broker.accept(false).await;
    subscriber.subscribes(|filter| filter != "secret/#").await;
    let error = life.await.expect("no panic").expect_err("a refusal").to_string();
    assert!(error.ends_with("the broker refuses secret/#"), "{error}");
}

/// It used to close the connection, and a broker of 3.1.1 that keeps the session sent it again on each one for ever.
#[tokio::test]
async fn a_packet_that_is_far_too_large_is_read_next_time_counted_and_acknowledged() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let broker = Broker::open().await;
    let life =
        supervised(&bench, &section(broker.port(), &format!("mqtt = \"3.1.1\"\nmax_payload = \"1 KiB\"\n{COUNTER}")));
    let large = vec![b'1'; 256 << 10];
    let mut subscriber = broker.accept(false).await;
    subscriber.subscribes(|_| true).await;
    subscriber.publishes(1, "plant/1", &large, false).await;
    let health = bench.looks(|health| health.failures == 1).await;
    assert!(health.last_error.is_some_and(|error| error.contains("which the next connection reads and leaves out")));
    let mut subscriber = broker.accept(false).await;
    assert!(!subscriber.clean, "the session is taken up again");
    subscriber.subscribes(|_| true).await;
    subscriber.publishes(1, "plant/1", &large, false).await;
    subscriber.publishes(2, "plant/1", b"{\"on\":true}", false).await;
    assert_eq!((subscriber.acknowledges().await, subscriber.acknowledges().await), (1, 2));
    assert_eq!((office.counters.get(Event::MessagesRefused), office.counters.get(Event::ReadingsAccepted)), (1, 1));
    let error = bench.health.sources()[0].last_error.clone();
    assert!(error.as_deref().is_some_and(|error| error.contains("raise max_payload")), "{error:?}");
    bench.stops();
    life.await.expect("no panic");
}

#[tokio::test]
async fn a_packet_that_nobody_could_read_costs_the_session_and_says_so() {
    let broker = Broker::open().await;
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let life = supervised(&bench, &section(broker.port(), &format!("mqtt = \"3.1.1\"\n{COUNTER}")));
    let mut subscriber = broker.accept(false).await;
    subscriber.subscribes(|_| true).await;
    subscriber.begins(200 << 20).await;
    let health = bench.looks(|health| health.failures == 1).await;
    assert!(health.last_error.is_some_and(|error| error.contains("its session is given up")));
    let mut forgetting = broker.accept(false).await;
    assert!(forgetting.clean && forgetting.leaves().await);
    let mut subscriber = broker.accept(false).await;
    assert!(!subscriber.clean, "the next session is kept");
    subscriber.subscribes(|_| true).await;
    subscriber.publishes(1, "plant/1", b"{\"on\":true}", false).await;
    assert_eq!(subscriber.acknowledges().await, 1);
    assert_eq!(office.counters.get(Event::SessionsGivenUp), 1);
    bench.stops();
    life.await.expect("no panic");
}

#[tokio::test]
async fn a_broker_is_asked_for_no_message_twice() {
    let bench = Bench::unlinked();
    let more = format!("{COUNTER}{}", COUNTER.replace("plant/+", "plant/#").replace("json", "text"));
    let broker = Broker::open().await;
    let life = lives(&bench, &config(&section(broker.port(), &more)).expect("good settings"));
    let mut subscriber = broker.accept(true).await;
    assert_eq!(subscriber.subscribes(|_| true).await, ["plant/#"]);
    // What it means is said by the first that fits, as before.
    subscriber.publishes(1, "plant/1", b"{\"on\":true}", false).await;
    let held = bench.gives(|held| !held.is_empty()).await;
    assert_eq!((held[0].channel.as_str(), held[0].value), ("on", Value::Boolean(true)));
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn a_login_is_read_from_its_file() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("password"), "hush\n").expect("a file");
    let bench = Bench::unlinked();
    let broker = Broker::open().await;
    let login = format!(
        "username = \"weir\"\npassword_file = \"{}\"\nclient_id = \"me\"\n{COUNTER}",
        dir.path().join("password").display()
    );
    let life = lives(&bench, &config(&section(broker.port(), &login)).expect("good settings"));
    let subscriber = broker.accept(true).await;
    assert_eq!(subscriber.login, Some(("weir".to_owned(), "hush".to_owned())));
    assert_eq!((subscriber.client_id.as_str(), subscriber.clean), ("me-once", true), "nobody's session is disturbed");
    life.abort();
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let topic = |more: &str| section(1883, &format!("[[mqtt.topic]]\n{more}"));
    let with = |more: &str| section(1883, &format!("{more}\n{COUNTER}"));
    let refused = [
        (section(1883, "topic = []"), "got 0 subscriptions"),
        (with("qos = 2"), "expected 0 or 1"),
        (with("keep_alive = \"1s\""), "expected 5s to"),
        (with("max_payload = \"1 GiB\""), "expected 1 B to 16 MiB"),
        (with("username = \"x\""), "together with password_file"),
        (with("ca = \"/ca.pem\""), "mqtts://127.0.0.1:8883"),
        (section(1883, COUNTER).replace("127.0.0.1", "mqtts://127.0.0.1"), "set ca ="),
        (topic("filter = \"a/#/b\"\npayload = \"json\"\ndevice = \"x\""), "the last level"),
        (topic("filter = \"a\"\npayload = \"xml\"\ndevice = \"x\""), "xml"),
        (topic("filter = \"a\"\npayload = \"json\"\ndevice = \"\""), "empty name"),
        (topic("filter = \"a\"\npayload = \"json\"\ndevice = \"{0}\""), "expected {1}"),
        (topic("filter = \"a\"\npayload = \"text\"\ndevice = \"x\"\nfields = [\"a\"]"), "`fields` is for"),
        (topic("filter = \"a\"\npayload = \"text\"\ndevice = \"x\"\nchannel = \"\""), "only fields of JSON"),
        (format!("{}{}", section(1, COUNTER), section(2, COUNTER)), "there twice"),
    ];
    for (text, expected) in refused {
        let error = config(&text).expect_err(&text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let brokers = |number: usize| -> String {
        (0..number).map(|at| section(1883, COUNTER).replace("\"plant\"", &format!("\"b{at}\""))).collect()
    };
    assert!(config(&brokers(mqtt::MAX_BROKERS)).is_ok());
    assert!(config(&brokers(mqtt::MAX_BROKERS + 1)).expect_err("too many").contains("at most 16"));
    let subscriptions = COUNTER.repeat(257);
    assert!(config(&section(1883, &subscriptions)).expect_err("too many").contains("expected 1 to 256"));
}
