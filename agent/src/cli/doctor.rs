//! `doctor`: what is wrong, and what to type.

use super::arguments::{DoctorArgs, Format};
use super::{Failure, print, print_json, runtime};
use crate::doctor::{Check, Ground, Verdict, examine};
use crate::remote::InForce;

pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let path = args.settings.config.as_path();
    let subject = "settings";
    let mut checks = Vec::new();
    match InForce::load(path) {
        // What follows from settings cannot be looked at without them.
        Err(error) => {
            let fix = format!("mend it, then: weir-agent validate --config {}", path.display());
            checks.push(Check::problem(subject, error.to_string(), fix));
        }
        Ok(found) => {
            checks.push(Check::ok(subject, format!("{} is good", path.display())));
            checks.extend(found.note(path).map(|note| match found.is_in_doubt() {
                true => Check::warning("remote settings", note, "sudo weir-agent config show"),
                false => Check::ok("remote settings", note),
            }));
            let runtime = runtime()?;
            checks.extend(runtime.block_on(examine(&Ground::here(&found.config, args.patience.0))));
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
