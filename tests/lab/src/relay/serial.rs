//! The serial cable between a board and the agent.
//!
//! A thread copies bytes between two [plugs](super::pty) and shows every good frame to the ledger *before* it
//! is handed on, so an acknowledgement is in the ledger before anybody can act on it. Bytes for a side where
//! nobody listens are gone, as on a real cable; a side that listens but is slow holds the other one back.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::{Down, Up};

use super::pty::{Plug, Received};
use crate::ledger::{Cable, Ledger};

/// Bytes on their way in one direction; when so many wait, reading pauses.
const IN_FLIGHT: usize = 16 * 1024;
/// How often a side that nobody has opened is tried again, and commands are taken when the line is idle.
const IDLE: Duration = Duration::from_millis(5);
/// How long an unchanged line is waited on before commands are looked for.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// What can be done to a cable.
#[derive(Debug)]
enum Order {
    Unplug(mpsc::SyncSender<Result<()>>),
    Replug(mpsc::SyncSender<Result<()>>),
    Inject(Vec<u8>),
}

/// A cable with a relay in it. Dropping it pulls both plugs.
#[derive(Debug)]
pub struct SerialRelay {
    /// The path that the board opens.
    pub board: PathBuf,
    /// The path that the agent opens.
    pub agent: PathBuf,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl SerialRelay {
    /// Lays a cable between the paths `board` and `agent`, observed by `ledger`.
    pub fn new(board: &Path, agent: &Path, ledger: Ledger) -> Result<Self> {
        let (orders, receiver) = mpsc::channel();
        let line = Line {
            board: Plug::new(board)?,
            agent: Some(Plug::new(agent)?),
            agent_path: agent.to_owned(),
            up: Way::new(),
            down: Way::new(),
            cable: ledger.cable(),
        };
        let thread = std::thread::Builder::new().name("cable".into()).spawn(move || line.run(&receiver))?;
        Ok(Self { board: board.to_owned(), agent: agent.to_owned(), orders: Some(orders), thread: Some(thread) })
    }

    /// Pulls the plug out of the agent's side: its path vanishes and its open port fails.
    pub fn unplug(&self) -> Result<()> {
        self.order(Order::Unplug)
    }

    /// Plugs it in again, as a new terminal behind the same path.
    pub fn replug(&self) -> Result<()> {
        self.order(Order::Replug)
    }

    /// Sends `bytes` to the agent as noise on the line. They are not shown to the ledger.
    pub fn inject(&self, bytes: Vec<u8>) -> Result<()> {
        let orders = self.orders.as_ref().ok_or_else(ended)?;
        orders.send(Order::Inject(bytes)).map_err(|_| ended())
    }

    fn order(&self, order: impl FnOnce(mpsc::SyncSender<Result<()>>) -> Order) -> Result<()> {
        let (done, wait) = mpsc::sync_channel(1);
        self.orders.as_ref().ok_or_else(ended)?.send(order(done)).map_err(|_| ended())?;
        wait.recv().map_err(|_| ended())?
    }
}

fn ended() -> anyhow::Error {
    anyhow!("the serial relay has ended")
}

impl Drop for SerialRelay {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One direction: bytes that wait to be handed on, and the frames among them.
struct Way {
    waiting: Vec<u8>,
    decoder: Box<Decoder<MAX_FRAME>>,
}

impl Way {
    fn new() -> Self {
        Self { waiting: Vec::with_capacity(IN_FLIGHT), decoder: Box::new(Decoder::new()) }
    }

    /// Reads what fits from `plug` and shows its frames. Says whether somebody is there.
    fn take(&mut self, plug: &Plug, mut show: impl FnMut(&[u8])) -> bool {
        let used = self.waiting.len();
        self.waiting.resize(IN_FLIGHT, 0);
        let received = plug.read(&mut self.waiting[used..]);
        let length = if let Received::Bytes(length) = received { length } else { 0 };
        self.waiting.truncate(used + length);
        let mut fresh = &self.waiting[used..];
        while let Some(frame) = self.decoder.feed(&mut fresh) {
            // Damaged frames are the system's business, not the ledger's.
            if let Ok(message) = frame {
                show(message);
            }
        }
        received != Received::NobodyThere
    }

    fn give(&mut self, plug: &Plug) {
        let taken = plug.write(&self.waiting);
        self.waiting.drain(..taken);
    }

    fn full(&self) -> bool {
        self.waiting.len() >= IN_FLIGHT
    }
}

/// The state of the thread.
struct Line {
    board: Plug,
    agent: Option<Plug>,
    agent_path: PathBuf,
    up: Way,
    down: Way,
    cable: Cable,
}

impl Line {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        let (mut board_there, mut agent_there) = (true, true);
        loop {
            loop {
                match orders.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            if !self.wait(board_there, agent_there) {
                std::thread::sleep(IDLE);
            }
            if !self.up.full() {
                let cable = &mut self.cable;
                board_there = self.up.take(&self.board, |bytes| {
                    if let Ok(message) = frame::message::<Up<'_>>(bytes) {
                        cable.up(&message);
                    }
                });
            }
            match &self.agent {
                Some(plug) if !self.down.full() => {
                    let cable = &mut self.cable;
                    agent_there = self.down.take(plug, |bytes| {
                        if let Ok(message) = frame::message::<Down>(bytes) {
                            cable.down(&message);
                        }
                    });
                }
                Some(_) => {}
                None => agent_there = false,
            }
            match &self.agent {
                Some(plug) if agent_there => self.up.give(plug),
                _ => self.up.waiting.clear(),
            }
            if board_there {
                self.down.give(&self.board);
            } else {
                self.down.waiting.clear();
            }
        }
    }

    /// Waits for something to do on the sides where somebody is. `false`: nobody is anywhere, or only on a
    /// side that must be polled.
    fn wait(&self, board_there: bool, agent_there: bool) -> bool {
        let interest = |reads: bool, writes: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, writes);
            flags
        };
        let mut fds = Vec::with_capacity(2);
        if board_there {
            let flags = interest(!self.up.full(), !self.down.waiting.is_empty());
            fds.push(PollFd::new(self.board.master(), flags));
        }
        if let Some(plug) = self.agent.as_ref().filter(|_| agent_there) {
            fds.push(PollFd::new(plug.master(), interest(!self.down.full(), !self.up.waiting.is_empty())));
        }
        let ready = !fds.is_empty() && poll(&mut fds, Some(&WAIT)).is_ok();
        // A closed side reports a hang-up at once and for ever: then this must not spin.
        ready && !fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP))
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Unplug(done) => {
                self.agent = None;
                let _ = done.send(Ok(()));
            }
            Order::Replug(done) => {
                let plug = if self.agent.is_some() { Ok(()) } else { self.replug() };
                let _ = done.send(plug);
            }
            Order::Inject(bytes) => self.up.waiting.extend_from_slice(&bytes),
        }
    }

    fn replug(&mut self) -> Result<()> {
        self.agent = Some(Plug::new(&self.agent_path)?);
        Ok(())
    }
}
