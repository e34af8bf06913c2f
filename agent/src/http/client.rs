//! Asking a port: what the commands of this machine do to the agent that runs on it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Address;
use super::listener::Stream;

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest whole answer that is taken, in bytes.
const MAX_ANSWER: usize = 16 << 20;
/// The longest line of a stream that is taken, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there, or not for us.
    #[error("{address}: {source}{}", hint(source))]
    Unreachable {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// There is somebody, who does not answer as we do.
    #[error("{address}: {why}")]
    Broken {
        /// Where.
        address: Address,
        /// What happened.
        why: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; type it as root or as the agent's user: sudo -u weir-agent weir-agent ..."
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "; no agent runs there: systemctl start weir-agent, or name its settings with --config PATH"
        }
        _ => "",
    }
}

/// An answer that is still coming in.
#[derive(Debug)]
pub struct Reply {
    address: Address,
    response: Response<Incoming>,
    driver: JoinHandle<()>,
    /// What came behind the last line.
    rest: Vec<u8>,
}

/// Asks for `path` at `address`.
///
/// # Errors
/// [`ClientError`].
pub async fn get(address: &Address, path: &str) -> Result<Reply, ClientError> {
    let unreachable = |source| ClientError::Unreachable { address: address.clone(), source };
    let broken = |why: String| ClientError::Broken { address: address.clone(), why };
    let late = |_| unreachable(io::ErrorKind::TimedOut.into());
    let stream = timeout(PATIENCE, connect(address)).await.map_err(late)?.map_err(unreachable)?;
    let handshake = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(error.to_string()))?;
    let driver = tokio::spawn(async move {
        // Whoever reads the answer sees it end.
        let _ = connection.await;
    });
    let request = Request::get(path).header("host", "weir-agent").body(Empty::new());
    let request = request.map_err(|error| broken(error.to_string()))?;
    let answered = timeout(PATIENCE, sender.send_request(request)).await.map_err(late)?;
    let response = answered.map_err(|error| broken(error.to_string()))?;
    Ok(Reply { address: address.clone(), response, driver, rest: Vec::new() })
}

async fn connect(address: &Address) -> io::Result<Stream> {
    Ok(match address {
        Address::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

impl Reply {
    /// Its status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// All of it.
    ///
    /// # Errors
    /// [`ClientError::Broken`].
    pub async fn text(mut self) -> Result<String, ClientError> {
        let collected = timeout(PATIENCE, Limited::new(self.response.body_mut(), MAX_ANSWER).collect()).await;
        let why = match collected {
            Ok(Ok(body)) => return Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the answer does not end".to_owned(),
        };
        Err(ClientError::Broken { address: self.address.clone(), why })
    }

    /// The next line, without its end; none when there are no more.
    ///
    /// # Errors
    /// [`ClientError::Broken`].
    pub async fn line(&mut self) -> Result<Option<String>, ClientError> {
        let broken = |address: &Address, why: String| ClientError::Broken { address: address.clone(), why };
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.rest.len() > MAX_LINE {
                return Err(broken(&self.address, format!("a line of more than {MAX_LINE} bytes")));
            }
            match self.response.body_mut().frame().await {
                Some(Ok(frame)) => self.rest.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(broken(&self.address, error.to_string())),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(broken(&self.address, "the answer broke off in a line".to_owned())),
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
