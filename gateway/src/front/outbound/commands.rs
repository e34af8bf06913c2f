//! Requests of the gateway to one agent, published on its command topic.
//!
//! They wait until the agent has subscribed and while it has as many messages unacknowledged as it takes
//! ([`super::window`]). A request is lost with its connection: whatever it asked for is asked for again when it is needed
//! again.

use std::collections::VecDeque;

use bytes::BytesMut;
use weir_protocol::batch::command::{self, AgentCommand};

use super::window::Window;
use crate::delivery::Origin;
use crate::mqtt::packet::QoS;
use crate::mqtt::write::{self, Writer};

/// The most requests that wait for one agent. It has as many schemas at a time as ingest holds batches for,
/// and ingest holds few.
const MAX_WAITING: usize = 64;
/// The most that they take, in bytes.
pub(super) const MOST: usize = MAX_WAITING * size_of::<AgentCommand>();

/// The requests to one agent.
#[derive(Debug)]
pub(super) struct Commands {
    topic: String,
    /// The QoS granted, once subscribed.
    granted: Option<QoS>,
    waiting: VecDeque<AgentCommand>,
}

impl Commands {
    /// Nothing asked yet; `topic` is the agent's command topic.
    pub(super) fn new(topic: String) -> Self {
        Self { topic, granted: None, waiting: VecDeque::new() }
    }

    /// The topic that an agent may subscribe to.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The agent listens, at QoS `granted`.
    pub(super) fn subscribe(&mut self, granted: QoS) {
        self.granted = Some(granted);
    }

    /// The agent listens no more; whether it did.
    pub(super) fn unsubscribe(&mut self) -> bool {
        self.granted.take().is_some()
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

    /// Writes what may be sent now.
    pub(super) fn flush(&mut self, writer: Writer, window: &mut Window, out: &mut BytesMut) {
        let Some(qos) = self.granted else { return };
        while qos == QoS::AtMostOnce || window.room() > 0 {
            let Some(command) = self.waiting.pop_front() else { return };
            let id = if qos == QoS::AtMostOnce { 0 } else { window.take(Origin::Passing) };
            let payload = command::encode(&command);
            let packet = write::Message {
                qos,
                topic: self.topic.as_bytes(),
                id,
                payload: &payload,
                ..write::Message::default()
            };
            if writer.publish(out, &packet).is_err() {
                // An agent that takes no command has none.
                window.done(id);
            }
        }
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.waiting.capacity() * size_of::<AgentCommand>()
    }
}
