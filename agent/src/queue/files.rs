//! The two files beside the log, as they are on disk.

use std::path::Path;
use std::sync::Arc;

use weir_storage::{Fs, IoError, Loaded, StateFile};

use super::{CLAIMS_FILE, Claims, STATE_FILE, State};

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
    pub fn load(fs: &Arc<dyn Fs>, data_dir: &Path) -> Result<Self, IoError> {
        let (state, state_damage) = load(&StateFile::new(Arc::clone(fs), &data_dir.join(STATE_FILE)), State::decode)?;
        let claims = StateFile::new(Arc::clone(fs), &data_dir.join(CLAIMS_FILE));
        let (claims, claims_damage) = load(&claims, Claims::decode)?;
        Ok(Self { state, state_damage, claims, claims_damage })
    }
}

/// What a file holds, or why it cannot be believed.
pub(super) fn load<T>(
    file: &StateFile,
    decode: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<(Option<T>, Option<String>), IoError> {
    Ok(match file.load()? {
        Loaded::Missing => (None, None),
        Loaded::Damaged { reason } => (None, Some(reason)),
        Loaded::Good(bytes) => match decode(&bytes) {
            Ok(loaded) => (Some(loaded), None),
            Err(reason) => (None, Some(reason)),
        },
    })
}
