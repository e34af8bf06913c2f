//! The settings that an agent on this machine runs with, for the commands that are typed beside it.
//!
//! Guarantees: they are laid over each other as `run` does it, and nothing on disk is changed. What cannot be found out,
//! because only root or the agent's user may read the ledger, is said ([`InForce::note`]) and not guessed.

use std::path::Path;
use std::sync::Arc;

use weir_protocol::settings::SettingsError;
use weir_storage::{Fs, RealFs};

use super::ledger::{LedgerFile, Overlay};
use crate::config::Config;
use crate::reload::check_same_agent;

/// Settings, and what of them came from an operator.
pub struct InForce {
    /// The settings.
    pub config: Config,
    remote: Remote,
}

/// What is known of remote settings.
enum Remote {
    /// There are none.
    None,
    /// These are laid over the file, on trial or confirmed.
    Laid(Overlay, bool),
    /// These do not go with the file, and why.
    LeftOut(Overlay, String),
    /// Nobody knows here, and why.
    Unknown(String),
}

impl InForce {
    /// Reads the file at `path`, and the ledger of the agent whose settings they are.
    ///
    /// # Errors
    /// [`SettingsError`] if the file itself is wrong.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let config = Config::load(path)?;
        if !config.remote.is_on() {
            return Ok(Self { config, remote: Remote::None });
        }
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let ledger = match LedgerFile::open(&fs, &config.data_dir) {
            Ok((_, ledger, None)) => ledger,
            Ok((.., Some(damage))) => return Ok(Self { config, remote: Remote::Unknown(damage) }),
            Err(error) => return Ok(Self { config, remote: Remote::Unknown(error.to_string()) }),
        };
        let trial = ledger.trial.map(|trial| (trial.overlay, true));
        let mut remote = Remote::None;
        for (overlay, on_trial) in trial.into_iter().chain(ledger.confirmed.map(|overlay| (overlay, false))) {
            let read = Config::load_with(path, Some(&overlay)).map_err(|error| error.to_string());
            let same = |new: Config| check_same_agent((config.name, &config.data_dir), &new).map(|()| new);
            match read.and_then(same) {
                Ok(config) => return Ok(Self { config, remote: Remote::Laid(overlay, on_trial) }),
                Err(why) => remote = Remote::LeftOut(overlay, why),
            }
        }
        Ok(Self { config, remote })
    }

    /// The settings of an operator that are laid over the file.
    pub fn overlay(&self) -> Option<&Overlay> {
        match &self.remote {
            Remote::Laid(overlay, _) => Some(overlay),
            _ => None,
        }
    }

    /// Whether they still have to show that they work.
    pub fn is_on_trial(&self) -> bool {
        matches!(self.remote, Remote::Laid(_, true))
    }

    /// Whether something stands in the way of knowing or of obeying them.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.remote, Remote::LeftOut(..) | Remote::Unknown(_))
    }

    /// What whoever typed the command should know of remote settings over the file at `path`.
    pub fn note(&self, path: &Path) -> Option<String> {
        let path = path.display();
        match &self.remote {
            Remote::None => None,
            Remote::Laid(overlay, on_trial) => {
                let trial = if *on_trial { ", on trial," } else { "" };
                Some(format!("{}{trial} lie over {path}; `weir-agent config show` says what they set", overlay.name()))
            }
            Remote::LeftOut(overlay, why) => {
                Some(format!("{} do not go with {path}, and are left out:\n{why}", overlay.name()))
            }
            Remote::Unknown(why) => {
                Some(format!("whether remote settings lie over {path} is not known here: {why}; type it with sudo"))
            }
        }
    }
}
