//! The two files beside the log, as they are on disk.

use std::path::Path;
use std::sync::Arc;

use weir_storage::Fs;

use super::sealed_file::{FileError, SealedFile};
use super::{CLAIMS_FILE, Claims, STATE_FILE, State, Vault};

/// What the files hold; damage is an answer, not an error.
#[derive(Debug, Default)]
pub struct Files {
    /// The state, if there is one that can be believed.
    pub state: Option<State>,
    /// Why the state cannot be believed, if so.
    pub state_damage: Option<String>,
    /// The claims beside the log, likewise.
    pub claims: Option<Claims>,
    /// Why they cannot be believed, if so.
    pub claims_damage: Option<String>,
}

impl Files {
    /// Reads the files below `data_dir`.
    pub fn load(fs: &Arc<dyn Fs>, data_dir: &Path, vault: &Arc<Vault>) -> Result<Self, FileError> {
        let file = |name| SealedFile::new(fs, data_dir, name, vault);
        let (state, state_damage) = file(STATE_FILE).load(State::decode)?;
        let (claims, claims_damage) = file(CLAIMS_FILE).load(Claims::decode)?;
        Ok(Self { state, state_damage, claims, claims_damage })
    }
}
