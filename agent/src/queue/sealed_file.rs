//! A file beside the logs, sealed if there is a key.

use std::path::Path;
use std::sync::Arc;

use weir_storage::{Fs, IoError, Loaded, StateFile};

use super::vault::{Locked, Vault};

/// One of [`super::STATE_FILE`] and [`super::CLAIMS_FILE`].
pub(super) struct SealedFile {
    file: StateFile,
    name: &'static str,
    vault: Arc<Vault>,
}

/// Why such a file cannot be used; nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The filesystem.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The key.
    #[error(transparent)]
    Locked(#[from] Locked),
}

impl SealedFile {
    pub(super) fn new(fs: &Arc<dyn Fs>, data_dir: &Path, name: &'static str, vault: &Arc<Vault>) -> Self {
        Self { file: StateFile::new(Arc::clone(fs), &data_dir.join(name)), name, vault: Arc::clone(vault) }
    }

    /// What it holds, or why it cannot be believed.
    pub(super) fn load<T>(
        &self,
        decode: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<(Option<T>, Option<String>), FileError> {
        let bytes = match self.file.load()? {
            Loaded::Missing => return Ok((None, None)),
            Loaded::Damaged { reason } => return Ok((None, Some(reason))),
            Loaded::Good(bytes) => bytes,
        };
        let opened = self.vault.open(&[self.name.as_bytes()], &bytes)?;
        Ok(match decode(opened.as_deref().unwrap_or(&bytes)) {
            Ok(loaded) => (Some(loaded), None),
            Err(reason) => (None, Some(reason)),
        })
    }

    /// Replaces what it holds; durable when this returns.
    pub(super) fn replace(&self, bytes: Vec<u8>) -> Result<(), IoError> {
        self.file.replace(&self.vault.seal(&[self.name.as_bytes()], bytes))
    }

    /// Whether it shows the key that seals now: what is sealed later than it is written needs that key.
    pub(super) fn is_current(&self) -> Result<bool, IoError> {
        Ok(match self.file.load()? {
            Loaded::Good(bytes) => self.vault.is_current(&bytes, &[self.name.as_bytes()]),
            Loaded::Missing | Loaded::Damaged { .. } => !self.vault.seals(),
        })
    }
}
