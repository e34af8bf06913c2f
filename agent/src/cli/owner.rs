//! As whom a command may change the data directory.
//!
//! What root writes into the directory of another user, that user's agent cannot open: it would fail at its next start,
//! with nobody looking. So root is turned away there before anything is touched, and told what to type.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use super::Failure;
use crate::config::Config;
use crate::doctor;
use crate::queue::LOG_DIR;

/// Who this is and whose the files are, by number.
struct Users {
    /// Whoever typed it.
    typed: u32,
    /// Owner of the data directory, if it is there.
    dir: Option<u32>,
    /// Owner of the queue in it: the user that ran an agent there.
    queue: Option<u32>,
}

/// Whether this user may make files in the data directory of `config`.
///
/// # Errors
/// [`Failure::Unavailable`]: they would be out of the agent's reach.
pub(super) fn may_change(config: &Config) -> Result<(), Failure> {
    let dir = config.data_dir.as_path();
    let users = Users { typed: geteuid().as_raw(), dir: owner(dir), queue: owner(&dir.join(LOG_DIR)) };
    let Some(other) = users.keeps_out() else { return Ok(()) };
    let name = doctor::user_name(other).unwrap_or_else(|| format!("#{other}"));
    Err(Failure::Unavailable(format!(
        "{} belongs to {name}, whose agent could not open what root writes there; type the same with sudo -u '{name}' in \
         front",
        dir.display()
    )))
}

impl Users {
    /// The user that what this one writes would be out of reach of.
    fn keeps_out(&self) -> Option<u32> {
        // An agent that runs as root in a directory of somebody, as in a container with a volume, reads everything.
        let runs_as_root = self.queue == Some(0);
        self.dir.filter(|dir| self.typed == 0 && *dir != 0 && !runs_as_root)
    }
}

fn owner(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_kept_from_the_directory_of_another_user_alone() {
        let keeps_out = |typed, dir, queue| Users { typed, dir, queue }.keeps_out();
        assert_eq!(keeps_out(0, Some(990), Some(990)), Some(990), "beside the unit");
        assert_eq!(keeps_out(0, Some(990), None), Some(990), "before its first start");
        assert_eq!(keeps_out(0, Some(990), Some(0)), None, "root ran the agent there");
        assert_eq!(keeps_out(0, Some(0), Some(0)), None);
        assert_eq!(keeps_out(0, None, None), None, "nothing is there");
        assert_eq!(keeps_out(990, Some(990), Some(990)), None);
    }
}
