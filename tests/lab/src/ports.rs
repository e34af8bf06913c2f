//! Ports: the default one if nobody has it, else any.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// The gateway's MQTT port.
pub const MQTT: u16 = 1883;
/// The gateway's port for MQTT over TLS.
pub const MQTTS: u16 = 8883;
/// The gateway's HTTP port.
pub const HTTP: u16 = 8080;
/// The gateway's Kafka port.
pub const KAFKA: u16 = 9092;

/// A port on loopback that is kept for one process, however often it is killed and started again.
///
/// The socket is bound but does not listen: the kernel gives the port to nobody who asks for any, refuses
/// connections to it, and lets a process that asks for this one listen on it (socket(7), SO_REUSEADDR).
#[derive(Debug)]
pub struct Reserved {
    /// The address.
    pub address: SocketAddr,
    _socket: TcpSocket,
}

impl Reserved {
    /// `preferred` if it is free, else any; 0 is any.
    pub fn new(preferred: u16) -> Result<Self> {
        let bind = |port| {
            let socket = TcpSocket::new_v4()?;
            // Whoever listens on the preferred port already must be noticed.
            socket.set_reuseaddr(false)?;
            socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
            socket.set_reuseaddr(true)?;
            Ok(Self { address: socket.local_addr()?, _socket: socket })
        };
        bind(preferred).or_else(|_: std::io::Error| bind(0)).context("no free port on 127.0.0.1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_port_is_refused_until_its_process_listens_and_free_for_it_again_and_again() {
        let reserved = Reserved::new(0).unwrap();
        for _ in 0..2 {
            assert!(tokio::net::TcpStream::connect(reserved.address).await.is_err());
            let listener = tokio::net::TcpListener::bind(reserved.address).await.unwrap();
            tokio::net::TcpStream::connect(reserved.address).await.unwrap();
            drop(listener);
        }
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_is_left_to_him() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        assert_ne!(Reserved::new(taken.port()).unwrap().address, taken);
    }
}
