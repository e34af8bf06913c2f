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
pub(crate) struct Line {
    path: PathBuf,
    port: Option<File>,
    reopen: Instant,
    /// The rest of a frame that the line did not take yet.
    waiting: Vec<u8>,
}

impl Line {
    /// The line at `path`, which need not be there yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), port: open(path).ok(), reopen: Instant::now() + REOPEN, waiting: Vec::new() }
    }

    /// Whether a frame is still on its way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
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
    pub(crate) fn receive(&mut self, wait: Duration, buffer: &mut [u8]) -> usize {
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

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A pty to which `link` points from now on: the other end of the cable.
    fn plug(link: &Path) -> Result<File> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let fresh = link.with_extension("new");
        std::os::unix::fs::symlink(name.to_str()?, &fresh)?;
        std::fs::rename(fresh, link)?;
        Ok(File::from(master))
    }

    /// Receives until `text` is there, for at most ten seconds.
    fn expect(line: &mut Line, text: &[u8]) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let (mut received, mut buffer) = (Vec::new(), [0; 64]);
        while received != text {
            assert!(Instant::now() < deadline, "got {received:?}, expected {text:?}");
            let count = line.receive(REOPEN, &mut buffer);
            received.extend_from_slice(&buffer[..count]);
        }
    }

    #[test]
    fn a_cable_that_was_out_works_again_and_no_byte_is_changed_on_the_way() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let link = scratch.path().join("tty");
        let mut line = Line::new(&link);
        line.send(b"nobody is there");
        assert!(!line.is_busy(), "what is sent without a cable is gone");
        // Bytes that a terminal would translate, echo or act on.
        let bytes = [3, 4, 10, 13, 17, 19, 26, 0xff, 0];
        for _ in 0..3 {
            let mut other = plug(&link)?;
            // Until the line is open and raw, the kernel would act on what is written.
            while line.port.is_none() {
                line.receive(REOPEN, &mut [0; 64]);
            }
            other.write_all(&bytes)?;
            expect(&mut line, &bytes);
            line.send(&bytes);
            let mut got = [0; 9];
            other.read_exact(&mut got)?;
            assert_eq!(got, bytes);
            drop(other);
            while line.port.is_some() {
                line.receive(REOPEN, &mut [0; 64]);
            }
        }
        Ok(())
    }

    #[test]
    fn a_line_that_nobody_reads_is_busy_and_blocks_nothing() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let link = scratch.path().join("tty");
        let mut other = plug(&link)?;
        let mut line = Line::new(&link);
        let mut sent = 0;
        while !line.is_busy() {
            line.send(&[7; 512]);
            sent += 512;
        }
        let mut got = vec![0; sent];
        let reader = std::thread::spawn(move || other.read_exact(&mut got).map(|()| (got, other)));
        let deadline = Instant::now() + Duration::from_secs(10);
        while line.is_busy() {
            assert!(Instant::now() < deadline, "still busy");
            line.receive(REOPEN, &mut [0; 64]);
        }
        let (got, _other) = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        assert!(got.iter().all(|byte| *byte == 7));
        Ok(())
    }
}
