//! rumqttc, as somebody else's device: a publisher that numbers its messages and notes what is acknowledged, and a
//! subscriber whose session outlives its connections.
//!
//! A publisher has a bounded window under way and connects again whenever its connection ends; what its library has not
//! seen acknowledged, the library sends again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Messages of one publisher that are not acknowledged: well below half of the packet ids that rumqttc uses. It gives
/// them in turn, asks only for PUBLISHes whether one is free, and sends again by id and not by age: with more under way it
/// takes an id whose PUBREL is not answered, and forgets a message that waited for an id when its connection ends.
const WINDOW: u64 = 20;
/// Requests that wait for the library: all of a window.
const REQUESTS: usize = 2 * WINDOW as usize;
/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(50);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a session outlives its connection, in seconds.
const EXPIRY: u32 = 3600;

/// Who a publisher is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// Its client id; its topic ends with it, and its payloads begin with it.
    pub(crate) id: String,
    /// 1 or 2.
    pub(crate) qos: u8,
    /// MQTT 5 instead of 3.1.1.
    pub(crate) is_5: bool,
}

impl Who {
    /// Where it publishes.
    pub(crate) fn topic(&self) -> String {
        format!("plant/{}", self.id)
    }
}

/// How far a publisher is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Messages handed to the library, from number 0.
    pub(crate) sent: u64,
    /// Messages acknowledged.
    pub(crate) acknowledged: u64,
    /// Connections.
    pub(crate) connects: u64,
}

/// A publisher at work.
pub(crate) struct Publisher {
    /// Who it is.
    pub(crate) who: Who,
    progress: watch::Receiver<Progress>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Connects and publishes until it is told to stop.
    pub(crate) fn start(who: Who, gateway: SocketAddr) -> Self {
        let (told, progress) = watch::channel(Progress::default());
        let (stop, stopping) = watch::channel(false);
        let book = Book { names: Names::default(), progress: told, stop: stopping };
        let task = if who.is_5 {
            tokio::spawn(publish_5(who.clone(), gateway, book))
        } else {
            tokio::spawn(publish_4(who.clone(), gateway, book))
        };
        Self { who, progress, stop, task }
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Begins no new message; those under way are still acknowledged.
    pub(crate) fn finish(&self) {
        // One that has ended needs no telling.
        let _ = self.stop.send(true);
    }

    /// Whether all that it sent is acknowledged, for good.
    pub(crate) fn is_done(&self) -> bool {
        let Progress { sent, acknowledged, .. } = self.progress();
        *self.stop.borrow() && sent == acknowledged
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a publisher knows of its messages.
struct Book {
    names: Names,
    progress: watch::Sender<Progress>,
    stop: watch::Receiver<bool>,
}

/// Which message has which packet id. The library says which id it gave, in the order of the requests.
#[derive(Default)]
struct Names {
    waiting: VecDeque<u64>,
    known: HashMap<u16, u64>,
}

impl Book {
    /// Whether one more message may be under way.
    fn may_send(&self) -> bool {
        let Progress { sent, acknowledged, .. } = *self.progress.borrow();
        !*self.stop.borrow() && sent - acknowledged < WINDOW
    }

    /// The number of the next message.
    fn next(&mut self) -> u64 {
        let number = self.progress.borrow().sent;
        self.names.waiting.push_back(number);
        self.progress.send_modify(|progress| progress.sent += 1);
        number
    }

    /// The library sent a PUBLISH; one that it sends again is known.
    fn sent(&mut self, id: u16) {
        if !self.names.known.contains_key(&id)
            && let Some(number) = self.names.waiting.pop_front()
        {
            self.names.known.insert(id, number);
        }
    }

    fn acknowledged(&mut self, id: u16) {
        if self.names.known.remove(&id).is_some() {
            self.progress.send_modify(|progress| progress.acknowledged += 1);
        }
    }

    fn connected(&self) {
        self.progress.send_modify(|progress| progress.connects += 1);
    }
}

/// A payload of 100 bytes or so that says whose it is and which.
pub(crate) fn payload(who: &Who, number: u64) -> String {
    format!("{} {number} {:->80}", who.id, "")
}

/// Whose a payload is, and which.
pub(crate) fn parse(payload: &[u8]) -> Option<(String, u64)> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut words = text.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

async fn publish_4(who: Who, gateway: SocketAddr, mut book: Book) {
    use rumqttc::{Event, Outgoing, Packet};
    let mut options = rumqttc::MqttOptions::new(&who.id, gateway.ip().to_string(), gateway.port());
    options.set_keep_alive(KEEP_ALIVE).set_clean_session(false);
    let (client, mut events) = rumqttc::AsyncClient::new(options, REQUESTS);
    let qos = if who.qos == 2 { rumqttc::QoS::ExactlyOnce } else { rumqttc::QoS::AtLeastOnce };
    loop {
        while book.may_send() {
            let text = payload(&who, book.next());
            if client.try_publish(who.topic(), qos, false, text).is_err() {
                return;
            }
        }
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(id))) => book.sent(id),
            Ok(Event::Incoming(Packet::PubAck(ack))) => book.acknowledged(ack.pkid),
            Ok(Event::Incoming(Packet::PubComp(ack))) => book.acknowledged(ack.pkid),
            Ok(Event::Incoming(Packet::ConnAck(_))) => book.connected(),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn publish_5(who: Who, gateway: SocketAddr, mut book: Book) {
    use rumqttc::Outgoing;
    use v5::Event;
    use v5::mqttbytes::v5::Packet;
    let (client, mut events) = v5::AsyncClient::new(durable_5(&who.id, gateway), REQUESTS);
    let qos = if who.qos == 2 { v5::mqttbytes::QoS::ExactlyOnce } else { v5::mqttbytes::QoS::AtLeastOnce };
    loop {
        while book.may_send() {
            let text = payload(&who, book.next());
            if client.try_publish(who.topic(), qos, false, text).is_err() {
                return;
            }
        }
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(id))) => book.sent(id),
            Ok(Event::Incoming(Packet::PubAck(ack))) => book.acknowledged(ack.pkid),
            Ok(Event::Incoming(Packet::PubComp(ack))) => book.acknowledged(ack.pkid),
            Ok(Event::Incoming(Packet::ConnAck(_))) => book.connected(),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn durable_5(id: &str, gateway: SocketAddr) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(id, gateway.ip().to_string(), gateway.port());
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(false);
    let mut properties = v5::mqttbytes::v5::ConnectProperties::new();
    properties.session_expiry_interval = Some(EXPIRY);
    options.set_connect_properties(properties);
    options
}

/// What a subscriber got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    /// The numbers of each publisher, in the order in which each came first.
    pub(crate) order: BTreeMap<String, Vec<u64>>,
    seen: HashSet<(String, u64)>,
    /// Messages that came again.
    pub(crate) again: u64,
    /// Payloads that no publisher sent.
    pub(crate) foreign: Vec<String>,
    /// Connections on which the gateway did not have the session.
    pub(crate) forgotten: u64,
}

/// A subscriber of everything whose session outlives its connections.
pub(crate) struct Subscriber {
    got: Arc<Mutex<Got>>,
    subscribed: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Connects, and again whenever its connection ends.
    pub(crate) fn start(id: &str, gateway: SocketAddr) -> Self {
        let got = Arc::new(Mutex::new(Got::default()));
        let (told, subscribed) = watch::channel(false);
        let task = tokio::spawn(subscribe(durable_5(id, gateway), Arc::clone(&got), told));
        Self { got, subscribed, task }
    }

