//! Files that hold secrets: whether the agent may read them, and nobody else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use weir_storage::{Fs, RealFs};

use super::{Check, Ground, Person};
use crate::config::KeyError;
use crate::queue::{Files, QueueError, Vault};

pub(super) fn check(ground: &Ground<'_>, person: &Person) -> Vec<Check> {
    let config = ground.config;
    let mut checks = encryption(ground, person);
    let gateways = config.uplink.gateways();
    let of_gateways = gateways.iter().filter_map(|gateway| gateway.password_file.as_ref()).map(|file| file.get_ref());
    let of_brokers = config.mqtt.iter().filter_map(|broker| broker.password_file.as_ref()).map(|file| file.get_ref());
    let token = config.line_protocol.iter().filter_map(|port| port.token_file.as_ref());
    let mut files: Vec<&Path> = of_gateways.chain(of_brokers).chain(token).map(|file| file.as_path()).collect();
    files.sort_unstable();
    files.dedup();
    checks.extend(files.into_iter().filter_map(|file| secret(person, "secret", file)));
    checks
}

/// The key of the queue: without it the agent does not start.
fn encryption(ground: &Ground<'_>, person: &Person) -> Vec<Check> {
    let subject = "encryption";
    let Some(config) = ground.config.queue.encryption.as_ref().map(|section| section.get_ref()) else {
        return Vec::new();
    };
    match config.keys() {
        // systemd hands it to the agent alone.
        Err(KeyError::NoCredential(name)) => {
            let found = format!("the key is the credential {name:?}, which is there in the unit alone");
            return vec![Check::ok(subject, found)];
        }
        Err(error @ (KeyError::Read { .. } | KeyError::NoKey { .. } | KeyError::NotNamed)) => {
            let fix = "a key that was lost is lost with what it sealed; a new queue takes a new one: head -c 32 /dev/urandom | base64 > FILE";
            return vec![Check::problem(subject, error.to_string(), fix)];
        }
        Ok(_) => {}
    }
    let files = config.key_file.iter().map(|file| file.get_ref()).chain(&config.previous_key_file);
    let wrong: Vec<Check> = files.filter_map(|file| secret(person, subject, file)).collect();
    if wrong.is_empty() { vec![opens(ground, subject)] } else { wrong }
}

/// Whether the key is that of the queue: with another one the agent does not start either.
fn opens(ground: &Ground<'_>, subject: &str) -> Check {
    let disk: Arc<dyn Fs> = Arc::new(RealFs);
    let opened = Vault::of(ground.config)
        .and_then(|vault| Files::load(&disk, &ground.config.data_dir, &Arc::new(vault)).map_err(QueueError::from));
    match opened {
        Err(QueueError::Locked(error)) => {
            let fix = "put the key back from where a copy is; a new one is for an empty queue: move the data directory aside first";
            Check::problem(subject, error.to_string(), fix)
        }
        // Whatever else is wrong with the directory is said where that is looked at.
        _ => Check::ok(subject, "the key is there, and for the agent alone"),
    }
}

/// What is wrong with the rights of a file.
fn secret(person: &Person, subject: &str, path: &Path) -> Option<Check> {
    let (shown, name) = (path.display(), &person.name);
    let Ok(file) = std::fs::metadata(path) else {
        let fix = format!("sudo install -o {name} -m 600 /dev/stdin {shown}, and type it");
        return Some(Check::problem(subject, format!("{shown} is not there"), fix));
    };
    let own = format!("sudo chown {name} {shown} && sudo chmod 600 {shown}");
    if !person.may_read(path) {
        return Some(Check::problem(subject, format!("{shown}: {name} may not read it"), own));
    }
    let is_open = file.permissions().mode() & 0o044 != 0;
    is_open.then(|| Check::warning(subject, format!("{shown}: others may read it"), own))
}
