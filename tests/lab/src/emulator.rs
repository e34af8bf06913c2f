//! What an emulated board needs: the firmware image, Node, and the emulator's packages.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::binaries::Binaries;
use crate::deployment::Emulator;

/// An emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The RP2040 of a Raspberry Pi Pico, in Node
    Rp2040js,
}

/// The oldest Node that runs it.
const NODE_MAJOR: u32 = 20;

/// Builds the image and installs the emulator's packages, if that was not done yet.
pub fn prepare(kind: Kind, binaries: &Binaries) -> Result<Emulator> {
    let Kind::Rp2040js = kind;
    node()?;
    let directory = binaries.root.join("tests/emulators/rp2040js");
    if !directory.join("node_modules/rp2040js").is_dir() {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&directory);
        output(&mut npm).context("the emulator's packages; type: apt-get install npm")?;
    }
    let printed = output(Command::new(binaries.root.join("firmware/build")).arg("rp2040"))?;
    let image = printed.lines().map(Path::new).find(|path| path.is_absolute() && path.extension().is_none());
    let Some(image) = image else { bail!("firmware/build printed no image; it printed:\n{printed}") };
    Ok(Emulator { image: image.to_owned(), main: directory.join("main.mjs"), unique: true })
}

fn node() -> Result<()> {
    let version = output(Command::new("node").arg("--version")).context("type: apt-get install nodejs npm")?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR) {
        bail!("Node {}: expected {NODE_MAJOR} or later; type: apt-get install nodejs npm", version.trim());
    }
    Ok(())
}

/// What a command prints; what it complains about goes to the terminal.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
