//! Where a port is: an address of TCP, or a Unix socket.
//!
//! A Unix socket is there with its mode from its first moment: it is made in a directory that nobody else enters, and
//! moved to its place. A socket that a killed process left is replaced; one that somebody answers is not.

use std::fmt;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::Tls;

/// The longest path that a socket may have on Linux, in bytes (unix(7): `sun_path`, with a zero at its end).
pub(super) const MAX_PATH: usize = 107;

/// Where a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:9464`
    Tcp(SocketAddr),
    /// `unix:/run/weir/agent.sock`
    Unix(PathBuf),
}

impl Address {
    /// Reads `unix:/path`, or an address and a port.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() <= MAX_PATH => Some(Self::Unix(PathBuf::from(path))),
            Some(_) => None,
            None => text.parse().ok().map(Self::Tcp),
        }
    }

    /// Whether nobody but this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "got {text:?}, expected \"127.0.0.1:9464\", or \"unix:\" and a whole path of at most {MAX_PATH} bytes, \
                 such as \"unix:/run/weir/agent.sock\""
            ))
        })
    }
}

/// Why nobody can come.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// Where.
    pub address: Address,
    /// What the system said.
    pub source: io::Error,
}

/// An open port. A socket's file goes with it.
#[derive(Debug)]
pub struct Listening {
    listener: Listener,
    address: Address,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One connection.
pub(super) type Stream = Box<dyn Io>;

/// What a connection is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

impl Listening {
    /// Opens the port, inside a runtime. A socket gets `mode`.
    ///
    /// # Errors
    /// [`ListenError`]: the address is in use, or not allowed.
    pub fn open(address: &Address, mode: u32) -> Result<Self, ListenError> {
        let opened = match address {
            Address::Tcp(address) => tcp(address).map(Listener::Tcp),
            Address::Unix(path) => socket(path, mode).map(Listener::Unix),
        };
        let listener = opened.map_err(|source| ListenError { address: address.clone(), source })?;
        // With port 0 the system chose one.
        let address = match &listener {
            Listener::Tcp(listener) => listener.local_addr().map_or_else(|_| address.clone(), Address::Tcp),
            Listener::Unix(_) => address.clone(),
        };
        Ok(Self { listener, address, tls: None })
    }

    /// The same with TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// What takes a connection; None: it is plain.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.tls.as_ref().map(Tls::acceptor)
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                // Answers are whole when they are written; a refusal costs some milliseconds, and nothing else.
                let _ = stream.set_nodelay(true);
                Box::new(stream) as Stream
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as Stream),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // The next start replaces what stays.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn tcp(address: &SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Makes the socket where nobody else is, and moves it to its place with its mode.
fn socket(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there"));
        }
        _ => {}
    }
    // No longer than the path of the socket, so that it fits where that one does.
    let private = path.with_file_name(".w");
    let inside = private.join("s");
    remove_private(&private);
    DirBuilder::new().mode(0o700).create(&private)?;
    let bound = UnixListener::bind(&inside).and_then(|listener| {
        std::fs::set_permissions(&inside, Permissions::from_mode(mode))?;
        std::fs::rename(&inside, path)?;
        Ok(listener)
    });
    remove_private(&private);
    bound
}

/// Of a start that was killed in the middle, or of this one.
fn remove_private(private: &Path) {
    let _ = std::fs::remove_file(private.join("s"));
    let _ = std::fs::remove_dir(private);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for good in ["127.0.0.1:9464", "[::1]:9464", "0.0.0.0:80", "unix:/run/weir/agent.sock"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        for wrong in ["", "localhost:80", "127.0.0.1", "unix:agent.sock", "unix:", &long] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
        assert!(Address::parse("[::1]:1").unwrap().is_local() && !Address::parse("0.0.0.0:1").unwrap().is_local());
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_replaces_a_dead_one_and_never_a_living_one_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let address = Address::Unix(dir.path().join("a.sock"));
        let path = dir.path().join("a.sock");
        let dead = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(dead);
        let open = Listening::open(&address, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Listening::open(&address, 0o600).unwrap_err().to_string().contains("another process"));
        drop(open);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays behind");
        std::fs::write(&path, "a file").unwrap();
        assert!(Listening::open(&address, 0o600).unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }
}
