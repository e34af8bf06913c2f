//! Live fan-out: one publisher at QoS 1, a hundred subscribers at QoS 0, over loopback sockets; the gateway delivers
//! what is committed, rumqttd what it was told.
//!
//! The clients are the same for both, and as cheap as they can be: everything is encoded before the clock starts, and
//! as all messages that a subscriber gets have the same length, it only counts bytes. The publisher waits for the
//! slowest subscriber, so that nothing is lost on either side and what is measured is delivery.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Measure;
use super::publish::{gateway_with, stop};
use super::rumqttd::Peer;
use super::side::cpu_seconds;
use super::table::{median, ratios, short, spread};
use crate::binaries::Binaries;
use crate::deployment::Scratch;

/// Subscribers.
const SUBSCRIBERS: usize = 100;
/// Messages of one turn.
const MESSAGES: usize = 50_000;
/// Turns of each side.
const TURNS: usize = 5;
/// Bytes of a payload.
const PAYLOAD: usize = 100;
/// Messages that the slowest subscriber may have yet to get.
const WINDOW: usize = 2000;
/// Messages that are written at once.
const BURST: usize = 100;
/// Packet ids are used up to here, so that none is used twice in a window.
const IDS: usize = 10_000;
/// The longest that nothing may come.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
/// How long what is measured may take to answer an opening.
const ANSWER: Duration = Duration::from_secs(10);
/// Where it is published.
const TOPIC: &str = "fan/out";
/// Bytes of a PUBLISH at QoS 0 on that topic.
const MESSAGE: usize = 2 + 2 + TOPIC.len() + PAYLOAD;
const _: () = assert!(MESSAGE - 2 < 128, "the length has one byte");
/// What the gateway has to be told.
const SETTINGS: &str = "[[mqtt.store]]\nfilter = \"fan/#\"\n";

#[derive(Default)]
struct Side {
    /// Messages delivered a second.
    rates: Vec<f64>,
    /// Processor time of the server for one delivery, in microseconds.
    cpu_micros: Vec<f64>,
}

impl Side {
    fn turn(&mut self, pid: i32, clients: &mut Clients, messages: usize) -> Result<()> {
        let before = cpu_seconds(pid);
        let took = tokio::task::block_in_place(|| clients.turn(messages))?;
        let delivered = (messages * SUBSCRIBERS) as f64;
        self.rates.push(delivered / took.as_secs_f64());
        self.cpu_micros.push((cpu_seconds(pid) - before) * 1e6 / delivered);
        Ok(())
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rate, cpu) = (median(self.rates.clone()), median(self.cpu_micros.clone()));
        write!(f, "{} deliveries/s, {cpu:.2} us CPU each", short(rate))
    }
}

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    let messages = if quick { MESSAGES / 10 } else { MESSAGES };
    let mut deployment = gateway_with(binaries, SETTINGS).await?;
    let scratch = Scratch::new()?;
    let peer = Peer::start(&scratch, binaries).await?;
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    let mut of_ours = Clients::connect(deployment.mqtt)?;
    let mut of_theirs = Clients::connect(peer.address)?;
    for _ in 0..TURNS {
        ours.turn(deployment.gateway.pid(), &mut of_ours, messages)?;
        theirs.turn(peer.process.pid(), &mut of_theirs, messages)?;
    }
    drop((of_ours, of_theirs));
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    scratch.remove()?;
    let ratio = spread(&ratios(&ours.rates, &theirs.rates));
    Ok(vec![Measure {
        what: format!(
            "live fan-out of committed messages of {PAYLOAD} B to {SUBSCRIBERS} subscribers at QoS 0, one publisher at QoS 1"
        ),
        got: Some(format!("{ratio} times; {ours}")),
        reference: format!("rumqttd with its own listener, in memory: {theirs}"),
        goal: "0.7x".to_owned(),
    }])
}

/// A publisher and its subscribers.
struct Clients {
    publisher: TcpStream,
    subscribers: Vec<Subscriber>,
    /// PUBLISH packets with all packet ids, and where each ends.
    packets: Vec<u8>,
    ends: Vec<usize>,
    /// Messages that were ever sent.
    sent: usize,
    buffer: Vec<u8>,
}

struct Subscriber {
    socket: TcpStream,
    bytes: usize,
}

