//! Waiting until changes are on disk.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::sync::{oneshot, watch};

/// Changes did not reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what was to be remembered could not be written")]
pub struct NotWritten;

/// How far the writes of one owner are. They end in the order in which they were handed in.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    ended: Arc<watch::Sender<Ended>>,
    handed_in: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    writes: u64,
    /// One of them failed: nobody may rely on what came after it.
    failed: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { ended: Arc::new(watch::Sender::new(Ended::default())), handed_in: 0 }
    }

    /// Another write is handed in; it tells its end by this.
    pub(crate) fn hand_in(&mut self) -> impl FnOnce(bool) + Send + use<> {
        self.handed_in += 1;
        let ended = Arc::clone(&self.ended);
        move |is_written| {
            ended.send_modify(|ended| {
                ended.writes += 1;
                ended.failed |= !is_written;
            });
        }
    }

    /// What there is to wait for.
    pub(crate) fn written(&self) -> Option<Written> {
        let ended = *self.ended.borrow();
        (ended.writes < self.handed_in || ended.failed).then(|| Written::new(self.ended.subscribe(), self.handed_in))
    }
}

/// Resolves when all that was handed in before is on disk, or fails if something is not.
#[must_use]
pub struct Written(Pin<Box<dyn Future<Output = Result<(), NotWritten>> + Send>>);

impl Written {
    /// What there is to wait for of one write, whose end the sender tells.
    pub fn one(told: oneshot::Receiver<bool>) -> Self {
        Self(Box::pin(async move { if told.await.unwrap_or(false) { Ok(()) } else { Err(NotWritten) } }))
    }

    fn new(mut ended: watch::Receiver<Ended>, upto: u64) -> Self {
        Self(Box::pin(async move {
            // The sender goes with the last write that could tell.
            let ended = ended.wait_for(|ended| ended.failed || ended.writes >= upto).await.map_err(|_| NotWritten)?;
            if ended.failed { Err(NotWritten) } else { Ok(()) }
        }))
    }
}

impl Future for Written {
    type Output = Result<(), NotWritten>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}
