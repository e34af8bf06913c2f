//! The network between agents and the gateway: streams of bytes in order, each direction with a delay of its own; it is cut,
//! falls silent, forgets one end, and loses what is on the way when a connection ends.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use weir_agent::mqtt::sim::{Line, dialled};
use weir_gateway::sim::Gateway;
use weir_lab::ledger::Ledger;
use weir_lab::relay::mqtt::{Direction, Observer};

use crate::trace::Trace;

/// How long an agent waits for CONNACK, in microseconds; as its event loop does.
const CONNECT_TIMEOUT: u64 = 10_000_000;
/// How long the gateway keeps a connection whose other end is gone without a word, in microseconds.
const SILENCE: u64 = 45_000_000;

/// The network.
pub(crate) struct Network {
    connections: Vec<Connection>,
    ledger: Ledger,
    /// Nothing passes, and nothing is refused, until then.
    silent_until: u64,
    /// The longest delay of a packet, in microseconds.
    pub(crate) delay: u64,
    opened: u64,
}

/// One connection.
struct Connection {
    number: u64,
    line: Line,
    /// The gateway's number for it, once it reached it.
    at_gateway: Option<u64>,
    up: Stream,
    down: Stream,
    dialled_at: u64,
    observer: Observer,
    /// The agent's end is gone, and what it sent last may be on the way.
    left: Option<Left>,
    /// The gateway's end is gone.
    is_deaf: bool,
}

/// How an agent's end went.
#[derive(Clone, Copy)]
enum Left {
    /// In order: the gateway is told behind the last byte.
    Closed,
    /// Without a word, then.
    Vanished(u64),
}

/// One direction.
#[derive(Default)]
struct Stream {
    packets: VecDeque<(u64, Bytes)>,
    last_at: u64,
}

impl Stream {
    fn push(&mut self, now: u64, delay: u64, bytes: Bytes, random: &mut StdRng) {
        // Never before what was sent before.
        self.last_at = self.last_at.max(now + random.random_range(0..=delay));
        // Not where packets of MQTT end.
        let at = if bytes.len() > 1 { random.random_range(0..bytes.len()) } else { 0 };
        let (first, second) = (bytes.slice(..at), bytes.slice(at..));
        self.packets
            .extend([first, second].into_iter().filter(|part| !part.is_empty()).map(|part| (self.last_at, part)));
    }

    fn take(&mut self, now: u64) -> Option<Bytes> {
        self.packets.pop_front_if(|(at, _)| *at <= now).map(|(_, bytes)| bytes)
    }
}

/// What happens to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Both ends learn of it.
    Both,
    /// The gateway does not.
    AgentOnly,
    /// The agent does not.
    GatewayOnly,
}

