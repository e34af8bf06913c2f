//! A cable: a pty, of which the test holds one end.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::net::unix::pipe::{Receiver, Sender};

/// What the agent sends, what it hears, and its own end, held open so that the other has a peer before it comes. `path`
/// becomes a line. A pipe is not what it is, but reads and writes as one.
pub(crate) fn plug(path: &Path) -> (Receiver, Sender, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
    grantpt(&master).expect("a pty");
    unlockpt(&master).expect("a pty");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("a name");
    let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    let slave = slave.expect("the other end");
    // Until the agent opens the line nobody echoes what the test says.
    let mut raw = rustix::termios::tcgetattr(&slave).expect("a terminal");
    raw.make_raw();
    rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &raw).expect("a terminal");
    rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).expect("a pty");
    std::os::unix::fs::symlink(&name, path).expect("a free path");
    let from_agent = File::from(master.try_clone().expect("a descriptor"));
    let from_agent = Receiver::from_file_unchecked(from_agent).expect("a reactor");
    (from_agent, Sender::from_file_unchecked(File::from(master)).expect("a reactor"), slave)
}
