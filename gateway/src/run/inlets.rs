//! How messages come in: from the front into ingest, and over WebSocket into the front.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::front::{Front, Intake, Link, Peer};
use crate::http::websocket::WebSockets;
use crate::ingest::{Connection, Events, Ingest, Message, Sender};

/// MQTT over WebSocket, into the front like any other connection.
pub(super) fn websockets(config: &Config, front: &Arc<Front<Ingest>>, stopping: &watch::Receiver<bool>) -> WebSockets {
    let (front, stopping) = (Arc::clone(front), stopping.clone());
    let origins = config.http.websocket_origins.iter().map(|origin| origin.get_ref().clone()).collect();
    WebSockets::new(origins, move |stream, peer| {
        let (front, stopping) = (Arc::clone(&front), stopping.clone());
        let peer = Peer { address: peer.address, certificate: peer.certificate.as_deref().cloned() };
        Box::pin(async move { front.serve_one(stream, peer, stopping).await })
    })
}

impl Intake for Ingest {
    type Link = Connection;

    fn connect(&self, sender: Sender, events: Events) -> Connection {
        Ingest::connect(self, sender, events)
    }
}

impl Link for Connection {
    async fn submit(&mut self, messages: Vec<Message>) {
        Connection::submit(self, messages).await;
    }
}
