//! The messages in memory, in the order of tenants and topics.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use weir_protocol::Tenant;

use super::{Full, Message, Options, Stats};

/// Whose message, and on which topic.
pub(super) type Key = (Tenant, Bytes);

/// Bytes that a message takes beside what its client wrote, about.
const FIXED: usize = 256;

/// All messages.
#[derive(Default)]
pub(super) struct Table {
    messages: BTreeMap<Key, Arc<Message>>,
    bytes: usize,
    /// Messages that are being written, on topics that have none, and bytes of all that are: they count as if they were there.
    writing: usize,
    writing_bytes: usize,
    refused: u64,
    pub(super) expired: u64,
    failed: u64,
}

impl Message {
    fn bytes(&self) -> usize {
        FIXED + self.topic.len() + self.payload.len() + self.properties.forwarded.len()
    }
}

impl Table {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Message>> {
        self.messages.get(key)
    }

    /// The messages behind a place.
    pub(super) fn from(&self, from: Bound<&Key>) -> impl Iterator<Item = (&Key, &Arc<Message>)> {
        self.messages.range::<Key, _>((from, Bound::Unbounded))
    }

    /// Takes room for what is about to be written.
    ///
    /// # Errors
    /// [`Full`]; it takes none.
    pub(super) fn reserve(&mut self, key: &Key, message: Option<&Message>, options: Options) -> Result<(), Full> {
        // What is taken out gives its room back once that is written.
        let Some(message) = message else { return Ok(()) };
        let before = self.messages.get(key).map_or(0, |before| before.bytes());
        let bytes = self.bytes + self.writing_bytes + message.bytes();
        // Two at once on a topic that has none count twice.
        let count = self.messages.len() + self.writing + usize::from(before == 0);
        // One that gets no larger may always be replaced.
        if (bytes > options.bytes + before || count > options.messages) && message.bytes() > before {
            self.refused += 1;
            return Err(Full);
        }
        self.writing += 1;
        self.writing_bytes += message.bytes();
        Ok(())
    }

    /// What was reserved is written, or is not.
    pub(super) fn settle(&mut self, key: Key, message: Option<Message>, is_written: bool) {
        if let Some(message) = &message {
            self.writing -= 1;
            self.writing_bytes -= message.bytes();
        }
        if is_written {
            self.put(key, message);
        } else {
            self.failed += 1;
        }
    }

    /// Sets what a topic has.
    pub(super) fn put(&mut self, key: Key, message: Option<Message>) {
        let before = match message {
            Some(message) => {
                self.bytes += message.bytes();
                self.messages.insert(key, Arc::new(message))
            }
            None => self.messages.remove(&key),
        };
        self.bytes -= before.map_or(0, |before| before.bytes());
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            messages: self.messages.len() as u64,
            bytes: self.bytes as u64,
            refused: self.refused,
            expired: self.expired,
            failed: self.failed,
        }
    }
}
