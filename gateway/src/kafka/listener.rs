//! Accepting Kafka connections.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Kafka, Refusal, connection};
use crate::front::socket;
use crate::lobby::Ticket;

/// How long to wait when the system refuses to accept; also what bounds its log lines.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

impl Kafka {
    /// Accepts clients until `stop` turns true, then answers what is under way. Dropping the future ends all connections
    /// at once.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    socket::prepare(&stream);
                    let (kafka, stop) = (self.clone(), stop.clone());
                    // In the lobby from here on, so that accepting cannot outrun it.
                    let ticket = self.lobby.enter(peer.ip());
                    connections.spawn(async move { kafka.welcome(stream, peer.ip(), ticket, stop).await });
                }
                // Out of descriptors: the clients wait in the backlog until some connection ends.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept Kafka connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }

    /// Does the TLS handshake, if there is one, and serves the client.
    async fn welcome(&self, stream: TcpStream, address: IpAddr, mut ticket: Ticket, mut stop: watch::Receiver<bool>) {
        let accepted = tokio::select! {
            accepted = self.acceptor.accept(stream) => accepted,
            () = ticket.sent_away() => return connection::refuse(self, address, Refusal::Crowded, ""),
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, certificate)) => {
                let shown = certificate.map(|certificate| certificate.id);
                tokio::select! {
                    () = connection::serve(stream, address, ticket, self, stop) => (),
                    () = self.acceptor.ended(shown) => (),
                }
            }
            Err(error) => connection::refuse(self, address, Refusal::Handshake, &error.to_string()),
        }
    }
}
