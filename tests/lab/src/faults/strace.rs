//! System calls of a running process fail, by strace.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::deployment::Scratch;

/// How long strace may take to attach, to see a call, and to let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// What strace writes behind a call that it made fail.
const INJECTED: &str = "(INJECTED)";

/// Why strace cannot be used here, with what to type.
pub(crate) fn unavailable() -> Option<String> {
    let there = std::process::Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    (!there).then(|| "strace is not installed; type: apt-get install strace".into())
}

/// Why it may not attach to a process of ours here, with what to type (ptrace(2), /proc/sys/kernel/yama/ptrace_scope).
pub(crate) fn forbidden() -> Option<String> {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    // The lab's own children are not strace's.
    let restricted = !matches!(scope.trim(), "" | "0") && !rustix::process::geteuid().is_root();
    restricted
        .then(|| "strace may not attach to other processes; type: sudo sysctl kernel.yama.ptrace_scope=0".to_owned())
}

/// strace, attached.
pub(crate) struct Injection {
    strace: Child,
    trace: PathBuf,
    calls: String,
}

impl Injection {
    /// Makes `calls` (separated by commas) of process `pid` fail as `how` says, such as `error=EIO:when=1`.
    pub(crate) async fn start(scratch: &Scratch, pid: i32, calls: &str, how: &str) -> Result<Self> {
        let trace = scratch.join(&format!("strace-{pid}"));
        let _ = fs::remove_file(&trace);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{how}"), "-o"]);
        strace.arg(&trace).arg("-p").arg(pid.to_string()).stderr(Stdio::null()).kill_on_drop(true);
        Ok(Self { strace: strace.spawn().context("cannot start strace")?, trace, calls: calls.to_owned() })
    }

    /// Waits until a call has failed. `when=1` counts for each thread, and several threads sync: more may follow.
    pub(crate) async fn struck(&self) -> Result<()> {
        self.struck_within(PATIENCE).await
    }

    /// The same of a process that may not call for longer.
    pub(crate) async fn struck_within(&self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        while !fs::read_to_string(&self.trace).is_ok_and(|text| text.contains(INJECTED)) {
            if begun.elapsed() > limit {
                bail!("no {} was seen within {limit:?}; strace needs root or the capability SYS_PTRACE", self.calls);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Lets the process go.
    pub(crate) async fn stop(mut self) -> Result<()> {
        // SIGINT makes strace let go of the process.
        if let Some(pid) = self.strace.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::INT).context("cannot stop strace")?;
        }
        tokio::time::timeout(PATIENCE, self.strace.wait()).await.context("strace does not end")??;
        Ok(())
    }
}
