//! The socket of the operator: `<data>/gateway.sock`, HTTP as on the port, for the commands of this machine.
//!
//! What it guarantees: only who may open it reaches it, by the rights of the filesystem: mode 0600, so the user of the gateway
//! and root. Whoever does is admin, and the audit names the user's number, which the kernel tells. So commands work beside a
//! gateway whose ports need tokens, TLS, or are not there. The claim on the data directory comes first, so a socket that
//! lies there is nobody's and is replaced.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::stall::Impatient;
use crate::access::{Caller, Role, Who};

/// Its name in the data directory.
pub(crate) const NAME: &str = "gateway.sock";
/// Its name until others may know it; no longer than the other.
const NEW: &str = "new.sock";
/// The longest path that a socket may have on Linux, in bytes (unix(7): `sun_path`, with a zero at its end).
const MAX_PATH: usize = 107;
/// Commands at a time; one more waits.
const MOST: usize = 64;
/// How long a request may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the system refuses to accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Its path does not fit.
    #[error(
        "{}: a socket's path has up to {MAX_PATH} bytes, and this has {}; set a shorter `data`, or let a symbolic link with \
         a short path lead there",
        .0.display(),
        .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// The system refused.
    #[error("cannot listen on {}: {source}", .path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The socket, for as long as the gateway runs.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Where the socket of `data` is.
    ///
    /// # Errors
    /// [`SocketError::TooLong`].
    pub fn fits(data: &Path) -> Result<PathBuf, SocketError> {
        let path = data.join(NAME);
        if path.as_os_str().len() > MAX_PATH { Err(SocketError::TooLong(path)) } else { Ok(path) }
    }

    /// Listens in `data`, which is claimed.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn listen(data: &Path) -> Result<Self, SocketError> {
        let path = Self::fits(data)?;
        let refused = |source| SocketError::Refused { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
            _ => (),
        }
        // Nobody may connect before its mode is set: it gets its name when it has it.
        let made = data.join(NEW);
        let listener = (|| {
            match std::fs::remove_file(&made) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
            let listener = UnixListener::bind(&made)?;
            std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            std::fs::rename(&made, &path)?;
            Ok(listener)
        })();
        Ok(Self { listener: listener.map_err(refused)?, path })
    }

    /// Serves commands until `stop` turns true, then finishes the requests under way.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MOST));
        let mut connections = JoinSet::new();
        loop {
            let place = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(async move {
                        let _place = place;
                        serve_one(stream, router, stop).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept commands");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // One that stays behind is replaced by the next gateway.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve_one(stream: UnixStream, router: Router, mut stop: watch::Receiver<bool>) {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => return tracing::warn!(%error, "nobody knows who sends a command"),
    };
    let caller = Caller { who: Who::Local(uid), role: Role::Admin, tenant: None, address: None };
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(Impatient::new(stream)), service);
    let mut served = pin!(served);
    let finished = tokio::select! {
        outcome = &mut served => Some(outcome),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let outcome = match finished {
        Some(outcome) => outcome,
        None => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a command ended");
    }
}
