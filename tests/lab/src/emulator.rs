//! What an emulated board needs: the firmware image, and the emulator with its packages.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::binaries::Binaries;
use crate::deployment::Emulator;
use crate::qemu;

/// An emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The RP2040 of a Raspberry Pi Pico, in Node
    Rp2040js,
    /// The LM3S6965 of a Stellaris evaluation board, in QEMU
    Lm3s6965,
}

impl Kind {
    /// What the firmware image calls itself unless it is told otherwise.
    pub const fn device(self) -> &'static str {
        match self {
            Self::Rp2040js => "pico-e6614c311b7e5a2f",
            Self::Lm3s6965 => qemu::DEVICE,
        }
    }

    /// The board, as `firmware/build` names it.
    const fn board(self) -> &'static str {
        match self {
            Self::Rp2040js => "rp2040",
            Self::Lm3s6965 => "lm3s6965",
        }
    }

    /// The emulator's option for the file that survives the chip's power.
    pub(crate) const fn memory_option(self) -> &'static str {
        match self {
            Self::Rp2040js => "--flash",
            Self::Lm3s6965 => "--eeprom",
        }
    }
}

/// The oldest Node that runs it.
const NODE_MAJOR: u32 = 20;

/// Builds the image and installs the emulator's packages, if that was not done yet.
pub fn prepare(kind: Kind, binaries: &Binaries) -> Result<Emulator> {
    let command = match kind {
        Kind::Rp2040js => rp2040js(&binaries.root)?,
        Kind::Lm3s6965 => {
            let version = output(Command::new(qemu::QEMU).arg("--version"));
            version.context("type: apt-get install qemu-system-arm")?;
            vec![binaries.lab.clone().into(), "lm3s6965".into()]
        }
    };
    let printed = output(Command::new(binaries.root.join("firmware/build")).arg(kind.board()))?;
    let image = printed.lines().map(Path::new).find(|path| path.is_absolute() && path.extension().is_none());
    let Some(image) = image else { bail!("firmware/build printed no image; it printed:\n{printed}") };
    Ok(Emulator { kind, image: image.to_owned(), command, unique: true })
}

/// Node, its version, and the packages of the emulator in it.
fn rp2040js(root: &Path) -> Result<Vec<OsString>> {
    let version = output(Command::new("node").arg("--version")).context("type: apt-get install nodejs npm")?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR) {
        bail!("Node {}: expected {NODE_MAJOR} or later; type: apt-get install nodejs npm", version.trim());
    }
    let directory = root.join("tests/emulators/rp2040js");
    if !directory.join("node_modules/rp2040js").is_dir() {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&directory);
        output(&mut npm).context("the emulator's packages; type: apt-get install npm")?;
    }
    Ok(vec!["node".into(), directory.join("main.mjs").into()])
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
