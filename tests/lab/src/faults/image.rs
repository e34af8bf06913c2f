//! A small disk of its own: an ext4 filesystem in a file, mounted through a loop device.
//!
//! What the kernel has not yet given to the disk is not in the backing file, so a copy of that file, taken while the
//! writers are stopped, is what a power cut would leave. The copy counts only if nothing was written while it was taken
//! (the loop device counts its writes), or it would mix two moments as no disk does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Bytes of a disk.
const SIZE: u64 = 192 << 20;
/// Sectors are counted in these, whatever the device has.
const SECTOR: u64 = 512;
/// Copies that are tried until nothing is written meanwhile.
const COPIES: usize = 50;

/// How a disk is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// ext4 as distributions make it.
    Journaled,
    /// ext4 without its journal, as small devices have it; checked before it is mounted, as they do at boot.
    Plain,
    /// ext4 as distributions make it on a card: its blocks are the pages of memory, and it is written out whole, so that
    /// the kernel writes nothing of its own accord.
    Card,
}

/// A disk, unmounted and removed when it is dropped.
pub(crate) struct Image {
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    backing: PathBuf,
    format: Format,
}

/// Why there can be no such disk here, with what to type.
pub(crate) fn unavailable(command: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some(format!("mounting a disk image needs root; type: sudo -E cargo lab {command}"));
    }
    for (tool, package) in [("mkfs.ext4", "e2fsprogs"), ("mount", "mount")] {
        let there = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_err() {
            return Some(format!("{tool} is not installed; type: apt-get install {package}"));
        }
    }
    None
}

impl Image {
    /// Makes the disk `name` in `directory` and mounts it beside its file.
    pub(crate) fn new(directory: &Path, name: &str, format: Format) -> Result<Self> {
        let backing = directory.join(format!("{name}.img"));
        let file = fs::File::create(&backing).with_context(|| format!("cannot make {}", backing.display()))?;
        file.set_len(SIZE).context("cannot make a sparse file")?;
        drop(file);
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F"]);
        match format {
            Format::Journaled => {}
            Format::Plain => drop(mkfs.args(["-O", "^has_journal"])),
            Format::Card => drop(mkfs.args(["-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"])),
        }
        quietly(mkfs.arg(&backing))?;
        let path = directory.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let image = Self { path, backing, format };
        image.mount()?;
        Ok(image)
    }

    fn mount(&self) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop,errors=remount-ro"]).arg(&self.backing).arg(&self.path);
        quietly(&mut mount)
    }

    /// What a cut of its power leaves, in a file of its own. Its writers must be stopped.
    pub(crate) fn copy(&self) -> Result<PathBuf> {
        let copy = self.backing.with_extension("copy");
        let device = self.device()?;
        for _ in 0..COPIES {
            let before = writes(&device)?;
            quietly(Command::new("cp").args(["--sparse=always"]).arg(&self.backing).arg(&copy))?;
            if writes(&device)? == before {
                return Ok(copy);
            }
        }
        bail!("{} was written to during each of {COPIES} copies", self.backing.display())
    }

    /// Goes on with `copy` in the place of the disk. Nobody may use the disk any more.
    pub(crate) fn replace(&self, copy: &Path) -> Result<()> {
        quietly(Command::new("umount").arg(&self.path))?;
        fs::rename(copy, &self.backing).context("cannot replace the disk")?;
        self.power_on()
    }

    /// What the kernel does on a damaged disk: from now on every write fails with EROFS.
    /// (`mount -o remount,ro` is refused while a file is open for writing.)
    pub(crate) fn turn_read_only(&self) -> Result<()> {
        let device = self.device()?;
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1")
            .context("cannot make the kernel find an error")
    }

    /// Unmounts, checks and mounts again. Nobody may use the disk.
    pub(crate) fn repair(&self) -> Result<()> {
        quietly(Command::new("umount").arg(&self.path))?;
        self.check()?;
        self.mount()
    }

    fn power_on(&self) -> Result<()> {
        if self.format == Format::Plain {
            self.check()?;
        }
        self.mount()
    }

    fn check(&self) -> Result<()> {
        let mut check = Command::new("e2fsck");
        let status = check.args(["-f", "-y"]).arg(&self.backing).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status.context("cannot start e2fsck")?.code() {
            // Clean, or mended (e2fsck(8), exit code).
            Some(0 | 1) => Ok(()),
            code => bail!("e2fsck cannot mend {}: exit code {code:?}", self.backing.display()),
        }
    }

    /// Bytes that the disk was given to write, of files and of the filesystem itself, once all of it is written.
    pub(crate) fn written(&self) -> Result<u64> {
        quietly(Command::new("sync").arg("--file-system").arg(&self.path))?;
        Ok(writes(&self.device()?)?.1 * SECTOR)
    }

    /// The name of its loop device.
    fn device(&self) -> Result<String> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
        let path = self.path.to_string_lossy();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&*path));
        let device = line.and_then(|line| line.split(' ').next()).and_then(|device| device.strip_prefix("/dev/"));
        device.map(str::to_owned).with_context(|| format!("{path} is not mounted"))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still hold it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).stderr(Stdio::null()).status();
    }
}

/// Requests and sectors that a block device was given to write (Linux, Documentation/block/stat.rst, fields 5 and 7).
fn writes(device: &str) -> Result<(u64, u64)> {
    let stat = fs::read_to_string(format!("/sys/block/{device}/stat")).context("cannot read what was written")?;
    let fields: Vec<u64> = stat.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    match fields[..] {
        [_, _, _, _, requests, _, sectors, ..] => Ok((requests, sectors)),
        _ => bail!("got {stat:?}, expected at least 7 numbers"),
    }
}

fn quietly(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
