//! A connection as a plain function over bytes, for fuzzers. Not part of the interface of this package.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::{Semaphore, watch};

use super::server::serve_one;
use super::{Limits, Router};

/// What a pipe holds, in bytes: more than an input has.
const PIPE: usize = 64 << 10;
/// Turns that a connection gets before the port closes: more than it takes to answer what was said.
const TURNS: usize = 64;

/// Takes any bytes as what a client says; what is answered until it hangs up and the port closes, of which `stop` tells
/// others.
///
/// # Errors
/// There is no runtime, or the pipe broke.
pub fn connection(router: Router, bytes: &[u8], stop: watch::Sender<()>) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let (ours, mut theirs) = duplex(PIPE);
        let stopped = stop.subscribe();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.map_err(io::Error::other)?;
        let serving = tokio::spawn(serve_one(Box::new(ours), place, router, Limits::default(), stopped));
        // It may hang up first.
        let _ = theirs.write_all(bytes).await;
        let _ = theirs.shutdown().await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        drop(stop);
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await?;
        serving.await.map_err(io::Error::other)?;
        Ok(answer)
    })
}
