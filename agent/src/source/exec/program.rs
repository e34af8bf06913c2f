//! A running program: no shell, nothing of this process but its user, and a process group of its own, with which
//! everything that it started ends.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpid};
use tokio::net::unix::pipe::Receiver;

/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Time between two looks at a program that has nothing more to print.
const LOOK: Duration = Duration::from_millis(5);

/// It is killed when this goes.
pub(super) struct Program {
    child: Child,
    /// What came of it; from then on its number may be that of another process.
    status: Option<ExitStatus>,
    pub(super) stdout: Receiver,
    pub(super) stderr: Receiver,
}

impl Program {
    /// Starts it. Must be called within the runtime.
    pub(super) fn start(words: &[String]) -> io::Result<Self> {
        let (name, args) = words.split_first().ok_or(ErrorKind::InvalidInput)?;
        let mut command = Command::new(name);
        command.args(args).env_clear().env("PATH", PATH).current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let pipes = child.stdout.take().map(OwnedFd::from).zip(child.stderr.take().map(OwnedFd::from));
        let (stdout, stderr) = pipes.ok_or(ErrorKind::BrokenPipe)?;
        let (stdout, stderr) = (Receiver::from_owned_fd(stdout)?, Receiver::from_owned_fd(stderr)?);
        Ok(Self { child, status: None, stdout, stderr })
    }

    /// Whether it ended by itself, and how. What it left behind ends then, too.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            let pid = Pid::from_child(&self.child);
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if waitid(WaitId::Pid(pid), look)?.is_some() {
                // Its number is its group's until it is waited for.
                let _ = kill_process_group(pid, Signal::KILL);
                self.status = Some(self.child.wait()?);
            }
        }
        Ok(self.status)
    }

    /// Waits until it ends by itself.
    pub(super) async fn end(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        let pid = Pid::from_child(&self.child);
        let _ = kill_process_group(pid, Signal::KILL);
        if matches!(self.child.try_wait(), Ok(None)) {
            // Gone in a moment, unless a driver holds it: the agent does not wait for that, but its entry goes.
            std::thread::spawn(move || waitpid(Some(pid), WaitOptions::empty()));
        }
    }
}

/// How it ended, for a person.
pub(super) fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    }
}
