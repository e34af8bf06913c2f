//! Devices of this machine: whether they are there, and whether the agent may open them. Nothing is opened.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Check, Ground, Person, person};

pub(super) fn check(ground: &Ground<'_>, person: &Person) -> Vec<Check> {
    let mut checks = Vec::new();
    for line in &ground.config.serial {
        let pattern = line.path.get_ref();
        let subject = format!("serial {pattern}");
        let found = crate::source::serial::matches(&ground.path(pattern).to_string_lossy());
        if found.is_empty() {
            let fix =
                "weir-agent ports lists what is plugged in; dmesg | tail says what the kernel saw; else the cable";
            checks.push(Check::problem(subject, "no such line now", fix));
            continue;
        }
        checks.extend(found.iter().map(|path| device(ground, person, &subject, path)));
    }
    checks
}

/// Whether the agent may open what is at `path`.
fn device(ground: &Ground<'_>, person: &Person, subject: &str, path: &Path) -> Check {
    let shown = path.display();
    if person.may_use(path) {
        return Check::ok(subject, format!("{shown} is there, and {} may open it", person.name));
    }
    let Ok(file) = std::fs::metadata(path) else {
        return Check::problem(subject, format!("{shown} is not there"), "weir-agent ports lists what is plugged in");
    };
    let group = person::group_name(&ground.root, file.gid());
    let name = &person.name;
    let fix = match file.gid() {
        0 => format!("sudo chgrp dialout {shown}, and a udev rule that keeps it so"),
        _ if name == person::USER => {
            format!(
                "sudo systemctl edit weir-agent: [Service] SupplementaryGroups={group}; then systemctl restart weir-agent"
            )
        }
        _ => format!("sudo usermod -aG {group} {name}; then log in again, or restart the agent"),
    };
    Check::problem(subject, format!("{shown} is there, and {name} may not open it"), fix)
}
