//! The load generator: plain sockets, the same for every broker.
//!
//! A publisher keeps at most `window` publishes unanswered and writes as many at once as the window allows.
//! Everything is encoded before the clock starts, so that the broker is what is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};

use super::payload::{Packets, messages, packets};

/// Connections that publish.
pub(super) const PUBLISHERS: usize = 8;
/// Publishes of one connection without an answer.
pub(super) const WINDOW: usize = 100;
/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// CONNACK of MQTT 3.1.1: accepted, no session.
pub(super) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// The first bytes of a PUBACK, and its length.
pub(super) const PUBACK: [u8; 2] = [0x40, 2];
pub(super) const PUBACK_LENGTH: usize = 4;

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Publishes that were answered.
    pub(super) publishes: u64,
    /// Readings in them.
    pub(super) readings: u64,
    /// Bytes of a payload.
    pub(super) payload: usize,
    /// From the first byte to the last answer.
    pub(super) took: Duration,
}

impl Outcome {
    /// Answered publishes a second.
    pub(super) fn rate(&self) -> f64 {
        self.publishes as f64 / self.took.as_secs_f64()
    }
}

/// Publishes `each` batches of up to `size` bytes from every publisher to `broker`. `restart` must be new to the broker.
pub(super) fn run(broker: SocketAddr, each: usize, size: usize, restart: u64) -> Result<Outcome> {
    run_over(|| dial(broker), each, size, restart)
}

/// The same with messages of exactly `size` bytes that are no batches.
pub(super) fn run_messages(broker: SocketAddr, each: usize, size: usize) -> Result<Outcome> {
    let prepared = (0..PUBLISHERS).map(|number| messages(number, each, size)).collect::<Result<Vec<_>>>()?;
    run_packets(|| dial(broker), &prepared)
}

/// The same over whatever `dial` connects.
pub(super) fn run_over<S: Read + Write>(
    dial: impl Fn() -> Result<S> + Sync,
    each: usize,
    size: usize,
    restart: u64,
) -> Result<Outcome> {
    let prepared = (0..PUBLISHERS).map(|number| packets(number, each, size, restart)).collect::<Result<Vec<_>>>()?;
    run_packets(dial, &prepared)
}

/// The same with packets that were made before, as many of each publisher.
pub(super) fn run_packets<S: Read + Write>(
    dial: impl Fn() -> Result<S> + Sync,
    prepared: &[Packets],
) -> Result<Outcome> {
    let first = prepared.first().context("no publisher")?;
    let publishes = prepared.iter().map(|packets| packets.ends.len() as u64).sum::<u64>();
    let (readings, payload) = (first.readings * publishes, first.payload);
    let start = Barrier::new(prepared.len() + 1);
    let publisher = |packets: &Packets| {
        let connected = dial().and_then(|socket| open(socket, packets));
        start.wait();
        publish(connected?, packets)
    };
    let publisher = &publisher;
    let took = std::thread::scope(|scope| -> Result<Duration> {
        let threads: Vec<_> = prepared.iter().map(|packets| scope.spawn(move || publisher(packets))).collect();
        start.wait();
        let begun = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a publisher panicked"))??;
        }
        Ok(begun.elapsed())
    })?;
    Ok(Outcome { publishes, readings, payload, took })
}

/// A restart that no earlier turn or run has used, so that no reading is a repeat.
pub(super) fn new_restart() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_micros() as u64
}

/// A socket to `broker`.
pub(super) fn dial(broker: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(broker).with_context(|| format!("cannot connect to {broker}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Connects, describes the devices and waits for all answers.
pub(super) fn connect(broker: SocketAddr, packets: &Packets) -> Result<TcpStream> {
    open(dial(broker)?, packets)
}

fn open<S: Read + Write>(mut socket: S, packets: &Packets) -> Result<S> {
    socket.write_all(&packets.opening)?;
    let mut answer = vec![0; CONNACK.len() + packets.describes * PUBACK_LENGTH];
    socket.read_exact(&mut answer).context("no answer to CONNECT and describe")?;
    let (connack, pubacks) = answer.split_at(CONNACK.len());
    if connack != CONNACK || pubacks.chunks(PUBACK_LENGTH).any(|puback| puback[..PUBACK.len()] != PUBACK) {
        bail!("got {answer:02x?} as CONNACK and PUBACKs, expected {CONNACK:02x?} and {PUBACK:02x?}..");
    }
    Ok(socket)
}

fn publish(mut socket: impl Read + Write, packets: &Packets) -> Result<()> {
    let all = packets.ends.len();
    let (mut sent, mut answered, mut partial) = (0, 0, 0);
    let mut answers = [0; PUBACK_LENGTH * WINDOW];
    while answered < all {
        let upto = (answered + WINDOW).min(all);
        if upto > sent {
            let from = if sent == 0 { 0 } else { packets.ends[sent - 1] };
            socket.write_all(&packets.bytes[from..packets.ends[upto - 1]]).context("the broker hung up")?;
            sent = upto;
        }
        let length = socket.read(&mut answers[partial..]).context("no answer")?;
        if length == 0 {
            bail!("the broker closed the connection after {answered} of {all} answers");
        }
        let whole = (partial + length) / PUBACK_LENGTH * PUBACK_LENGTH;
        for answer in answers[..whole].chunks(PUBACK_LENGTH) {
            if answer[..2] != PUBACK {
                bail!("got {answer:02x?}, expected a PUBACK");
            }
            answered += 1;
        }
        partial = partial + length - whole;
        answers.copy_within(whole..whole + partial, 0);
    }
    Ok(())
}
