//! The board's end of the serial cable: an existing pty, or a symbolic link to one.
//!
//! As with a real UART, nobody knows whether anybody listens: while the cable is out, what is sent is gone, and
//! the path is tried again. One frame at most waits for the line; until it is gone the line is busy.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Between two tries to open a cable that is out.
const REOPEN: Duration = Duration::from_millis(50);

/// The serial line.
pub(super) struct Line {
    path: PathBuf,
    port: Option<File>,
    reopen: Instant,
    /// The rest of a frame that the line did not take yet.
    waiting: Vec<u8>,
}

impl Line {
    /// The line at `path`, which need not be there yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), port: open(path).ok(), reopen: Instant::now() + REOPEN, waiting: Vec::new() }
    }

    /// Whether a frame is still on its way.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, frame: &[u8]) {
        self.waiting.extend_from_slice(frame);
        self.flush();
    }

    fn flush(&mut self) {
        let Some(port) = &mut self.port else { return self.waiting.clear() };
        while !self.waiting.is_empty() {
            match port.write(&self.waiting) {
                Ok(0) => return self.unplugged(),
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.unplugged(),
            }
        }
    }

    fn unplugged(&mut self) {
        self.port = None;
        self.reopen = Instant::now() + REOPEN;
        self.waiting.clear();
    }

    /// Waits for bytes, or until the line takes more of a waiting frame, for at most `wait`. Returns how many
    /// bytes arrived.
    pub(super) fn receive(&mut self, wait: Duration, buffer: &mut [u8]) -> usize {
        if self.port.is_none() && Instant::now() >= self.reopen {
            self.port = open(&self.path).ok();
            self.reopen = Instant::now() + REOPEN;
        }
        let wait = wait.min(REOPEN);
        let Some(port) = &mut self.port else {
            std::thread::sleep(wait);
            return 0;
        };
        let interest = if self.waiting.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        if !poll(&mut [PollFd::new(&*port, interest)], Some(&timeout)).is_ok_and(|events| events > 0) {
            return 0;
        }
        match port.read(buffer) {
            Ok(received @ 1..) => {
                self.flush();
                received
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.flush();
                0
            }
            Ok(0) | Err(_) => {
                self.unplugged();
                0
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let port: OwnedFd = rustix::fs::open(path, flags, Mode::empty())?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(File::from(port))
}
