//! Accepting HTTP connections.
//!
//! What it guarantees: headers come in time or the connection closes; sockets that have not sent a request are as few
//! as the lobby allows ([`crate::lobby`]), and give way to newer ones; connections that have are bounded in all and
//! for each address, and one more is answered 503; no body is waited for; whoever does not read its answer is closed
//! ([`super::stall`]); a stop finishes the requests under way. A client whose certificate is revoked is closed at once.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::stall::impatient;
use super::websocket::Handover;
use crate::front::socket;
use crate::lobby::{Lobby, LobbyOptions, Ticket};
use crate::places::{Place, Places};
use crate::tls::{Acceptor, PeerCertificate, Stream};

/// Who asks, in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it comes from.
    pub address: IpAddr,
    /// The certificate that it showed.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Whether others can read along.
    pub is_tls: bool,
}

/// The limits of the HTTP port.
#[derive(Clone, Copy, Debug)]
pub struct HttpOptions {
    /// The most connections that have sent a request at a time.
    pub connections: usize,
    /// The most of them from one address.
    pub connections_per_address: usize,
    /// How many sockets may wait without having sent one.
    pub lobby: LobbyOptions,
    /// How long a request may take to send its headers.
    pub header_timeout: Duration,
}

/// The largest request head, in bytes; hyper's own floor. Requests have no body that anyone reads.
const MAX_HEAD: usize = 8192;
/// How long to wait when the system refuses to accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// What those without a place are told to wait, in seconds.
const RETRY_AFTER: &str = "5";

/// Serves until `stop` turns true, then finishes the requests under way. Dropping the future ends them.
pub async fn serve(
    listener: Arc<TcpListener>,
    acceptor: Acceptor,
    router: Router,
    options: HttpOptions,
    mut stop: watch::Receiver<bool>,
) {
    let lobby = Lobby::new(options.lobby);
    let places = Places::new(options.connections, options.connections_per_address);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let door = Door { places: places.clone(), address: peer.ip(), place: Mutex::default() };
                let (ticket, stop) = (lobby.enter(peer.ip()), stop.clone());
                connections.spawn(welcome(stream, acceptor.clone(), ticket, door, router.clone(), options, stop));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept HTTP connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Does the TLS handshake, if there is one, and serves the client.
async fn welcome(
    stream: TcpStream,
    acceptor: Acceptor,
    mut ticket: Ticket,
    door: Door,
    router: Router,
    options: HttpOptions,
    mut stop: watch::Receiver<bool>,
) {
    socket::prepare(&stream);
    let accepted = tokio::select! {
        accepted = acceptor.accept(stream) => accepted,
        () = ticket.sent_away() => return,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let (stream, certificate) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return tracing::debug!(%error, address = %door.address, "no TLS with an HTTP client"),
    };
    let peer = Peer { address: door.address, certificate: certificate.map(Arc::new), is_tls: acceptor.is_tls() };
    let shown = peer.certificate.as_ref().map(|certificate| certificate.id);
    let (handover, inner) = (Handover::default(), TowerToHyperService::new(router));
    let service = Admitting { door: Arc::new(door), peer, handover, inner };
    tokio::select! {
        () = serve_one(stream, ticket, service, options, stop) => (),
        () = acceptor.ended(shown) => (),
    }
}

async fn serve_one(
    stream: Stream,
    mut ticket: Ticket,
    service: Admitting,
    options: HttpOptions,
    mut stop: watch::Receiver<bool>,
) {
    let (door, handover) = (Arc::clone(&service.door), service.handover.clone());
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(impatient(stream)), service)
        .with_upgrades();
    let mut served = Box::pin(served);
    let finished = tokio::select! {
        outcome = &mut served => Some(outcome),
        () = crowded_out(&mut ticket, &door) => return,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let outcome = match finished {
        Some(outcome) => outcome,
        None => {
            served.as_mut().graceful_shutdown();
            served.as_mut().await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "HTTP connection ended");
    }
    drop(served);
    if let Some(session) = handover.take() {
        // No HTTP connection any more: it waits, and has its place, where MQTT connections do.
        door.leave();
        drop(ticket);
        session.await;
    }
}

/// Resolves when a socket that has sent no request has to make room.
async fn crowded_out(ticket: &mut Ticket, door: &Door) {
    ticket.sent_away().await;
    if door.lock().is_some() {
        // It has a place of its own by now.
        std::future::pending::<()>().await;
    }
}

/// Where a connection gets its place with its first request, and keeps it until it ends.
struct Door {
    places: Places,
    address: IpAddr,
    place: Mutex<Option<Place>>,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the place back.
    fn leave(&self) {
        self.lock().take();
    }

    fn admit(&self) -> bool {
        let mut place = self.lock();
        if place.is_none() {
            *place = self.places.take(self.address);
        }
        place.is_some()
    }
}

/// The router behind the door.
struct Admitting {
    door: Arc<Door>,
    peer: Peer,
    handover: Handover,
    inner: TowerToHyperService<Router>,
}

type Answer = Response<Body>;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, std::convert::Infallible>> + Send>>;

impl Service<Request<Incoming>> for Admitting {
    type Response = Answer;
    type Error = std::convert::Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        if !self.door.admit() {
            let why = "as many connections as http.connections or http.connections_per_address allow\n";
            let headers = [(header::RETRY_AFTER, RETRY_AFTER), (header::CONNECTION, "close")];
            let refused = (StatusCode::SERVICE_UNAVAILABLE, headers, why).into_response();
            return Box::pin(std::future::ready(Ok(refused)));
        }
        request.extensions_mut().insert(self.peer.clone());
        request.extensions_mut().insert(self.handover.clone());
        Box::pin(self.inner.call(request))
    }
}
