//! One end of a serial cable: a pseudo terminal behind a path that stays the same over unplug and replug.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// A plug: the master side is here, the other side is whoever opens `path`.
#[derive(Debug)]
pub struct Plug {
    /// A symbolic link to the terminal; it dangles never: it is there exactly while the plug is.
    pub path: PathBuf,
    master: OwnedFd,
}

impl Plug {
    /// Makes a raw pseudo terminal and links `path` to it.
    pub fn new(path: &Path) -> Result<Self> {
        let context = || format!("cannot make a pseudo terminal for {}", path.display());
        let make = || -> io::Result<(OwnedFd, PathBuf)> {
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            grantpt(&master)?;
            unlockpt(&master)?;
            let name = ptsname(&master, Vec::new())?;
            let name = PathBuf::from(String::from_utf8_lossy(name.as_bytes()).into_owned());
            // Raw from the start: the settings live as long as the master, and bytes that arrive before the
            // other side opens must not be echoed or cooked.
            let other = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
            let mut settings = tcgetattr(&other)?;
            settings.make_raw();
            tcsetattr(&other, OptionalActions::Now, &settings)?;
            fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
            Ok((master, name))
        };
        let (master, name) = make().with_context(context)?;
        let _ = fs::remove_file(path);
        symlink(&name, path).with_context(context)?;
        Ok(Self { path: path.to_owned(), master })
    }

    /// The master side.
    pub fn master(&self) -> &OwnedFd {
        &self.master
    }

    /// Takes what has arrived, or says why there is nothing.
    pub fn read(&self, buffer: &mut [u8]) -> Received {
        match rustix::io::read(&self.master, buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => Received::NobodyThere,
            Ok(length) => Received::Bytes(length),
            Err(_) => Received::Nothing,
        }
    }

    /// Gives bytes to the other side; returns how many it took.
    pub fn write(&self, bytes: &[u8]) -> usize {
        rustix::io::write(&self.master, bytes).unwrap_or(0)
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What a read of a [`Plug`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The other side is closed.
    NobodyThere,
}
