//! A small disk in memory: a tmpfs of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The disk, unmounted when it is dropped.
pub(crate) struct SmallDisk {
    /// Where it is mounted.
    pub(crate) path: PathBuf,
}

/// Why there can be no such disk here, with what to type.
pub(crate) fn unavailable(scenario: &str) -> Option<String> {
    let root = rustix::process::geteuid().is_root();
    (!root).then(|| format!("mounting a small disk needs root; type: sudo -E cargo lab soak {scenario}"))
}

impl SmallDisk {
    /// Mounts one at `path`, which is made; `size` is as mount(8) has it, such as `48m`.
    pub(crate) fn mount(path: &Path, size: &str) -> Result<Self> {
        fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))?;
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "weir-lab"], path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Remounts it, so that nothing can be written any more or everything can again. The kernel refuses the first while
    /// a file is open for writing.
    pub(crate) fn turn_read_only(&self, read_only: bool) -> Result<()> {
        mount(&["-o", if read_only { "remount,ro" } else { "remount,rw" }], &self.path)
    }

    /// Fills what is left with a ballast file.
    pub(crate) fn fill(&self) -> Result<PathBuf> {
        let ballast = self.path.join("ballast");
        let mut file = File::create(&ballast).context("cannot make the ballast file")?;
        // Smaller and smaller pieces, until not a byte fits.
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(ballast)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still hold it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> Result<()> {
    let output = Command::new("mount").args(arguments).arg(path).stdin(Stdio::null()).output();
    let output = output.context("cannot start mount")?;
    if !output.status.success() {
        bail!("cannot mount {}: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
