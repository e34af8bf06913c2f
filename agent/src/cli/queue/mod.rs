//! `queue ...`: the queue of this box, from its files.

mod look;
mod transfer;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use rand::random;
use weir_storage::{Fs, OpenError, RealFs};

use super::arguments::QueueCommand;
use super::{Failure, load, owner, print, print_json};
use crate::config::Config;
use crate::queue::{Incarnation, LOG_DIR, Queue, QueueError, QueueOptions, Vault};

pub(super) fn run(command: QueueCommand) -> Result<(), Failure> {
    match command {
        QueueCommand::Stat(args) => look::stat(&load(&args.settings)?, args.output.output),
        QueueCommand::Inspect(args) => look::inspect(&load(&args.settings)?, args.output.output),
        QueueCommand::Verify(args) => look::verify(&load(&args.settings)?, args.output.output),
        QueueCommand::Repair(args) => look::repair(&load(&args.settings)?, args.output.output),
        QueueCommand::Export(args) => transfer::export(&load(&args.settings)?, &args),
        QueueCommand::Import(args) => transfer::import(&load(&args.settings)?, &args),
    }
}

pub(super) fn fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

/// The directory of the log, which must be there.
fn log_dir(config: &Config) -> Result<PathBuf, Failure> {
    let dir = config.data_dir.join(LOG_DIR);
    let (why, help) = match std::fs::metadata(&dir) {
        Ok(found) if found.is_dir() => return Ok(dir),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            (error.to_string(), "type the same with sudo in front")
        }
        _ => ("no queue here yet".to_owned(), "start the agent once, or name its settings with --config PATH"),
    };
    Err(Failure::Unavailable(format!("{}: {why}; {help}", dir.display())))
}

/// What opens the queue.
fn vault(config: &Config) -> Result<Arc<Vault>, Failure> {
    Ok(Arc::new(Vault::of(config).map_err(failure)?))
}

/// Opens the queue to change it, which only one process can.
fn open(config: &Config) -> Result<Queue, Failure> {
    owner::may_change(config)?;
    let options = QueueOptions::of(config).map_err(failure)?;
    match Queue::open(&fs(), &config.data_dir, options, Incarnation(random())) {
        Ok((queue, _)) => Ok(queue),
        Err(error) => Err(failure(error)),
    }
}

fn failure(error: QueueError) -> Failure {
    match error {
        QueueError::Open(OpenError::Locked(_)) => {
            Failure::Unavailable(format!("{error}; if it is the agent: systemctl stop weir-agent"))
        }
        error => Failure::Failed(error.to_string()),
    }
}
