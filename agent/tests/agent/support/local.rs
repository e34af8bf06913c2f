//! The local port of an agent, asked as any HTTP client asks.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::wait::until_found;

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Asks for `path` at a socket; waits for an agent that is still starting.
pub(crate) fn get(socket: &Path, path: &str) -> Answer {
    let mut stream = until_found(&format!("somebody at {}", socket.display()), || UnixStream::connect(socket));
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).expect("an open socket");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}

/// Asks until `wanted` holds.
pub(crate) fn until(socket: &Path, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    until_found(path, || {
        let answer = get(socket, path);
        if wanted(&answer) { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
}
