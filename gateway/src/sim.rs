//! A gateway whose every step is the caller's, for the simulation of a whole Weir. Not part of the interface of this package.
//!
//! What it guarantees: sessions, ingest, keeper, recovery and the logs are those of a real gateway, on a disk in memory that
//! fails as it is told. The caller is its network, its clocks and its scheduler: nothing happens between two calls, so the
//! same calls come to the same gateway.
//!
//! ```text
//! receive -> session (front::sim) -> ingest, step by step (ingest::stepwise) -> step_commit -> topics
//! output  <- session <---------------- verdicts, once the group is committed
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use weir_protocol::Timestamp;
use weir_storage::{Batch, CommitError, FaultyFs, Part};

use crate::front::session::Limits;
use crate::front::sim::{Conversation, House};
use crate::ingest::keeper::Removal;
use crate::ingest::stepwise::{self, Peer};
use crate::ingest::{IngestOptions, Message, Sender};
use crate::topics::{Topics, layout};

/// A gateway.
pub struct Gateway {
    house: House,
    ingest: stepwise::Gateway,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    commit: Commit,
    /// Parts of the group in flight that ended while others wait for room.
    settled: Vec<Part>,
    /// The log whose damage is being counted, until somebody hangs up.
    counting: Option<(usize, Receiver<()>)>,
}

struct Client {
    conversation: Conversation,
    /// The way into ingest of one that was let in.
    peer: Option<Peer>,
}

/// How far a commit is.
#[derive(Default)]
enum Commit {
    /// None is under way.
    #[default]
    None,
    /// The group is in the committer's hands.
    Taken(Vec<(usize, Batch)>),
    /// It was written, or was not; nobody was told.
    Written(Vec<Part>),
}

/// What one step of a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to commit.
    Idle,
    /// A group was given to the committer.
    Taken,
    /// It was written and synced, as far as the disk let it.
    Written,
    /// There was no room for all of it: the rest is tried again.
    NoRoom,
    /// Verdicts were told.
    Told,
}

