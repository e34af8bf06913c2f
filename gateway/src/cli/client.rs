//! A small HTTP client for the socket of a running gateway ([`crate::http::Socket`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::request;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Failed;
use crate::http;

/// How long the gateway may take to accept a connection and to answer; a socket needs no time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read whole, in bytes: a page is bounded by the gateway far below this.
const MAX_ANSWER: usize = 64 << 20;

/// A name as one part of a path (RFC 3986, section 2.1).
pub(super) fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The socket of a gateway.
#[derive(Clone, Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    /// That of the gateway that runs on `data`, if one does.
    pub(super) fn of(data: &Path) -> Self {
        Self { socket: data.join(http::SOCKET) }
    }

    /// Whether whoever runs this may talk to the gateway, if there is one.
    pub(super) fn check_rights(&self) -> Result<(), Failed> {
        match std::os::unix::net::UnixStream::connect(&self.socket) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(self.unreachable(&error)),
            _ => Ok(()),
        }
    }

    /// The JSON at `path`.
    pub(super) async fn json(&self, path: &str) -> Result<Value, Failed> {
        self.whole(path, self.get(path).await?).await
    }

    /// Reads an answer whole; a refusal is an error.
    async fn whole(&self, path: &str, response: Response<Incoming>) -> Result<Value, Failed> {
        let status = response.status();
        let limited = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
        let body = timeout(PATIENCE, limited.collect()).await.map_err(|_| self.silent())?;
        let body = body.map_err(|error| Failed::unavailable(format!("{}: {error}", self.socket.display())))?.to_bytes();
        let value: Value = serde_json::from_slice(&body)
            .map_err(|error| Failed::runtime(format!("{path}: answer is not JSON: {error}")))?;
        if status.is_success() {
            return Ok(value);
        }
        Err(Failed::runtime(value["error"].as_str().unwrap_or("the gateway refused").to_owned()))
    }

    /// The events at `path`, as they come.
    pub(super) async fn events(&self, path: &str) -> Result<Events, Failed> {
        let response = self.get(path).await?;
        Ok(Events { body: response.into_body(), text: Vec::new() })
    }

    /// Posts JSON; the lines of the answer, as they come.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Lines, Failed> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let response = self.send(request, Full::from(body.to_string())).await?;
        if response.status().is_success() {
            return Ok(Lines { body: response.into_body(), text: Vec::new() });
        }
        let refused = self.whole(path, response).await;
        Err(refused.err().unwrap_or_else(|| Failed::runtime("the gateway refused")))
    }

    /// Posts JSON; the answer.
    pub(super) async fn change(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.whole(path, self.send(request, Full::from(body.to_string())).await?).await
    }

    /// Puts JSON; the answer.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        let request = Request::put(path).header(header::CONTENT_TYPE, "application/json");
        self.whole(path, self.send(request, Full::from(body.to_string())).await?).await
    }

    /// Deletes what is at `path`; the answer.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failed> {
        let request = Request::delete(path).header(header::CONTENT_TYPE, "application/json");
        self.whole(path, self.send(request, Full::default()).await?).await
    }

    async fn get(&self, path: &str) -> Result<Response<Incoming>, Failed> {
        self.send(Request::get(path), Full::default()).await
    }

    async fn send(&self, request: request::Builder, body: Full<Bytes>) -> Result<Response<Incoming>, Failed> {
        let asked = async {
            let stream = UnixStream::connect(&self.socket).await?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            let request = request.header(header::HOST, "localhost");
            let request = request.body(body).map_err(std::io::Error::other)?;
            sender.send_request(request).await.map_err(std::io::Error::other)
        };
        match timeout(PATIENCE, asked).await {
            Ok(response) => response.map_err(|error| self.unreachable(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Failed {
        Failed::unavailable(format!("the gateway at {} does not answer; is it stopped (`ps`)?", self.socket.display()))
    }

    fn unreachable(&self, error: &std::io::Error) -> Failed {
        let help = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "; run this as the user of the gateway or as root (`sudo`)",
            _ => "",
        };
        Failed::unavailable(format!("{}: {error}{help}", self.socket.display()))
    }
}

/// JSON values, one a line.
pub(super) struct Lines {
    body: Incoming,
    /// What came and is no whole line yet.
    text: Vec<u8>,
}

impl Lines {
    /// The next value; `None` when the gateway closed the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Failed> {
        loop {
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                // Empty lines show that the gateway lives.
                if line.len() > 1 {
                    return serde_json::from_slice(&line).map(Some).map_err(Failed::runtime);
                }
            }
            if self.text.len() > MAX_ANSWER {
                return Err(Failed::runtime("a line without an end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failed::unavailable(format!("the stream broke: {error}"))),
                Some(Ok(frame)) => self.text.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
    }
}

/// Server-sent events.
pub(super) struct Events {
    body: Incoming,
    /// What came and is no whole event yet.
    text: Vec<u8>,
}

impl Events {
    /// Kind and data of the next event; `None` when the gateway closed the stream.
    pub(super) async fn next(&mut self) -> Result<Option<(String, Value)>, Failed> {
        loop {
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let (Some(kind), Some(data)) = (field("event:"), field("data:")) {
                    let data = serde_json::from_str(data).map_err(Failed::runtime)?;
                    return Ok(Some((kind.to_owned(), data)));
                }
            }
            if self.text.len() > MAX_ANSWER {
                return Err(Failed::runtime("an event without an end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failed::unavailable(format!("the stream broke: {error}"))),
                Some(Ok(frame)) => self.text.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(escaped("pump-1"), "pump-1");
        assert_eq!(escaped("a/b ü%"), "a%2Fb%20%C3%BC%25");
    }
}
