//! What systemd and the kernel allow the agent.

use std::fs;

use super::{Check, Ground};

/// Where units are looked for, first found first.
const UNITS: [&str; 3] = [
    "/etc/systemd/system/weir-agent.service",
    "/run/systemd/system/weir-agent.service",
    "/usr/lib/systemd/system/weir-agent.service",
];
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/weir-agent.service";
/// Lines, connections, segments and a few more.
const FEW_FILES: u64 = 256;

pub(super) fn check(ground: &Ground<'_>, running: Option<u32>) -> Vec<Check> {
    unit(ground).into_iter().chain(open_files(ground, running)).collect()
}

fn unit(ground: &Ground<'_>) -> Option<Check> {
    // sd_booted(3)
    if !ground.path("/run/systemd/system").is_dir() {
        return None;
    }
    let subject = "systemd";
    let Some(unit) = UNITS.into_iter().find(|unit| ground.path(unit).exists()) else {
        let fix = "install deploy/systemd/weir-agent.service as deploy/agent.md says; without it nobody starts the agent again";
        return Some(Check::warning(subject, "there is no unit weir-agent.service", fix));
    };
    Some(match fs::symlink_metadata(ground.path(ENABLED)) {
        Ok(_) => Check::ok(subject, format!("{unit}, started at boot")),
        Err(_) => {
            Check::warning(subject, format!("{unit} is not started at boot"), "sudo systemctl enable --now weir-agent")
        }
    })
}

fn open_files(ground: &Ground<'_>, running: Option<u32>) -> Option<Check> {
    let process = running.map_or_else(|| "self".to_owned(), |id| id.to_string());
    let limits = fs::read_to_string(ground.path("/proc").join(process).join("limits")).ok()?;
    // "Max open files  1024  524288  files": the first number is the limit in force (proc_pid_limits(5)).
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    let subject = "open files";
    Some(if limit < FEW_FILES {
        let fix = "sudo systemctl edit weir-agent: [Service] LimitNOFILE=4096; in a shell: ulimit -n 4096";
        Check::warning(subject, format!("at most {limit}, and {FEW_FILES} are used on a busy day"), fix)
    } else {
        Check::ok(subject, format!("at most {limit}"))
    })
}
