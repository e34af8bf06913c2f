//! What all turns have in common.

use anyhow::Result;

use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::mosquitto::{self, Mosquitto};

/// The broker that every agent sends to.
pub(super) struct Stage<'a> {
    pub(super) broker: Mosquitto,
    pub(super) binaries: &'a Binaries,
    scratch: Scratch,
}

impl<'a> Stage<'a> {
    /// mosquitto in memory; `None` if it is not installed.
    pub(super) async fn new(binaries: &'a Binaries) -> Result<Option<Self>> {
        let Some(path) = mosquitto::find() else { return Ok(None) };
        let scratch = Scratch::new()?;
        let broker = Mosquitto::start(path, &scratch, binaries, None).await?;
        Ok(Some(Self { broker, binaries, scratch }))
    }

    /// Ends it.
    pub(super) async fn end(mut self) -> Result<()> {
        self.broker.process.kill().await?;
        self.scratch.remove()
    }
}
