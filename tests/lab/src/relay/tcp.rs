//! The network between the agent and the gateway: a TCP relay that can cut, stall, delay, throttle and forget.
//!
//! A black hole is what a dead router is: sockets stay open, nothing arrives, in neither direction, and new
//! connections get no answer. When it ends, bytes that were on their way arrive, as TCP would retransmit them.
//! A half-open connection is what is left when a router on the way forgot it, or one end died without a word: the gateway's
//! end is closed, the agent's stays open and silent until the agent gives it up or the relay cuts it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::mqtt::{Direction, Observer};
use super::seal::{Seal, Wire};
use crate::ledger::Ledger;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// How the network behaves.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Connections of an earlier generation are cut.
    generation: u64,
    /// Nothing passes from the agent to the gateway.
    up_held: bool,
    /// Nothing passes from the gateway to the agent.
    down_held: bool,
    /// Every chunk waits so long.
    delay: Duration,
    /// So many bytes a second pass, of each connection in each direction.
    rate: Option<u64>,
    /// Connections of an earlier one have lost the gateway's end.
    half_open: u64,
}

/// A relay on a port of its own. Dropping it closes its connections.
#[derive(Debug)]
pub struct TcpRelay {
    /// Where the agent connects.
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

impl TcpRelay {
    /// Relays every connection on a free port to `gateway`, observed by `ledger`.
    pub async fn new(gateway: SocketAddr, ledger: Ledger) -> Result<Self> {
        Self::start(gateway, Some(ledger), None).await
    }

    /// The same, unobserved: whoever connects keeps a ledger itself.
    pub async fn unobserved(gateway: SocketAddr) -> Result<Self> {
        Self::start(gateway, None, None).await
    }

    /// The same where both sides speak TLS.
    pub async fn sealed(gateway: SocketAddr, ledger: Ledger, seal: Seal) -> Result<Self> {
        Self::start(gateway, Some(ledger), Some(seal)).await
    }

    async fn start(gateway: SocketAddr, ledger: Option<Ledger>, seal: Option<Seal>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1 for the relay")?;
        let address = listener.local_addr().context("the relay has no address")?;
        let (weather, watcher) = watch::channel(Weather::default());
        let task = tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                tokio::spawn(connection(agent, gateway, seal.clone(), watcher.clone(), ledger.clone()));
            }
        });
        Ok(Self { address, weather, task })
    }

    /// Closes every connection, once.
    pub fn cut(&self) {
        self.weather.send_modify(|w| w.generation += 1);
    }

    /// Drops everything in both directions until [`TcpRelay::clear`].
    pub fn black_hole(&self) {
        self.weather.send_modify(|w| (w.up_held, w.down_held) = (true, true));
    }

    /// Lets publishes through but no answers until [`TcpRelay::clear`], so that the agent must send again
    /// what the gateway has stored already.
    pub fn hold_answers(&self) {
        self.weather.send_modify(|w| w.down_held = true);
    }

    /// Delays everything by `delay`.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|w| w.delay = delay);
    }

    /// Lets so many bytes a second pass, of each connection in each direction.
    pub fn throttle(&self, bytes_a_second: u64) {
        self.weather.send_modify(|w| w.rate = Some(bytes_a_second.max(1)));
    }

    /// Closes the gateway's end of every connection and tells the other end nothing. Connections that begin later are whole.
    pub fn half_open(&self) {
        self.weather.send_modify(|w| w.half_open += 1);
    }

    /// Good weather again. What is half open stays so.
    pub fn clear(&self) {
        self.weather
            .send_modify(|w| *w = Weather { generation: w.generation, half_open: w.half_open, ..Weather::default() });
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

/// One connection of the agent, until either side closes it or it is cut.
async fn connection(
    agent: TcpStream,
    gateway: SocketAddr,
    seal: Option<Seal>,
    weather: watch::Receiver<Weather>,
    ledger: Option<Ledger>,
) {
    let (generation, half_open) = (weather.borrow().generation, weather.borrow().half_open);
    let Some(()) = passable(weather.clone(), generation, Direction::Up).await else { return };
    // A gateway that is down looks to the agent like a connection that closes at once.
    let Ok(gateway) = TcpStream::connect(gateway).await else { return };
    let _ = (agent.set_nodelay(true), gateway.set_nodelay(true));
    let (agent, gateway): (Box<dyn Wire>, Box<dyn Wire>) = match seal {
        None => (Box::new(agent), Box::new(gateway)),
        Some(seal) => {
            // Whom one side does not let in gets nothing of the other.
            let Ok(gateway) = seal.connect(gateway).await else { return };
            let Ok(agent) = seal.accept(agent).await else { return };
            (agent, gateway)
        }
    };
    let (mut from_agent, mut to_agent) = split(agent);
    let (mut from_gateway, mut to_gateway) = split(gateway);
    let observer = ledger.map(Observer::new);
    let mut forgotten = weather.clone();
    let is_half_open = tokio::select! {
        () = copy(&mut from_agent, &mut to_gateway, Direction::Up, generation, weather.clone(), observer.clone()) => false,
        () = copy(&mut from_gateway, &mut to_agent, Direction::Down, generation, weather.clone(), observer) => false,
        _ = forgotten.wait_for(|w| w.half_open != half_open) => true,
    };
    if is_half_open {
        drop((from_gateway, to_gateway));
        swallow(from_agent, generation, weather).await;
    }
}

/// Takes what the agent still sends into a connection that leads nowhere, until it gives up or is cut.
async fn swallow(mut from: ReadHalf<Box<dyn Wire>>, generation: u64, mut weather: watch::Receiver<Weather>) {
    let mut nowhere = tokio::io::sink();
    tokio::select! {
        _ = tokio::io::copy(&mut from, &mut nowhere) => {}
        _ = weather.wait_for(|w| w.generation != generation) => {}
    }
}

/// Copies one direction. What arrives is shown to the ledger even if it is held afterwards: the gateway said it.
async fn copy(
    from: &mut ReadHalf<Box<dyn Wire>>,
    to: &mut WriteHalf<Box<dyn Wire>>,
    direction: Direction,
    generation: u64,
    weather: watch::Receiver<Weather>,
    observer: Option<Observer>,
) {
    let mut chunk = vec![0; CHUNK];
    let mut cut = weather.clone();
    loop {
        // Small bites where little passes, or nothing would for seconds and then much at once.
        let most = weather.borrow().rate.map_or(CHUNK, |rate| (rate / 20).clamp(1, CHUNK as u64) as usize);
        let length = tokio::select! {
            read = from.read(&mut chunk[..most]) => match read { Ok(length) if length > 0 => length, _ => return },
            _ = cut.wait_for(|w| w.generation != generation) => return,
        };
        if let Some(observer) = &observer {
            observer.see(direction, &chunk[..length]);
        }
        let Weather { delay, rate, .. } = *weather.borrow();
        let delay = delay + rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(length as f64 / rate as f64));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let Some(()) = passable(weather.clone(), generation, direction).await else { return };
        // TLS may hold back what was written until it is flushed.
        if to.write_all(&chunk[..length]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

/// Waits until nothing holds this direction; `None` when the connection is cut meanwhile.
async fn passable(mut weather: watch::Receiver<Weather>, generation: u64, direction: Direction) -> Option<()> {
    let held = |w: &Weather| if direction == Direction::Up { w.up_held } else { w.down_held };
    let state = weather.wait_for(|w| w.generation != generation || !held(w)).await.ok()?;
    (state.generation == generation).then_some(())
}
