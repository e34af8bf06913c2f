//! Whether TLS is spoken at a port, for who wrote the wrong scheme: whoever speaks to the wrong one is hung up on without
//! a word.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::trust;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether who listens there answers the first message of TLS with one; false if that cannot be found out. Nothing of what
/// this agent would show is shown.
pub(crate) async fn is_tls(host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    timeout(PATIENCE, answer(host, port)).await.ok().flatten().is_some_and(|record| {
        // An alert or a handshake, of a version that begins with 3 (RFC 8446, section 5.1).
        matches!(record, [0x15 | 0x16, 3])
    })
}

/// The first bytes of the answer.
async fn answer(host: &str, port: u16) -> Option<[u8; 2]> {
    let (config, _) = trust::pinned([0; 32]).ok()?;
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned()).ok()?).ok()?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello).ok()?;
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    stream.write_all(&hello).await.ok()?;
    let mut record = [0; 2];
    stream.read_exact(&mut record).await.ok()?;
    Some(record)
}
