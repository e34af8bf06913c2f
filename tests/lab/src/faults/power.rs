//! The power of processes and of their disks fails, and comes back.
//!
//! A cut stops the processes, copies what is on their disks, kills the processes and goes on from the copies: bytes that were
//! written but not synced are gone, as `kill -9` alone would never show.

use std::path::PathBuf;

use anyhow::Result;

use super::image::Image;
use crate::deployment::{Deployment, Target};

/// What is without power.
pub(crate) struct Off<'i>(Vec<(Target, &'i Image, PathBuf)>);

/// Cuts the power of these, all at once.
pub(crate) async fn off<'i>(which: &[(Target, &'i Image)], deployment: &mut Deployment) -> Result<Off<'i>> {
    for (target, _) in which {
        if let Some(process) = deployment.member(*target, 0).process() {
            process.freeze().await?;
        }
    }
    let copied = which.iter().map(|(target, image)| Ok((*target, *image, image.copy()?)));
    let copied = copied.collect::<Result<_>>()?;
    for (target, _) in which {
        deployment.member(*target, 0).end().await?;
    }
    Ok(Off(copied))
}

impl Off<'_> {
    /// Turns it on again.
    pub(crate) fn on(self, deployment: &mut Deployment) -> Result<()> {
        for (target, image, copy) in self.0 {
            image.replace(&copy)?;
            deployment.member(target, 0).start()?;
        }
        Ok(())
    }
}
