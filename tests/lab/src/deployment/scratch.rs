//! A fresh directory for one run: removed when the run went well, kept and named when it did not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// The directory. Kept unless [`Scratch::remove`] is called.
#[derive(Debug)]
pub struct Scratch(Option<TempDir>);

impl Scratch {
    /// Makes it in the system's temporary directory.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("weir-lab-").tempdir();
        dir.map(|dir| Self(Some(dir)))
            .context("cannot make a temporary directory; set TMPDIR to one that can be written")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The run went well: nobody needs it any more.
    pub fn remove(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), TempDir::close).context("cannot remove the temporary directory")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(dir) = self.0.take() {
            eprintln!("kept for inspection: {}", dir.keep().display());
        }
    }
}
