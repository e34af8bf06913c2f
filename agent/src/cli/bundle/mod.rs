//! `bundle`: one archive with everything that whoever helps will ask for, and nothing that is secret.
//!
//! What it guarantees: no file that holds a key, a certificate's key or a password is opened; what the settings hold of
//! them is replaced, there and wherever else it appears ([`crate::redact`]); readings stay out; the archive is new, readable by
//! nobody else, and what is in it is printed. It works with the agent running or not, and with wrong settings, too.

mod gather;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use weir_protocol::settings::SettingsError;
use weir_protocol::time::{SystemClock, WallClock};

use super::arguments::{BundleArgs, Format};
use super::{Failure, print, print_json, runtime};
use crate::config::Config;
use crate::redact::Redacted;
use crate::remote::InForce;

/// One file of the archive.
struct Entry {
    name: &'static str,
    text: String,
}

pub(super) fn run(args: &BundleArgs) -> Result<(), Failure> {
    let path = &args.settings.config;
    let loaded = InForce::load(path);
    let overlay = loaded.as_ref().ok().and_then(InForce::overlay);
    let source = Config::source(path, overlay);
    let redacted = source.ok().and_then(|source| source.parse().ok()).map(Redacted::of).unwrap_or_default();
    let mut entries = vec![
        Entry { name: "about.txt", text: gather::about() },
        Entry { name: "settings.json", text: redacted.settings() },
        Entry {
            name: "validate.txt",
            text: loaded
                .as_ref()
                .map_or_else(place_of, |found| found.note(path).unwrap_or_else(|| "the settings are good".to_owned())),
        },
    ];
    let config = loaded.ok().map(|found| found.config);
    let name = config.as_ref().map_or("unknown", |config| config.name.as_str());
    let target = args.target.clone().unwrap_or_else(|| default_target(name));
    if let Some(config) = &config {
        entries.push(Entry { name: "settings-sources.json", text: gather::sources(config) });
        let runtime = runtime()?;
        entries.extend(runtime.block_on(gather::agent(config)));
        // A name that is still being looked up holds nothing up.
        runtime.shutdown_background();
        entries.extend(gather::queue(config));
    }
    entries.extend(gather::machine(config.as_ref().map(|config| config.data_dir.as_path())));
    for entry in &mut entries {
        entry.text = redacted.scrub(&entry.text);
    }
    write(&target, &entries).map_err(|error| Failure::Failed(format!("{}: {error}", target.display())))?;
    match args.output.output {
        Format::Json => {
            let files = entries.iter().map(|entry| json!({ "name": entry.name, "bytes": entry.text.len() }));
            print_json(&json!({ "bundle": target, "files": files.collect::<Vec<_>>() }))
        }
        Format::Text => {
            entries.iter().try_for_each(|entry| print(&format!("{:>9}  {}", entry.text.len(), entry.name)))?;
            print(&format!("{}: look through it before you send it: tar -xzOf {0} | less", target.display()))
        }
    }
}

/// Where the settings are wrong. The line itself stays out: it may be that of a password.
fn place_of(error: &SettingsError) -> String {
    match error.position() {
        Some((line, column)) => format!("the settings are wrong at line {line}, column {column}"),
        None => error.to_string(),
    }
}

/// In the directory where it is typed.
fn default_target(name: &str) -> PathBuf {
    PathBuf::from(format!("weir-bundle-{name}-{}.tar.gz", SystemClock.now().as_millis().div_euclid(1000)))
}

fn write(target: &Path, entries: &[Entry]) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let now = SystemClock.now().as_millis().div_euclid(1000).max(0) as u64;
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(entry.text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(&mut header, Path::new("weir-bundle").join(entry.name), entry.text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()
}