impl Network {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { connections: Vec::new(), ledger, silent_until: 0, delay: 20_000, opened: 0 }
    }

    /// Nothing passes until then.
    pub(crate) fn fall_silent(&mut self, until: u64) {
        self.silent_until = self.silent_until.max(until);
    }

    /// It is well again.
    pub(crate) fn heal(&mut self) {
        self.silent_until = 0;
    }

    /// Ends one connection, if there is one.
    pub(crate) fn cut(&mut self, cut: Cut, gateway: Option<&mut Gateway>, now: u64, random: &mut StdRng) {
        let open: Vec<_> = (0..self.connections.len()).filter(|at| self.connections[*at].left.is_none()).collect();
        if open.is_empty() {
            return;
        }
        let connection = &mut self.connections[open[random.random_range(0..open.len())]];
        if cut != Cut::GatewayOnly {
            connection.line.close("connection reset by peer");
            connection.left = Some(Left::Vanished(now));
            connection.up.packets.clear();
        }
        if cut != Cut::AgentOnly {
            connection.is_deaf = true;
            if let (Some(gateway), Some(id)) = (gateway, connection.at_gateway.take()) {
                gateway.hang_up(id);
            }
        }
        connection.down.packets.clear();
    }

    /// The gateway is gone, and with it what it knew of connections; agents learn of it, or do not.
    pub(crate) fn gateway_gone(&mut self, random: &mut StdRng) {
        for connection in &mut self.connections {
            connection.at_gateway = None;
            connection.is_deaf = true;
            connection.down.packets.clear();
            if random.random_bool(0.7) {
                connection.line.close("connection reset by peer");
            }
        }
    }

    /// Moves what is due at `now`. Whether anything is on the way.
    pub(crate) fn step(
        &mut self,
        now: u64,
        mut gateway: Option<&mut Gateway>,
        random: &mut StdRng,
        trace: &mut Trace,
    ) -> bool {
        for line in dialled() {
            let number = self.opened;
            self.opened += 1;
            trace.note("dialled", number, &[], || line.client_id());
            if gateway.is_none() && random.random_bool(0.7) {
                line.close("connection refused");
            }
            self.connections.push(Connection {
                number,
                line,
                at_gateway: None,
                up: Stream::default(),
                down: Stream::default(),
                dialled_at: now,
                observer: Observer::new(self.ledger.clone()),
                left: None,
                is_deaf: gateway.is_none(),
            });
        }
        let is_silent = now < self.silent_until;
        let delay = self.delay;
        for connection in &mut self.connections {
            connection.step(now, is_silent, delay, gateway.as_deref_mut(), random, trace);
        }
        self.connections.retain(|connection| connection.left.is_none() || connection.at_gateway.is_some());
        self.connections.iter().any(|connection| connection.is_busy())
    }
}

impl Connection {
    fn is_busy(&self) -> bool {
        !self.up.packets.is_empty() || !self.down.packets.is_empty()
    }

    fn step(
        &mut self,
        now: u64,
        is_silent: bool,
        delay: u64,
        gateway: Option<&mut Gateway>,
        random: &mut StdRng,
        trace: &mut Trace,
    ) {
        self.line.tell();
        let said = self.line.take_output();
        if !said.is_empty() {
            trace.note("agent sends on", self.number, &said, || format!("{} bytes", said.len()));
            self.observer.see(Direction::Up, &said);
            self.up.push(now, delay, said, random);
        }
        if self.left.is_none() && self.line.has_hung_up() {
            trace.note("agent leaves", self.number, &[], String::new);
            self.left = Some(if self.is_deaf { Left::Vanished(now) } else { Left::Closed });
        }
        if !self.line.is_connected() && self.left.is_none() && now >= self.dialled_at + CONNECT_TIMEOUT {
            self.line.close("no CONNACK in time");
        }
        let Some(gateway) = gateway.filter(|_| !self.is_deaf) else {
            self.up.packets.clear();
            return;
        };
        if is_silent {
            return;
        }
        while let Some(bytes) = self.up.take(now) {
            let id = *self.at_gateway.get_or_insert_with(|| gateway.accept());
            gateway.receive(id, &bytes);
        }
        let Some(id) = self.at_gateway else { return };
        let said = gateway.output(id);
        if !said.is_empty() {
            trace.note("gateway sends on", self.number, &said, || format!("{} bytes", said.len()));
            self.observer.see(Direction::Down, &said);
            if self.left.is_none() {
                self.down.push(now, delay, said, random);
            }
        }
        while let Some(bytes) = self.down.take(now) {
            self.line.receive(&bytes);
        }
        let has_left = match self.left {
            Some(Left::Closed) => self.up.packets.is_empty(),
            Some(Left::Vanished(at)) => now >= at + SILENCE,
            None => false,
        };
        if has_left || gateway.is_over(id) && self.down.packets.is_empty() {
            trace.note("gateway leaves", self.number, &[], String::new);
            gateway.hang_up(id);
            self.at_gateway = None;
            self.is_deaf = true;
            self.line.close("closed by the gateway");
            self.left.get_or_insert(Left::Vanished(now));
        }
    }
}
