//! `validate`: whether the settings are good.

use serde_json::json;

use super::arguments::{Format, SettingsArgs};
use super::{Failure, load, print, print_json};

pub(super) fn run(args: &SettingsArgs) -> Result<(), Failure> {
    load(&args.settings)?;
    let path = args.settings.config.display().to_string();
    match args.output.output {
        Format::Json => print_json(&json!({ "settings": path, "good": true })),
        Format::Text => print(&format!("{path}: the settings are good")),
    }
}