impl Clients {
    fn connect(address: SocketAddr) -> Result<Self> {
        let (mut packets, mut ends) = (BytesMut::new(), Vec::with_capacity(IDS));
        for id in 1..=IDS {
            let mut publish = v4::Publish::new(TOPIC, QoS::AtLeastOnce, vec![b'x'; PAYLOAD]);
            publish.pkid = id as u16;
            publish.write(&mut packets).context("PUBLISH")?;
            ends.push(packets.len());
        }
        let subscribers = (0..SUBSCRIBERS).map(|number| Subscriber::connect(address, number)).collect::<Result<_>>()?;
        let publisher = open(address, "fan-publisher", None)?;
        Ok(Self { publisher, subscribers, packets: packets.to_vec(), ends, sent: 0, buffer: vec![0; 256 << 10] })
    }

    /// Publishes `messages` and waits until every subscriber has all of them.
    fn turn(&mut self, messages: usize) -> Result<Duration> {
        let begun = Instant::now();
        let all = self.sent + messages;
        // What is to be written of `packets`.
        let mut writing = 0..0;
        loop {
            let slowest = self.subscribers.iter().map(Subscriber::messages).min().unwrap_or(all);
            if slowest == all {
                return Ok(begun.elapsed());
            }
            if writing.is_empty() && self.sent < all && self.sent - slowest + BURST <= WINDOW {
                let (from, count) = (self.sent % IDS, BURST.min(all - self.sent));
                let start = if from == 0 { 0 } else { self.ends[from - 1] };
                writing = start..self.ends[(from + count).min(IDS) - 1];
                self.sent += count.min(IDS - from);
            }
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, !writing.is_empty());
            let mut polled = vec![PollFd::from_borrowed_fd(self.publisher.as_fd(), flags)];
            let sockets = self.subscribers.iter().map(|subscriber| subscriber.socket.as_fd());
            polled.extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
            ensure!(poll(&mut polled, Some(&PATIENCE))? > 0, "a subscriber has {slowest} of {} messages", self.sent);
            let ready: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
            drop(polled);
            if ready[0].contains(PollFlags::OUT) {
                writing.start += ignore_busy(self.publisher.write(&self.packets[writing.clone()]))?;
            }
            if ready[0].contains(PollFlags::IN) {
                // PUBACKs.
                ignore_busy(self.publisher.read(&mut self.buffer))?;
            }
            for (subscriber, _) in self.subscribers.iter_mut().zip(&ready[1..]).filter(|(_, ready)| !ready.is_empty()) {
                subscriber.bytes += ignore_busy(subscriber.socket.read(&mut self.buffer))?;
            }
        }
    }
}

impl Subscriber {
    fn connect(address: SocketAddr, number: usize) -> Result<Self> {
        let mut subscribe = v4::Subscribe::new(TOPIC, QoS::AtMostOnce);
        subscribe.pkid = 1;
        let socket = open(address, &format!("fan-{number}"), Some(subscribe))?;
        Ok(Self { socket, bytes: 0 })
    }

    fn messages(&self) -> usize {
        self.bytes / MESSAGE
    }
}

/// What was moved; nothing if the socket has to be waited for.
fn ignore_busy(moved: std::io::Result<usize>) -> Result<usize> {
    match moved {
        Ok(0) => bail!("the broker closed a connection"),
        Ok(count) => Ok(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error).context("a connection broke"),
    }
}

/// Connects, subscribes, and waits for the answers.
fn open(address: SocketAddr, client: &str, subscribe: Option<v4::Subscribe>) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER))?;
    let mut packets = BytesMut::new();
    let mut connect = v4::Connect::new(client);
    connect.keep_alive = 600;
    connect.write(&mut packets).context("CONNECT")?;
    socket.write_all(&packets)?;
    let mut connack = [0; 4];
    socket.read_exact(&mut connack).context("no CONNACK")?;
    ensure!(connack == [0x20, 2, 0, 0], "got {connack:02x?} as CONNACK");
    if let Some(subscribe) = subscribe {
        let mut packets = BytesMut::new();
        subscribe.write(&mut packets).context("SUBSCRIBE")?;
        socket.write_all(&packets)?;
        let mut suback = [0; 5];
        socket.read_exact(&mut suback).context("no SUBACK")?;
        ensure!(suback == [0x90, 3, 0, 1, 0], "got {suback:02x?} as SUBACK");
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
