//! The socket of the operator: `<data>/gateway.sock`, HTTP as on the port, for the commands of this machine.
//!
//! What it guarantees: only who may open it reaches it, by the rights of the filesystem: mode 0600 from its first moment, so the
//! user of the gateway and root. Whoever does is admin, and the audit names the user's number, which the kernel tells. So commands work beside a
//! gateway whose ports need tokens, TLS, or are not there. The claim on the data directory comes first, so a socket that
//! lies there is nobody's and is replaced.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
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

use super::stall::impatient;
use crate::access::{Caller, Role, Who};

/// Its name in the data directory.
pub(crate) const NAME: &str = "gateway.sock";
/// A directory that nobody else enters, and the socket's name in it until it has its mode. A connection that was made before
/// that would wait in the listener and be served. The path is no longer than that of the socket.
const NEW: &str = "new.s";
const IN_NEW: &str = "s";
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
        let listener = bind(&data.join(NEW), &path).map_err(refused)?;
        Ok(Self { listener, path })
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

/// Listens in the directory `made`, which exists only for that, and gives the socket its name once it has its mode.
fn bind(made: &Path, path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_dir_all(made) {
        // A gateway was killed just then.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    DirBuilder::new().mode(0o700).create(made)?;
    let new = made.join(IN_NEW);
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    std::fs::remove_dir(made)?;
    Ok(listener)
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
        .serve_connection(TokioIo::new(impatient(stream)), service);
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// A gateway that starts again and again.
    const STARTS: usize = 300;

    /// Sockets in `dir` or below that somebody else could get at: those whose own rights let him, where he can enter.
    fn exposed(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            // What is gone again, or got its name just now, is looked at in the next round.
            let Ok(metadata) = entry.metadata() else { continue };
            let is_private = metadata.permissions().mode() & 0o077 == 0;
            if metadata.is_dir() && !is_private {
                exposed(&entry.path(), found);
            }
            if metadata.file_type().is_socket() && !is_private {
                found.push(format!("{} {:o}", entry.path().display(), metadata.permissions().mode()));
            }
        }
    }

    #[tokio::test]
    async fn nobody_else_gets_at_the_socket_at_any_moment() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().to_owned();
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let watch = {
            let (data, stop, rounds) = (data.clone(), Arc::clone(&stop), Arc::clone(&rounds));
            std::thread::spawn(move || {
                let mut found = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    exposed(&data, &mut found);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                found
            })
        };
        for _ in 0..STARTS {
            // However fast the machine is, each start is looked at.
            let looked = rounds.load(Ordering::Relaxed);
            let socket = Socket::listen(&data).unwrap();
            let mode = std::fs::metadata(data.join(NAME)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            while rounds.load(Ordering::Relaxed) == looked {
                std::thread::yield_now();
            }
            drop(socket);
        }
        stop.store(true, Ordering::Relaxed);
        let found = watch.join().unwrap();
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "it leaves nothing behind");
    }

    #[tokio::test]
    async fn what_a_killed_gateway_left_behind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(NEW)).unwrap();
        let left =
            [dir.path().join(NEW).join(IN_NEW), dir.path().join(NAME)].map(|path| UnixListener::bind(path).unwrap());
        let socket = Socket::listen(dir.path()).unwrap();
        assert!(UnixStream::connect(dir.path().join(NAME)).await.is_ok());
        drop((left, socket));
    }
}
