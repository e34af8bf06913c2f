//! `weir-lab prove`, run as a person runs it.

use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::{binaries, seed};

/// Runs it until it ends by itself; what it printed, and its report.
pub fn prove(arguments: &[&str]) -> (Output, Json, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("proof");
    let mut command = Command::new(&binaries().lab);
    command.arg("prove").args(arguments).args(["--seed", &seed().to_string(), "--report"]).arg(&report);
    let output = command.output().expect("weir-lab starts");
    let read = |extension: &str| std::fs::read_to_string(report.with_extension(extension)).unwrap_or_default();
    let json = serde_json::from_str(&read("json")).unwrap_or_default();
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, json, read("html"))
}
