//! MQTT over WebSocket (MQTT section 6, RFC 6455) at `/mqtt` of the HTTP port.
//!
//! What it guarantees: the subprotocol is `mqtt` or there is no connection (\[MQTT-6.0.0-3\], \[MQTT-6.0.0-4\]); a page of
//! another site gets none unless the settings name its origin; a connection that is upgraded leaves its place among
//! those of HTTP and becomes an MQTT connection like any other, with the same limits, and so much memory; nothing is
//! read of it before the answer is out.
//!
//! | request | answer |
//! |---|---|
//! | `GET /mqtt`, `Upgrade: websocket`, version 13, a key, subprotocol `mqtt` | 101, then packets in [`frames`] |
//! | another version | 426 and `Sec-WebSocket-Version: 13` |
//! | an `Origin` that is not allowed | 403 |
//! | anything else | 400 with what is missing |
//!
//! ```text
//! HTTP connection -> handler -> Handover -> (hyper lets go of the transport) -> WebSocket -> crate::front
//! ```

mod frames;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use tokio::sync::watch;

use super::App;
use super::posted::is_own_page;
use super::routes::Refused;
use super::serve::Peer;

pub use stream::WebSocket;

/// The subprotocol (MQTT section 6).
const SUBPROTOCOL: &str = "mqtt";
/// What the answer to a key is made with (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The transport of an upgraded connection.
pub type Transport = WebSocket<TokioIo<Upgraded>>;

/// A session over a WebSocket, until it ends.
pub type Session = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where MQTT over WebSocket goes, and from where it may come; cheap to clone.
#[derive(Clone)]
pub struct WebSockets(Arc<Shared>);

struct Shared {
    origins: Vec<String>,
    serve: Box<dyn Fn(Transport, Peer) -> Session + Send + Sync>,
    open: watch::Sender<u64>,
    refused: AtomicU64,
}

impl WebSockets {
    /// Hands connections to `serve`. Pages come from `origins`, or, if there are none, from the address that they
    /// connect to; `*` stands for all.
    pub fn new(origins: Vec<String>, serve: impl Fn(Transport, Peer) -> Session + Send + Sync + 'static) -> Self {
        let (open, refused) = (watch::Sender::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { origins, serve: Box::new(serve), open, refused }))
    }

    /// How many are open now, and how many requests for one were refused.
    pub fn counts(&self) -> (u64, u64) {
        (*self.0.open.borrow(), self.0.refused.load(Relaxed))
    }

    /// Resolves when none is open.
    pub async fn closed(&self) {
        // The sender is in `self`.
        let _ = self.0.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Serves one connection once it is upgraded.
    fn session(&self, upgrade: OnUpgrade, peer: Peer) -> Session {
        let shared = Arc::clone(&self.0);
        shared.open.send_modify(|open| *open += 1);
        let open = Open(shared);
        Box::pin(async move {
            let Open(shared) = &open;
            if let Ok(upgraded) = upgrade.await {
                (shared.serve)(WebSocket::new(TokioIo::new(upgraded)), peer).await;
            }
        })
    }
}

/// One that is open.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// What becomes of a connection behind its last request; in the extensions of every request.
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Session>>>);

impl Handover {
    /// The session that it becomes, if it was upgraded.
    pub(super) fn take(&self) -> Option<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, session: Session) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }
}

/// `GET /mqtt`.
pub(super) async fn upgrade(State(app): State<App>, mut request: Request) -> Response {
    let websockets = app.websockets;
    let accepted = accept(request.headers(), &websockets.0.origins);
    let parts = request.extensions_mut();
    let transport = (parts.remove::<OnUpgrade>(), parts.remove::<Peer>(), parts.remove::<Handover>());
    match (accepted, transport) {
        (Ok(accept), (Some(upgrade), Some(peer), Some(handover))) => {
            handover.put(websockets.session(upgrade, peer));
            let headers = [
                (header::CONNECTION, "upgrade"),
                (header::UPGRADE, "websocket"),
                (header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL),
                (header::SEC_WEBSOCKET_ACCEPT, &accept),
            ];
            (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
        }
        (accepted, _) => {
            websockets.0.refused.fetch_add(1, Relaxed);
            let refused = accepted.err().unwrap_or_else(|| Refused::bad("expected a request of HTTP/1.1"));
            let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
            (version, refused).into_response()
        }
    }
}

/// Checks an opening handshake (RFC 6455, section 4.2.1); the answer to its key.
fn accept(headers: &HeaderMap, origins: &[String]) -> Result<String, Refused> {
    let lists = |name: HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if !lists(header::UPGRADE, "websocket") || !lists(header::CONNECTION, "upgrade") {
        return Err(Refused::bad(
            "MQTT over WebSocket: expected the headers Connection: Upgrade and Upgrade: websocket",
        ));
    }
    let version = text(header::SEC_WEBSOCKET_VERSION).unwrap_or_default();
    if version != "13" {
        let why = format!("Sec-WebSocket-Version: got {version:?}, expected 13");
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, why));
    }
    if !may_come(headers, origins) {
        let why = "origin: pages of other sites come in only if http.websocket_origins names them";
        return Err(Refused::new(StatusCode::FORBIDDEN, why));
    }
    if !lists(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(Refused::bad("Sec-WebSocket-Protocol: expected mqtt"));
    }
    let key = text(header::SEC_WEBSOCKET_KEY).unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(Refused::bad("Sec-WebSocket-Key: expected 16 bytes in base64"));
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(GUID);
    Ok(STANDARD.encode(digest.finish()))
}

/// Whether the page that asks may; what is no page says no origin.
fn may_come(headers: &HeaderMap, origins: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    if origins.is_empty() {
        return is_own_page(headers);
    }
    origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

#[cfg(test)]
mod tests;
