//! What the kernel is told about each socket: answers leave at once, and a peer that is gone without a word is found
//! out even where the client allows itself any silence.

use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_user_timeout,
};
use tokio::net::TcpStream;

/// After so much silence the kernel asks whether the peer is there.
const ASK_AFTER: Duration = Duration::from_secs(60);
/// How long it waits between asking again, and how often it asks.
const ASK_AGAIN: Duration = Duration::from_secs(15);
const ASK_TIMES: u32 = 4;
/// How long bytes may be on their way without the peer's kernel confirming them, in milliseconds.
const UNCONFIRMED_MILLIS: u32 = 60_000;

/// Prepares an accepted socket. What a kernel does not know is left out: our own timeouts hold all the same.
pub(crate) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = set_socket_keepalive(stream, true);
    let _ = set_tcp_keepidle(stream, ASK_AFTER);
    let _ = set_tcp_keepintvl(stream, ASK_AGAIN);
    let _ = set_tcp_keepcnt(stream, ASK_TIMES);
    let _ = set_tcp_user_timeout(stream, UNCONFIRMED_MILLIS);
}
