//! The programs under test: built by cargo beside the lab's own binary, or with faults planted.
//!
//! A planted build (`--features plant`) goes to a target directory of its own, so that it never replaces a real one; what
//! both are made of is compiled once, in the one build directory.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// A fault built into agent and gateway, which the ledger must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plant {
    /// Acknowledge before the data is on disk.
    AckBeforeSync,
    /// Forget after a restart that a range is stored already.
    ForgetRange,
    /// Never sync a directory: new files vanish with the power.
    SkipDirectorySync,
    /// Take an fdatasync that failed for one that did not.
    SwallowEio,
    /// Count what is claimed lost, and write no record of it.
    LoseLossRecord,
}

impl Plant {
    /// Whether the agent has it too: the gateway alone keeps ranges, and records of what is lost.
    pub const fn is_of_agent(self) -> bool {
        matches!(self, Self::AckBeforeSync | Self::SkipDirectorySync | Self::SwallowEio)
    }

    /// What the ledger must find, in its words.
    pub const fn shows(self) -> &'static str {
        match self {
            Self::AckBeforeSync | Self::SkipDirectorySync | Self::SwallowEio => "acknowledged and ",
            Self::ForgetRange => "in the log twice",
            Self::LoseLossRecord => "nowhere",
        }
    }

    /// Its name on every command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::ForgetRange => "forget-range",
            Self::SkipDirectorySync => "skip-directory-sync",
            Self::SwallowEio => "swallow-eio",
            Self::LoseLossRecord => "lose-loss-record",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The root of the workspace.
    pub root: PathBuf,
    /// `weir-lab`: guard and host board.
    pub lab: PathBuf,
    /// `weir-agent`.
    pub agent: PathBuf,
    /// `weir-gateway`.
    pub gateway: PathBuf,
}

impl Binaries {
    /// Builds what is needed, with the profile of the running program, or only looks for it.
    pub fn prepare(build: bool, plant: Option<Plant>) -> Result<Self> {
        let root = root()?;
        let plain = Place::of_this_program()?;
        let planted = if plant.is_some() { plain.planted() } else { plain.clone() };
        if build {
            // Together: what they share is compiled once, with the features that tests compile it with.
            cargo(&root, &plain, &plain, &["weir-lab", "weir-agent", "weir-gateway"], &[])?;
            if plant.is_some() {
                let features = ["--features", "weir-agent/plant,weir-gateway/plant"];
                cargo(&root, &plain, &planted, &["weir-agent", "weir-gateway"], &features)?;
            }
        }
        let binaries = Self {
            lab: plain.program("weir-lab"),
            agent: planted.program("weir-agent"),
            gateway: planted.program("weir-gateway"),
            root,
        };
        for path in [&binaries.lab, &binaries.agent, &binaries.gateway] {
            if !path.is_file() {
                bail!("{} is not there; run again without --no-build", path.display());
            }
        }
        Ok(binaries)
    }
}

/// `weir-lab`: the running program, or the one beside a test that runs.
pub fn lab() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find the running program")?;
    if program.file_name().is_some_and(|name| name == "weir-lab") {
        return Ok(program);
    }
    Ok(Place::of_this_program()?.program("weir-lab"))
}

/// A target directory and a profile.
#[derive(Clone, Debug)]
struct Place {
    target: PathBuf,
    /// As cargo names its directory: `debug` or `release`.
    profile: String,
}

impl Place {
    /// Where cargo put the running program: `<target>/<profile>/weir-lab`, or `deps/` below that for a test.
    fn of_this_program() -> Result<Self> {
        let program = std::env::current_exe().context("cannot find the running program")?;
        let mut directory = program.parent();
        if let Some(deps) = directory.filter(|d| d.ends_with("deps")) {
            directory = deps.parent();
        }
        let place = directory.and_then(|d| Some((d.parent()?, d.file_name()?.to_str()?)));
        let Some((target, profile)) = place.filter(|(_, profile)| matches!(*profile, "debug" | "release")) else {
            bail!("{} is not in a cargo target directory; start it with `cargo lab`", program.display());
        };
        Ok(Self { target: target.to_owned(), profile: profile.to_owned() })
    }

    fn planted(&self) -> Self {
        Self { target: self.target.join("plant"), profile: self.profile.clone() }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.target.join(&self.profile).join(name)
    }
}

/// The workspace: cargo says where when it starts the lab; else where it was when the lab was built.
fn root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&manifest).ancestors().find(|directory| directory.join("Cargo.lock").is_file());
    root.map(Path::to_owned).with_context(|| {
        format!(
            "no workspace above {}; start the lab with `cargo lab` inside the repository",
            Path::new(&manifest).display()
        )
    })
}

/// What the variables begin with that cargo sets for what it runs.
const TOLD: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];

/// Builds programs into `place`, with what is compiled already below `plain`.
fn cargo(root: &Path, plain: &Place, place: &Place, packages: &[&str], features: &[&str]) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["build", "--bins", "--target-dir"]).arg(&place.target).args(features);
    command.env("CARGO_BUILD_BUILD_DIR", &plain.target);
    // A first build takes minutes: a person sees it move.
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    if place.profile == "release" {
        command.arg("--release");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    // What cargo told its own child must not leak into the build: build scripts ask for it, and would run again.
    let of_the_child = |key: &str| TOLD.iter().any(|told| key.starts_with(told));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_str().is_some_and(of_the_child)) {
        command.env_remove(key);
    }
    let status = command.stdin(Stdio::null()).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo build of {} failed ({status}); its messages are above", packages.join(", "));
    }
    Ok(())
}
