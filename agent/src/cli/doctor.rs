//! `doctor`: what is wrong, and what to type.

use super::arguments::{DoctorArgs, Format};
use super::{Failure, print, print_json, runtime};
use crate::config::Config;
use crate::doctor::{Check, Ground, Verdict, examine};

pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let loaded = Config::load(&args.settings.config);
    let subject = "settings";
    let (config, settings) = match loaded {
        Ok(config) => (config, None),
        Err(error) => {
            let fix = format!("mend it, then: weir-agent validate --config {}", args.settings.config.display());
            (Config::default(), Some(Check::problem(subject, error.to_string(), fix)))
        }
    };
    let mut checks = Vec::new();
    match settings {
        // What follows from settings cannot be looked at without them.
        Some(problem) => checks.push(problem),
        None => {
            checks.push(Check::ok(subject, format!("{} is good", args.settings.config.display())));
            let runtime = runtime()?;
            checks.extend(runtime.block_on(examine(&Ground::here(&config, args.patience.0))));
            // A name that is still being looked up holds nothing up.
            runtime.shutdown_background();
        }
    }
    match args.output.output {
        Format::Json => print_json(&checks)?,
        Format::Text => checks.iter().try_for_each(|check| print(&text(check)))?,
    }
    match checks.iter().filter(|check| check.verdict == Verdict::Problem).count() {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 problem".to_owned())),
        problems => Err(Failure::Failed(format!("{problems} problems"))),
    }
}

pub(super) fn text(check: &Check) -> String {
    let word = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Problem => "PROBLEM",
    };
    // What has several lines, such as wrong settings, keeps them.
    let found = check.found.replace('\n', "\n         ");
    let fix = check.fix.as_ref().map(|fix| format!("\n         -> {fix}")).unwrap_or_default();
    format!("{word:<8} {}: {found}{fix}", check.subject)
}
