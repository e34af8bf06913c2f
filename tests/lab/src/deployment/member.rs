//! One process of the deployment, over all its lives.

use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::process::{Process, Program};

/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 15;
/// How long one that has just begun is left alone before it is asked to end.
const AWAKE: Duration = Duration::from_millis(500);

/// A process that is started again when it is killed.
pub struct Member {
    /// How to start it.
    pub program: Program,
    process: Option<Process>,
    /// How often it was started.
    pub lives: u32,
    /// What calls that a lab makes fail say to this life of it.
    injected: Option<Errno>,
}

/// Why a process is gone that nobody asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody killed it by this signal.
    Signal(i32),
    /// It said that its disk fails, which it did: that was injected.
    Injected(Errno),
}

/// A process that was killed by somebody and started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    /// What people call it.
    pub name: String,
    /// The process that died.
    pub died: i32,
    /// Of what.
    pub cause: Cause,
    /// The process that took over.
    pub now: i32,
}

impl fmt::Display for Revived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, died, cause, now } = self;
        match cause {
            Cause::Signal(signal) => write!(f, "{name} (process {died}) was killed by signal {signal}")?,
            Cause::Injected(errno) => {
                write!(f, "{name} (process {died}) ended because of the injected fault ({errno})")?
            }
        }
        write!(f, "; started again as process {now}")
    }
}

impl Member {
    /// Nothing runs yet.
    pub fn new(program: Program) -> Self {
        Self { program, process: None, lives: 0, injected: None }
    }

    /// Starts it; `None` if it runs already.
    pub fn start(&mut self) -> Result<Option<&mut Process>> {
        if self.process.is_some() {
            return Ok(None);
        }
        self.lives += 1;
        self.injected = None;
        Ok(Some(self.process.insert(self.program.start()?)))
    }

    /// Its process, if it was started and not yet seen to end.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Its process id, or 0.
    pub fn pid(&self) -> i32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    /// From now on calls of this life fail with `errno`. One that ends of it and says so is right to do so: nothing that was
    /// acknowledged is lost by it, and whoever supervises a daemon starts it again.
    pub fn fails_with(&mut self, errno: Errno) {
        self.injected = Some(errno);
    }

    /// Whether an end is that of a life whose disk was made to fail: the last thing that it said names that error.
    pub fn is_of_injected(&self, status: ExitStatus) -> Option<Errno> {
        let says = |errno: &Errno| self.last_words().contains(&format!("os error {}", errno.raw_os_error()));
        self.injected.filter(|errno| status.code().is_some_and(|code| code != 0) && says(errno))
    }

    /// Forgets and returns its process, if any.
    pub fn take(&mut self) -> Option<Process> {
        self.process.take()
    }

    /// Kills it with -9 and waits until it is gone.
    pub async fn end(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Asks it to end, and waits at most `limit`; ending with an error is one.
    pub async fn stop(&mut self, limit: Duration) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.stop(limit).await?;
        if self.is_of_injected(status).is_some() {
            // Its next life finds a disk that is well, and says how that ends.
            self.start()?;
            return Box::pin(self.stop_awake(limit)).await;
        }
        if !status.success() {
            bail!("{}", self.failure(status));
        }
        Ok(())
    }

    /// The same of one that has just begun: the signal itself ends whoever does not listen yet, and then it begins again.
    async fn stop_awake(&mut self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(AWAKE).await;
            let Some(mut process) = self.process.take() else { return Ok(()) };
            let status = process.stop(limit).await?;
            let is_deaf = status.signal() == Some(Signal::TERM.as_raw());
            if !is_deaf || begun.elapsed() > limit {
                return if status.success() { Ok(()) } else { bail!("{}", self.failure(status)) };
            }
            self.start()?;
        }
    }

    /// If it was killed by a signal since the last look, or ended of what was injected: which process, and of what. If it ended
    /// by itself, that is an error that shows the end of its log.
    pub fn died(&mut self) -> Result<Option<(i32, Cause)>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let Some(status) = process.ended()? else { return Ok(None) };
        let pid = process.pid();
        self.process = None;
        match (status.signal(), self.is_of_injected(status)) {
            (Some(signal), _) => Ok(Some((pid, Cause::Signal(signal)))),
            (None, Some(errno)) => Ok(Some((pid, Cause::Injected(errno)))),
            (None, None) => bail!("{}", self.failure(status)),
        }
    }

    /// What there is to say about an end that nobody wanted.
    pub fn failure(&self, status: ExitStatus) -> String {
        let tail = self.last_words();
        format!("{} ended by itself ({status}); the end of {}:\n{tail}", self.program.name, self.program.log.display())
    }

    /// The last lines of its log.
    fn last_words(&self) -> String {
        let log = fs::read(&self.program.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that says this, and ends with the code.
    fn ended(said: &str, code: i32) -> (tempfile::TempDir, Member, ExitStatus) {
        let directory = tempfile::tempdir().unwrap();
        let (path, log) = (directory.path().join("program"), directory.path().join("log"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&log, format!("ready\n{said}\n")).unwrap();
        let (name, guard, arguments, environment) = ("gateway".to_owned(), path.clone(), Vec::new(), Vec::new());
        let member = Member::new(Program { name, guard, path, arguments, environment, log });
        (directory, member, ExitStatus::from_raw(code << 8))
    }

    /// Regression: seed 75 called it broken that a gateway ended whose fdatasync was made to fail, and said so.
    #[test]
    fn an_end_is_excused_by_the_error_that_was_injected_into_that_life_and_by_no_other() {
        let (_directory, mut member, status) = ended("cannot write the checkpoint: I/O error (os error 5)", 69);
        assert_eq!(member.is_of_injected(status), None, "nothing was injected");
        member.fails_with(Errno::NOSPC);
        assert_eq!(member.is_of_injected(status), None, "something else was");
        member.fails_with(Errno::IO);
        assert_eq!(member.is_of_injected(status), Some(Errno::IO));
        assert_eq!(member.is_of_injected(ExitStatus::from_raw(6)), None, "it was aborted");
        let (_directory, mut member, status) = ended("panicked at src/lib.rs:1", 101);
        member.fails_with(Errno::IO);
        assert_eq!(member.is_of_injected(status), None, "it says nothing of it");
    }
}
