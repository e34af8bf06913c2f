//! `validate`: whether the settings are good.

use serde_json::json;

use super::arguments::{Format, SettingsArgs};
use super::{Failure, in_force, print, print_json};

pub(super) fn run(args: &SettingsArgs) -> Result<(), Failure> {
    let found = in_force(&args.settings)?;
    let config = &found.config;
    let warnings = crate::processing::settings::warnings(&config.process);
    let path = args.settings.config.display().to_string();
    match args.output.output {
        Format::Json => {
            print_json(&json!({ "settings": path, "good": true, "warnings": warnings, "remote": config.overlay }))
        }
        Format::Text => {
            if let Some(note) = found.note(&args.settings.config) {
                eprintln!("{note}");
            }
            warnings.iter().try_for_each(|warning| print(&format!("{path}: {warning}")))?;
            print(&format!("{path}: the settings are good"))
        }
    }
}
