//! A device on a pty: the test holds the master end and speaks frames.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::{Down, Up};

use crate::support::pty;

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Board {
    from_agent: Receiver,
    to_agent: Sender,
    /// Held open, so that the master has a peer before the agent comes.
    _slave: OwnedFd,
    decoder: Decoder<MAX_FRAME>,
    unread: Vec<u8>,
    path: PathBuf,
}

impl Board {
    /// Plugs a cable in: `path` becomes a line.
    pub(crate) fn plug(path: &Path) -> Self {
        let (from_agent, to_agent, slave) = pty::plug(path);
        Self { from_agent, to_agent, _slave: slave, decoder: Decoder::new(), unread: Vec::new(), path: path.to_owned() }
    }

    /// Pulls the cable.
    pub(crate) fn unplug(self) {
        std::fs::remove_file(&self.path).expect("a cable");
    }

    pub(crate) async fn says(&mut self, up: &Up<'_>) {
        self.sends(&frame::to_vec(up).expect("a frame that fits")).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn sends(&mut self, bytes: &[u8]) {
        self.to_agent.write_all(bytes).await.expect("a cable");
    }

    /// The next message of the agent for which `wanted` has an answer; others are passed over.
    pub(crate) async fn hears<T>(&mut self, wanted: impl Fn(Down) -> Option<T>) -> T {
        let heard = async {
            loop {
                let mut bytes = &self.unread[..];
                while let Some(found) = self.decoder.feed(&mut bytes) {
                    let down = frame::message::<Down>(found.expect("a good frame")).expect("a message");
                    if let Some(answer) = wanted(down) {
                        self.unread = bytes.to_vec();
                        return answer;
                    }
                }
                let mut buffer = [0; 1024];
                let length = self.from_agent.read(&mut buffer).await.expect("a cable");
                self.unread = buffer[..length].to_vec();
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("the agent said nothing of that")
    }
}
