//! As whom the agent runs, and what that may open.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};

/// The user of the packages and the unit.
pub(super) const USER: &str = "weir-agent";

/// A user with its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name, or the number of one without.
    pub name: String,
    user: u32,
    groups: Vec<u32>,
}

impl Person {
    /// As whom the process `running` runs; without one, the user of the unit if this is root, else whoever asks.
    pub fn of_the_agent(root: &Path, running: Option<u32>) -> Self {
        let process = running.map_or_else(|| "self".to_owned(), |id| id.to_string());
        let status = fs::read_to_string(root.join("proc").join(process).join("status")).unwrap_or_default();
        let numbers = |field: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
            line.split_whitespace().flat_map(str::parse).collect()
        };
        // Real, effective, saved, filesystem: proc_pid_status(5).
        let user = numbers("Uid:").get(1).copied().unwrap_or_else(|| geteuid().as_raw());
        let mut groups = numbers("Groups:");
        groups.push(numbers("Gid:").get(1).copied().unwrap_or_else(|| getegid().as_raw()));
        match of_the_unit(root).filter(|_| user == 0 && running.is_none()) {
            Some(person) => person,
            None => Self { name: name_of(root, user).unwrap_or_else(|| user.to_string()), user, groups },
        }
    }

    /// Whether the rights of a file let it read and write; false for one that is not there.
    pub(super) fn may_use(&self, path: &Path) -> bool {
        self.may(path, 0o6)
    }

    /// The same for reading alone.
    pub(super) fn may_read(&self, path: &Path) -> bool {
        self.may(path, 0o4)
    }

    /// Whether there is a file that it may run.
    pub(super) fn may_run(&self, path: &Path) -> bool {
        // Who may do everything else may not run what nobody may.
        let is_program = fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0);
        is_program && self.may(path, 0o1)
    }

    fn may(&self, path: &Path, wanted: u32) -> bool {
        let Ok(file) = fs::metadata(path) else { return false };
        let rights = match () {
            () if self.user == 0 => return true,
            () if file.uid() == self.user => file.mode() >> 6,
            () if self.groups.contains(&file.gid()) => file.mode() >> 3,
            () => file.mode(),
        };
        rights & wanted == wanted
    }
}

/// The user that the unit names, with its groups and those that the unit adds.
fn of_the_unit(root: &Path) -> Option<Person> {
    let (user, group) = entries(root, "passwd").into_iter().find_map(|fields| match &fields[..] {
        [name, _, user, group, ..] if name == USER => Some((user.parse().ok()?, group.parse().ok()?)),
        _ => None,
    })?;
    let member = |fields: Vec<String>| match &fields[..] {
        // The unit adds dialout, which is how serial lines are reached.
        [name, _, id, members, ..] if name == "dialout" || members.split(',').any(|m| m == USER) => id.parse().ok(),
        _ => None,
    };
    let groups = entries(root, "group").into_iter().filter_map(member).chain([group]).collect();
    Some(Person { name: USER.to_owned(), user, groups })
}

/// The name of a user of this machine.
pub(crate) fn user_name(user: u32) -> Option<String> {
    name_of(Path::new("/"), user)
}

fn name_of(root: &Path, user: u32) -> Option<String> {
    let id = user.to_string();
    entries(root, "passwd")
        .into_iter()
        .find(|fields| fields.get(2) == Some(&id))
        .map(|mut fields| fields.swap_remove(0))
}

/// The name of a group.
pub(super) fn group_name(root: &Path, group: u32) -> String {
    let id = group.to_string();
    let found = entries(root, "group").into_iter().find(|fields| fields.get(2) == Some(&id));
    found.map_or(id, |mut fields| fields.swap_remove(0))
}

fn entries(root: &Path, file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root.join("etc").join(file)).unwrap_or_default();
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}
