//! HTTP for what asks this agent on its own machine or network: the local port, and sources that are pushed to.
//!
//! What it guarantees: connections, heads and bodies are bounded, and so is the time to send them and to read the
//! answer; one connection more than allowed is answered 503 and closed; a request that nothing answers is told what
//! there is; nothing here can hold up a stop. It speaks HTTP/1 on TCP or on a Unix socket, with TLS where a port is given one.
//!
//! ```text
//! Listening (address, socket) -> serve (connections, limits) -> Router (path, method, body) -> a handler -> Answer
//! get (address, path) -> Reply: the other side, for the commands of this machine
//! ```

mod answer;
mod client;
pub mod fuzz;
mod listener;
mod router;
mod server;
mod tls;

use std::time::Duration;

pub use answer::{Answer, Body};
pub use client::{ClientError, Reply, get};
pub use listener::{Address, ListenError, Listening};
pub use router::{Request, Router};
pub use server::serve;
pub use tls::{Tls, TlsError};

/// The largest request head in bytes, hyper's own floor.
pub const MAX_HEAD: usize = 8192;

/// What a port takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections at a time; one more is answered 503.
    pub connections: usize,
    /// How long a client may take to send the head of a request, also of the next one on a connection that it keeps.
    pub head: Duration,
    /// How long it may take to send a body.
    pub body: Duration,
    /// How long it may leave an answer unread.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}
