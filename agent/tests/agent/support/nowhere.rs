//! A port of this machine where nobody listens, and nobody else will: one that was free a moment ago is soon that of
//! another test.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// Held, and connections to it are refused.
pub(crate) struct Nowhere(TcpSocket);

impl Nowhere {
    pub(crate) fn open() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        Self(socket)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }
}
