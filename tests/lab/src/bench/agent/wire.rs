//! The network between an agent and the broker: a relay that counts what the agent sends, and that can be closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

pub(super) struct Wire {
    /// Where the agent connects.
    pub(super) address: SocketAddr,
    up: Arc<AtomicU64>,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    /// Leads to `broker`, open.
    pub(super) async fn new(broker: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1 for the relay")?;
        let address = listener.local_addr().context("the relay has no address")?;
        let (open, is_open) = watch::channel(true);
        let up = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&up);
        let task = tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                tokio::spawn(connection(agent, broker, Arc::clone(&counter), is_open.clone()));
            }
        });
        Ok(Self { address, up, open, task })
    }

    /// Bytes that the agent has sent, without the headers of TCP and IP.
    pub(super) fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Closes every connection, and those that come, or lets them through.
    pub(super) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.set_open(false);
        self.task.abort();
    }
}

async fn connection(agent: TcpStream, broker: SocketAddr, up: Arc<AtomicU64>, mut is_open: watch::Receiver<bool>) {
    if !*is_open.borrow() {
        return;
    }
    let Ok(broker) = TcpStream::connect(broker).await else { return };
    let _ = (agent.set_nodelay(true), broker.set_nodelay(true));
    let ((from_agent, to_agent), (from_broker, to_broker)) = (agent.into_split(), broker.into_split());
    let down = AtomicU64::new(0);
    tokio::select! {
        () = copy(from_agent, to_broker, &up) => {}
        () = copy(from_broker, to_agent, &down) => {}
        _ = is_open.wait_for(|open| !open) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counter: &AtomicU64) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length) = from.read(&mut chunk).await {
        counter.fetch_add(length as u64, Ordering::Relaxed);
        if length == 0 || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
