//! A wall clock of its own for unmodified programs.
//!
//! Setting the machine's clock would hit everybody on it, and a time namespace moves the monotonic clocks alone. So
//! `wall_clock.c` is put in front of the C library of the programs, and adds what a file says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::means::is_there;
use crate::deployment::Scratch;

const SHIM: &str = include_str!("wall_clock.c");

/// A clock that can be set.
pub(crate) struct WallClock {
    offset: PathBuf,
    library: PathBuf,
}

/// Why there can be no such clock here, with what to type.
pub(crate) fn unavailable() -> Option<String> {
    (!is_there("cc", "--version")).then(|| "a C compiler is needed to set clocks; type: apt-get install gcc".to_owned())
}

impl WallClock {
    /// Builds the library in `scratch`; the clock is right.
    pub(crate) fn new(scratch: &Scratch) -> Result<Self> {
        let (source, library, offset) =
            (scratch.join("wall_clock.c"), scratch.join("wall_clock.so"), scratch.join("clock"));
        fs::write(&source, SHIM).context("cannot write the shim")?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source);
        if !cc.status().context("cannot start cc")?.success() {
            bail!("cc cannot build the shim; its messages are above");
        }
        let clock = Self { offset, library };
        clock.set(0)?;
        Ok(clock)
    }

    /// Lets the clock be `seconds` ahead of the right time.
    pub(crate) fn set(&self, seconds: i64) -> Result<()> {
        use std::os::unix::fs::FileExt;
        // In place: the programs have mapped this file.
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.offset);
        file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0)).context("cannot set the clock")
    }

    /// What a program must be started with to go by it.
    pub(crate) fn environment(&self) -> Vec<(String, PathBuf)> {
        vec![("LD_PRELOAD".to_owned(), self.library.clone()), ("WEIR_LAB_CLOCK".to_owned(), self.offset.clone())]
    }
}