impl Gateway {
    /// Starts on what is on the disk, when the wall clock shows `wall_ms`. `receive_maximum`: messages that a client may have in
    /// flight.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn start(fs: &FaultyFs, options: IngestOptions, wall_ms: i64, receive_maximum: u16) -> Result<Self, String> {
        let limits = Limits { receive_maximum, budget: 4 << 20 };
        let ingest = stepwise::Gateway::start(fs.clone(), options, wall_ms).map_err(|error| error.to_string())?;
        Ok(Self {
            house: House::new(limits)?,
            ingest,
            clients: BTreeMap::new(),
            next_client: 0,
            commit: Commit::None,
            settled: Vec::new(),
            counting: None,
        })
    }

    /// What recovery found damaged: the logs, in words.
    pub fn damaged(&self) -> Vec<String> {
        self.ingest.report.damaged_logs().iter().map(|log| format!("log {log}")).collect()
    }

    /// A client connected; its number.
    pub fn accept(&mut self) -> u64 {
        let id = self.next_client;
        self.next_client += 1;
        self.clients.insert(id, Client { conversation: Conversation::new(), peer: None });
        id
    }

    /// Bytes of a client came.
    pub fn receive(&mut self, id: u64, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.conversation.receive(bytes);
        if let Some(caller) = client.conversation.caller() {
            let sender = caller.sender();
            self.take_over(&sender);
            let Some(client) = self.clients.get_mut(&id) else { return };
            client.conversation.let_in(caller, &self.house);
            if client.conversation.is_let_in() {
                client.peer = Some(self.ingest.connect_as(sender));
            }
        }
        self.read(id);
    }

    /// A client whose connection is thought to stand connects anew: the earlier connection is over.
    fn take_over(&mut self, sender: &Sender) {
        let is_same = |client: &Client| client.peer.as_ref().is_some_and(|peer| peer.sender == *sender);
        let Some((_, earlier)) = self.clients.iter_mut().find(|(_, client)| is_same(client)) else { return };
        earlier.conversation.taken_over();
        if let Some(peer) = earlier.peer.take() {
            self.ingest.engine.disconnect(peer.id);
        }
    }

    /// Takes what a client sent, as far as there is room.
    fn read(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let messages: Vec<Message> = client.conversation.read();
        let arrival = Timestamp::from_millis(self.ingest.wall_ms);
        if let Some(peer) = &client.peer {
            for message in messages {
                self.ingest.submit(peer, arrival, message);
            }
        }
        self.ingest.engine.advance();
        self.tell();
    }

    /// Tells clients what ingest says to them, and lets go of those whose conversation is over.
    fn tell(&mut self) {
        let mut moved = Vec::new();
        for (id, client) in &mut self.clients {
            let Some(peer) = &mut client.peer else { continue };
            let events = peer.events();
            if !events.is_empty() {
                moved.push(*id);
            }
            events.into_iter().for_each(|event| client.conversation.told(event));
            if client.conversation.is_over() {
                self.ingest.engine.disconnect(peer.id);
                client.peer = None;
            }
        }
        // What waited for room behind them.
        for id in moved {
            self.read(id);
        }
    }

    /// Bytes for a client.
    pub fn output(&mut self, id: u64) -> Bytes {
        self.clients.get_mut(&id).map(|client| client.conversation.take_output()).unwrap_or_default()
    }

    /// Whether the gateway closes this connection once its output has left.
    pub fn is_over(&self, id: u64) -> bool {
        self.clients.get(&id).is_none_or(|client| client.conversation.is_over())
    }

    /// The transport of a client is gone.
    pub fn hang_up(&mut self, id: u64) {
        let Some(mut client) = self.clients.remove(&id) else { return };
        client.conversation.hung_up();
        if let Some(peer) = client.peer {
            self.ingest.engine.disconnect(peer.id);
        }
    }

    /// Lets time pass, by the monotonic clock; the wall clock shows `wall_ms` then.
    pub fn pass(&mut self, time: Duration, wall_ms: i64) {
        self.ingest.wall_ms = wall_ms;
        self.ingest.pass(time);
        self.tell();
    }

    /// The next step of a commit.
    pub fn step_commit(&mut self) -> Progress {
        match std::mem::take(&mut self.commit) {
            Commit::None => match self.ingest.engine.take_group() {
                None => Progress::Idle,
                Some(parts) => {
                    self.commit = Commit::Taken(parts);
                    // Verdicts that a planted fault gives away.
                    self.tell();
                    Progress::Taken
                }
            },
            Commit::Taken(parts) => {
                self.commit = Commit::Written(self.ingest.writer.write(parts));
                Progress::Written
            }
            Commit::Written(parts) => self.committed(parts),
        }
    }

    /// As the engine's thread does it: where there was no room nothing was written, and it is tried again, unless another
    /// part failed for good.
    fn committed(&mut self, parts: Vec<Part>) -> Progress {
        let no_room = |part: &Part| part.result.as_ref().is_err_and(CommitError::is_full);
        let (full, ended): (Vec<_>, Vec<_>) = parts.into_iter().partition(no_room);
        self.settled.extend(ended);
        if !full.is_empty() && self.settled.iter().all(|part| part.result.is_ok()) {
            self.commit = Commit::Taken(full.into_iter().map(|part| (part.log, part.batch)).collect());
            return Progress::NoRoom;
        }
        self.settled.extend(full);
        self.ingest.engine.committed(std::mem::take(&mut self.settled));
        self.ingest.engine.advance();
        self.tell();
        Progress::Told
    }

    /// Whether nothing waits to be committed or answered.
    pub fn is_idle(&self) -> bool {
        matches!(self.commit, Commit::None) && self.ingest.engine.is_idle()
    }

    /// Writes the checkpoints that are due.
    ///
    /// # Errors
    /// What could not be written; it is tried again.
    pub fn keep(&mut self) -> Result<(), String> {
        self.ingest.keep().map_err(|error| error.to_string())
    }

    /// One look of retention at every log; how many of them begin later than before.
    pub fn retain(&mut self) -> usize {
        self.ingest.retain().into_iter().filter(|ended| matches!(ended, Ok(Removal::Upto(_)))).count()
    }

    /// One look for damage in every log: what it took is counted as lost by the commits that follow. Whether nothing is left
    /// to count.
    ///
    /// # Errors
    /// Why it cannot be told what is gone.
    pub fn scrub(&mut self) -> Result<bool, String> {
        if let Some((log, over)) = self.counting.take() {
            if over.try_recv() == Err(TryRecvError::Empty) {
                self.counting = Some((log, over));
                return Ok(false);
            }
            // Unwritten, it is found again by the next start, and counts once.
            let _ = self.ingest.remember(log);
        }
        let Some(damaged) = self.ingest.look_for_damage() else { return Ok(false) };
        for log in damaged {
            let accounted = self.ingest.account(log)?;
            if accounted.sequences > 0 {
                self.counting = Some((log, accounted.over));
                self.tell();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The file of a segment.
    pub fn segment(topic: &str, partition: u32, base: u64) -> PathBuf {
        layout::partition_dir(Path::new(stepwise::DATA), topic, partition).join(format!("{base:020}.log"))
    }

    /// What consumers read.
    pub fn topics(&self) -> &Topics {
        &self.ingest.topics
    }
}
