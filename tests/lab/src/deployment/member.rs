//! One process of the deployment, over all its lives.

use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{Process, Program};

/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 15;

/// A process that is started again when it is killed.
pub struct Member {
    /// How to start it.
    pub program: Program,
    process: Option<Process>,
    /// How often it was started.
    pub lives: u32,
}

/// A process that was killed by somebody and started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    /// What people call it.
    pub name: String,
    /// The process that died.
    pub died: i32,
    /// By which signal.
    pub signal: i32,
    /// The process that took over.
    pub now: i32,
}

impl fmt::Display for Revived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, died, signal, now } = self;
        write!(f, "{name} (process {died}) was killed by signal {signal}; started again as process {now}")
    }
}

impl Member {
    /// Nothing runs yet.
    pub fn new(program: Program) -> Self {
        Self { program, process: None, lives: 0 }
    }

    /// Starts it; `None` if it runs already.
    pub fn start(&mut self) -> Result<Option<&mut Process>> {
        if self.process.is_some() {
            return Ok(None);
        }
        self.lives += 1;
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
        if !status.success() {
            bail!("{}", self.failure(status));
        }
        Ok(())
    }

    /// If it was killed by a signal since the last look: which process, and by which signal. If it ended by
    /// itself, that is an error that shows the end of its log.
    pub fn died(&mut self) -> Result<Option<(i32, i32)>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let Some(status) = process.ended()? else { return Ok(None) };
        let pid = process.pid();
        self.process = None;
        match status.signal() {
            Some(signal) => Ok(Some((pid, signal))),
            None => bail!("{}", self.failure(status)),
        }
    }

    /// What there is to say about an end that nobody wanted.
    pub fn failure(&self, status: ExitStatus) -> String {
        let log = fs::read(&self.program.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        format!("{} ended by itself ({status}); the end of {}:\n{tail}", self.program.name, self.program.log.display())
    }
}
