//! Accepting HTTP connections.
//!
//! What it guarantees: headers come in time or the connection closes; one connection beyond the limit waits in
//! the kernel's backlog; a stop finishes the requests under way.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::stall::Impatient;

/// The limits of the HTTP port.
#[derive(Clone, Copy, Debug)]
pub struct HttpOptions {
    /// The most connections at a time.
    pub connections: usize,
    /// How long a request may take to send its headers.
    pub header_timeout: Duration,
}

/// The largest request head, in bytes; hyper's own floor. Requests have no body that anyone reads.
const MAX_HEAD: usize = 8192;
/// How long to wait when the system refuses to accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until `stop` turns true, then finishes the requests under way. Dropping the future ends them.
pub async fn serve(listener: Arc<TcpListener>, router: Router, options: HttpOptions, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(options.connections));
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            // The semaphore is never closed, so there is always a place in the end.
            let place = places.clone().acquire_owned().await;
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    serve_one(stream, router, options, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept HTTP connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve_one(stream: TcpStream, router: Router, options: HttpOptions, mut stop: watch::Receiver<bool>) {
    // Small answers and events shall not wait for more.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Impatient::new(stream)), TowerToHyperService::new(router));
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
        tracing::debug!(%error, "HTTP connection ended");
    }
}
