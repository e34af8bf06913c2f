//! The settings that the agent runs with, which are not those of the file if that was changed since it was read.

use serde::{Deserialize, Serialize};

use super::View;
use crate::config::Setting;

/// The settings of a running agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// Its name.
    pub agent: String,
    /// Its process.
    pub pid: u32,
    /// The settings of an operator among them.
    pub remote: Option<RemoteSettings>,
    /// What was written, and by whom; secrets are taken out.
    pub settings: Vec<Setting>,
}

/// Settings of an operator that are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteSettings {
    /// The version of the document.
    pub version: u64,
    /// Whether they still have to show that they work.
    pub on_trial: bool,
}

pub(super) fn of(view: &View) -> Running {
    Running {
        agent: view.agent.to_string(),
        pid: std::process::id(),
        remote: remote(view),
        settings: view.written.to_vec(),
    }
}

pub(super) fn remote(view: &View) -> Option<RemoteSettings> {
    let version = view.overlay?;
    let on_trial = view.desk.look(|ledger| ledger.trial.as_ref().is_some_and(|trial| trial.overlay.version == version));
    Some(RemoteSettings { version, on_trial })
}
