//! MQTT and HTTP clients by the thousand: [`steady`] ones that publish at a fixed rate and count their answers, a
//! [`crowd`] that opens sockets and says as little as it is told to, and whatever else says [`mqtt`] packets to a [`peer`],
//! over [`tls`] or not.

pub(crate) mod crowd;
pub(crate) mod foreign;
pub(crate) mod mqtt;
pub(crate) mod peer;
pub(crate) mod steady;
pub(crate) mod tls;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

/// Addresses of this machine that clients come from: one has ports for some 28,000 connections.
const ADDRESSES: usize = 20;

/// Connects from one of several addresses of this machine, if that is where `to` is.
pub(crate) async fn connect(number: usize, to: SocketAddr) -> Result<TcpStream> {
    if !to.ip().is_loopback() {
        return Ok(TcpStream::connect(to).await?);
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 1, (number % ADDRESSES) as u8 + 1), 0).into())?;
    Ok(socket.connect(to).await?)
}

/// Lets this process, and those that it starts from here on, open as many files as the system allows; fails with what
/// to type if that is fewer than `wanted`.
pub(crate) fn allow_files(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if most < wanted {
        bail!("{most} open files are allowed, {wanted} are needed; type as root: ulimit -Hn {wanted}");
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}
