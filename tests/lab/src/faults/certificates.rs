//! New certificates while everything runs: what a person types, in the background.

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::deployment::Trust;
use crate::relay::seal::SERVER;

/// The commands, on their way.
pub(super) struct Errand(JoinHandle<Result<()>>);

impl Errand {
    /// The gateway gets a certificate of the same authority, and the agent enrols once more.
    pub(super) fn renew(trust: Trust) -> Self {
        Self(tokio::spawn(async move {
            trust.gateway(&["ca", "init", "--server-name", SERVER]).await?;
            trust.enroll().await
        }))
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// What came of it.
    pub(super) async fn end(self) -> Result<()> {
        self.0.await.context("the lab's own task")?
    }
}
