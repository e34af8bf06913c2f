//! Child processes that never outlive the lab.
//!
//! Every child is started through `weir-lab guard`, which asks the kernel to kill it when its parent dies and
//! then becomes the program (same process id), so that even `kill -9` of the lab leaves nothing behind. The
//! child is killed by its id when its [`Process`] is dropped.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// Lines of a child's stdout that may wait to be read; the child blocks when they are full.
const LINES: usize = 1024;

/// How long a stopped process may take until the last of its threads comes out of the kernel.
const FREEZE: Duration = Duration::from_secs(30);

/// What to start, again and again.
#[derive(Clone, Debug)]
pub struct Program {
    /// What people call it: `agent`, `gateway`, `board-1`.
    pub name: String,
    /// The weir-lab binary that guards it.
    pub guard: PathBuf,
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables that it gets besides those of the lab.
    pub environment: Vec<(String, PathBuf)>,
    /// Where its stderr goes, appended.
    pub log: PathBuf,
}

/// A running child.
pub struct Process {
    /// What people call it.
    pub name: String,
    child: Child,
    pid: Pid,
    lines: Option<mpsc::Receiver<String>>,
}

impl Program {
    /// Starts it. Its stdout arrives as lines; see [`Process::lines`].
    pub fn start(&self) -> Result<Process> {
        let log = append(&self.log)?;
        let mut command = Command::new(&self.guard);
        command.arg("guard").arg(std::process::id().to_string()).arg("--").arg(&self.path).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // A Ctrl-C on the terminal is for the lab; it stops its children in order.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.path.display()))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let (Some(pid), Some(stdout)) = (pid, child.stdout.take()) else {
            bail!("{} ended before it began; see {}", self.name, self.log.display());
        };
        let (sender, lines) = mpsc::channel(LINES);
        tokio::spawn(async move {
            let mut stdout = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = stdout.next_line().await {
                if sender.send(line).await.is_err() {
                    // Nobody listens any more; go on reading, or the child would block on a full pipe.
                    while let Ok(Some(_)) = stdout.next_line().await {}
                }
            }
        });
        Ok(Process { name: self.name.clone(), child, pid, lines: Some(lines) })
    }
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("cannot open {}", path.display()))
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The lines of its stdout; only the first call gets them.
    pub fn lines(&mut self) -> Option<mpsc::Receiver<String>> {
        self.lines.take()
    }

    /// Its stdin; only the first call gets it.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match kill_process(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal {} (process {})", self.name, self.pid())),
        }
    }

    /// Stops it with SIGSTOP, and waits until none of its threads runs any more, not even inside the kernel.
    pub async fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let begun = Instant::now();
        while !self.is_frozen()? {
            if begun.elapsed() > FREEZE {
                bail!("{} (process {}) does not stop within {FREEZE:?}", self.name, self.pid());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn is_frozen(&self) -> Result<bool> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).context("it is gone")?;
        for thread in threads {
            let path = thread.context("a thread")?.path().join("stat");
            // The state stands behind the name, which is in parentheses (proc(5)). A thread that just ended is no more.
            let stat = std::fs::read_to_string(path).unwrap_or_default();
            let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
            if !matches!(state, Some('T' | 't' | 'Z' | 'X') | None) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot look after {}", self.name))
    }

    /// Waits for its end, at most `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("cannot wait for {}", self.name)),
            Err(_) => bail!("{} (process {}) is still running after {limit:?}", self.name, self.pid()),
        }
    }

    /// Asks it to end with SIGTERM and waits at most `limit`.
    pub async fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit).await
    }
}

/// The `guard` command: dies with the process `parent`, then becomes `command`. Returns only on failure.
pub fn guard(parent: u32, command: &[OsString]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask the kernel to end with the lab")?;
    // The parent may have died before the request was in place.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().get().cast_unsigned() != parent) {
        bail!("the lab (process {parent}) is gone");
    }
    let Some((program, arguments)) = command.split_first() else {
        bail!("nothing to start: weir-lab guard PARENT -- PROGRAM [ARGUMENTS]");
    };
    let error: io::Error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
