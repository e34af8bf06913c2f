//! What a connection is made of beside its session: its bytes in both directions, and what it listens to.

use std::future::Future;
use std::pin::Pin;

use bytes::BytesMut;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::buffer::ReadBuffer;
use super::memory::Held;
use crate::ingest::Event;
use crate::sessions::Taken;

/// The bytes of a connection in both directions.
pub(super) struct Wire<S> {
    pub(super) reader: ReadHalf<S>,
    pub(super) writer: WriteHalf<S>,
    pub(super) input: ReadBuffer,
    pub(super) output: BytesMut,
    pub(super) held: Held,
}

impl<S> Wire<S> {
    /// Counts what the connection holds, `session` bytes of it in the session.
    pub(super) fn count(&mut self, session: usize) {
        self.held.set(self.input.held() + self.output.capacity() + session);
    }

    /// Gives back what the buffers hold for traffic that there is not.
    pub(super) fn trim(&mut self) {
        self.input.trim();
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }
}

/// What else a connection listens to.
pub(super) struct Signals {
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    pub(super) taken: oneshot::Receiver<Taken>,
    /// What lets the client in was revoked.
    pub(super) revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) stop: watch::Receiver<bool>,
    /// `stop` was heard.
    pub(super) stopping: bool,
}

impl Signals {
    pub(super) fn new(
        events: mpsc::UnboundedReceiver<Event>,
        taken: oneshot::Receiver<Taken>,
        stop: watch::Receiver<bool>,
        revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Self {
        Self { events, taken, revoked, stop, stopping: false }
    }
}
