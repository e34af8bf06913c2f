//! Ports: the default one if nobody has it, else any.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// The gateway's MQTT port.
pub const MQTT: u16 = 1883;
/// The gateway's HTTP port.
pub const HTTP: u16 = 8080;

/// `preferred` on loopback if it is free, else a free one. Another process may take it before it is used;
/// the user of the port then says so.
pub fn free(preferred: u16) -> Result<SocketAddr> {
    let at = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    at(preferred).or_else(|_| at(0)).context("no free port on 127.0.0.1")
}
