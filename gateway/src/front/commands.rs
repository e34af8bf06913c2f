//! Requests of the gateway to one agent, published on its command topic.
//!
//! They wait until the agent has subscribed and while it has as many unacknowledged as its Receive Maximum
//! allows. A request is lost with its connection: whatever it asked for is asked for again when it is needed
//! again.

use std::collections::VecDeque;

use bytes::BytesMut;
use weir_protocol::batch::command::{self, AgentCommand};

use super::answer::Answer;

/// The most requests that wait for one agent. It has as many schemas at a time as ingest holds batches for,
/// and ingest holds few.
const MAX_WAITING: usize = 64;

/// The requests to one agent.
#[derive(Debug)]
pub(super) struct Commands {
    topic: String,
    /// The QoS granted, once subscribed.
    granted: Option<u8>,
    waiting: VecDeque<AgentCommand>,
    last_pkid: u16,
    unacknowledged: u16,
    receive_maximum: u16,
}

impl Commands {
    /// Nothing asked yet; `topic` is the agent's command topic.
    pub(super) fn new(topic: String, receive_maximum: u16) -> Self {
        Self { topic, granted: None, waiting: VecDeque::new(), last_pkid: 0, unacknowledged: 0, receive_maximum }
    }

    /// The topic that an agent may subscribe to.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The agent listens, at QoS `granted`; `None`: no more.
    pub(super) fn subscribe(&mut self, granted: Option<u8>) {
        self.granted = granted;
    }

    /// Asks the agent; false if too much waits already and the request is dropped.
    pub(super) fn ask(&mut self, command: AgentCommand) -> bool {
        if self.waiting.contains(&command) {
            return true;
        }
        let room = self.waiting.len() < MAX_WAITING;
        if room {
            self.waiting.push_back(command);
        }
        room
    }

    /// The agent acknowledged one; a PUBACK that nobody waits for changes nothing.
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// Writes what may be sent now.
    pub(super) fn flush(&mut self, answer: Answer, out: &mut BytesMut) {
        let Some(qos) = self.granted else { return };
        while qos == 0 || self.unacknowledged < self.receive_maximum {
            let Some(command) = self.waiting.pop_front() else { return };
            let mut pkid = 0;
            if qos > 0 {
                // Packet ids start over at 1; 0 is none (section 2.2.1).
                self.last_pkid = self.last_pkid.checked_add(1).unwrap_or(1);
                self.unacknowledged += 1;
                pkid = self.last_pkid;
            }
            answer.publish(out, &self.topic, pkid, &command::encode(&command));
        }
    }
}