    /// Waits until it is subscribed.
    pub(crate) async fn subscribed(&mut self) {
        // Its task runs as long as this exists.
        let _ = self.subscribed.wait_for(|subscribed| *subscribed).await;
    }

    /// How many different messages it got so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.got).seen.len()
    }

    /// What it got so far.
    pub(crate) fn got(&self) -> Got {
        lock(&self.got).clone()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(got: &Mutex<Got>) -> MutexGuard<'_, Got> {
    got.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn subscribe(options: v5::MqttOptions, got: Arc<Mutex<Got>>, subscribed: watch::Sender<bool>) {
    use v5::Event;
    use v5::mqttbytes::v5::Packet;
    let (client, mut events) = v5::AsyncClient::new(options, REQUESTS);
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) if !*subscribed.borrow() => {
                if ack.session_present || client.try_subscribe("plant/#", v5::mqttbytes::QoS::AtLeastOnce).is_err() {
                    return;
                }
            }
            Ok(Event::Incoming(Packet::ConnAck(ack))) => lock(&got).forgotten += u64::from(!ack.session_present),
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                subscribed.send_replace(true);
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => lock(&got).take(&publish.payload),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl Got {
    fn take(&mut self, payload: &Bytes) {
        let Some((id, number)) = parse(payload) else {
            return self.foreign.push(format!("no payload of ours: {payload:?}"));
        };
        if self.seen.insert((id.clone(), number)) {
            self.order.entry(id).or_default().push(number);
        } else {
            self.again += 1;
        }
    }
}
