//! The agent's own certificate: whether there is one, whose it is, and how long it lives.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Check, Ground};
use crate::identity::{Identity, Store};

const ENROL: &str =
    "weir-agent enroll --force --gateway URL --token TOKEN, with a token of `weir-gateway token create --enroll NAME`";

pub(super) fn check(ground: &Ground<'_>) -> Vec<Check> {
    let subject = "certificate";
    let store = Store::of(&ground.config.data_dir);
    let uplink = &ground.config.uplink;
    let (certificate, key) = match (&uplink.certificate, &uplink.key) {
        (Some(certificate), Some(key)) => (certificate.get_ref().clone(), key.get_ref().clone()),
        _ if store.exists() => (store.device(), store.device()),
        // The gateway may know this agent by a password, or take anybody.
        _ => return Vec::new(),
    };
    let identity = match Identity::read(&certificate, &key) {
        Ok(identity) => identity,
        Err(error) => {
            return vec![Check::problem(subject, error.to_string(), format!("sudo ls -l {}; {ENROL}", key.display()))];
        }
    };
    let mut checks = Vec::new();
    match identity.life() {
        None => checks.push(Check::problem(subject, format!("{}: no name in it", certificate.display()), ENROL)),
        Some(life) => {
            let (days, name) = (life.days_left(ground.now), &life.name);
            checks.push(if name != ground.config.name.as_str() {
                let found = format!("it is for {name:?}, and this agent is {:?}", ground.config.name.as_str());
                Check::problem(subject, found, format!("set name = {name:?}, or {ENROL}"))
            } else if ground.now > life.not_after {
                Check::problem(subject, format!("it ended {} days ago", -days), ENROL)
            } else if ground.now < life.not_before {
                Check::problem(subject, "it has not begun: the clock of this machine is behind", "timedatectl")
            } else if ground.now > life.due() {
                let fix = "journalctl -u weir-agent | grep -i renew says why it is not renewed; the gateway's HTTP port must be reachable";
                Check::warning(subject, format!("it ends in {days} days and should be renewed by now"), fix)
            } else {
                Check::ok(subject, format!("for {name:?}, {days} days left"))
            });
        }
    }
    checks.extend(readable_by_others(&key));
    checks
}

fn readable_by_others(key: &Path) -> Option<Check> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode();
    let shown = key.display();
    (mode & 0o044 != 0).then(|| {
        Check::warning("certificate", format!("{shown}: others can read the key"), format!("sudo chmod 600 {shown}"))
    })
}
