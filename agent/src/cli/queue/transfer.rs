//! `queue export | import`.

use std::fs::File;
use std::io::BufReader;

use super::{Failure, failure, fs, log_dir, open, print, print_json, vault};
use crate::cli::arguments::{ExportArgs, Format, ImportArgs};
use crate::config::Config;
use crate::queue::{Files, Incarnation, QueueError, State, class};
use crate::transfer::{Selection, Totals, TransferError, export, import};

pub(super) fn export(config: &Config, args: &ExportArgs) -> Result<(), Failure> {
    log_dir(config)?;
    let selection = Selection { device: args.device };
    let totals = if args.copy {
        let vault = vault(config)?;
        let Files { state, claims, .. } =
            Files::load(&fs(), &config.data_dir, &vault).map_err(|error| failed(QueueError::from(error).into()))?;
        let state = state.unwrap_or_else(|| State::new(Incarnation(0)));
        let state = State { claims: claims.unwrap_or_default(), ..state };
        let logs = class::read_logs(&fs(), &config.data_dir, &vault).map_err(|error| failed(error.into()))?;
        export::write(&fs(), (&logs, &state), selection, args.format, &args.target).map_err(failed)?.totals
    } else {
        let queue = open(config)?;
        let state = queue.state().lock().clone();
        let logs: Vec<_> = queue.ids().map(|class| queue.log(class).clone()).collect();
        let exported = export::write(&fs(), (&logs, &state), selection, args.format, &args.target);
        let exported = exported.map_err(failed)?;
        let totals = exported.totals;
        export::give_away(&queue, exported).map_err(failed)?;
        totals
    };
    tell(totals, args.output.output, &format!("in {}", args.target.display()))
}

pub(super) fn import(config: &Config, args: &ImportArgs) -> Result<(), Failure> {
    if !args.source.exists() {
        return Err(Failure::Unavailable(format!("{}: no such file or directory", args.source.display())));
    }
    let queue = open(config)?;
    let totals = if args.source.is_dir() {
        import::directory(&queue, &fs(), &args.source)
    } else {
        import::lines(&queue, || File::open(&args.source).map(BufReader::new))
    };
    tell(totals.map_err(failed)?, args.output.output, "in the queue")
}

fn tell(totals: Totals, format: Format, place: &str) -> Result<(), Failure> {
    if format == Format::Json {
        return print_json(&totals);
    }
    let Totals { readings, claims, ends } = totals;
    print(&format!("{readings} readings, {claims} claims and {ends} ends of restarts are {place}"))
}

fn failed(error: TransferError) -> Failure {
    match error {
        TransferError::Queue(error @ QueueError::Open(_)) => failure(error),
        error => Failure::Failed(error.to_string()),
    }
}
