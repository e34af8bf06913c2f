//! QEMU's machine protocol (QMP): JSON lines on the standard input and output of QEMU.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use crate::process::Process;

/// QEMU answers at once; a machine that is too busy for this is no place for an emulator.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events that wait to be looked at; older ones are dropped.
const EVENTS: usize = 64;

/// A connection to QEMU.
pub(super) struct Monitor {
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
    events: VecDeque<Json>,
}

impl Monitor {
    /// Takes the streams of a QEMU that was started with `-qmp stdio`.
    pub(super) async fn connect(process: &mut Process) -> Result<Self> {
        let (Some(input), Some(lines)) = (process.stdin(), process.lines()) else { bail!("QEMU has no monitor") };
        let mut monitor = Self { input, lines, events: VecDeque::new() };
        let greeting = tokio::time::timeout(PATIENCE, monitor.line()).await.context("QEMU does not greet")??;
        if greeting.get("QMP").is_none() {
            bail!("expected QEMU's greeting, got {greeting}");
        }
        monitor.command("qmp_capabilities", json!({})).await?;
        Ok(monitor)
    }

    /// Gives a command and returns what QEMU answers.
    pub(super) async fn command(&mut self, name: &str, arguments: Json) -> Result<Json> {
        let text = format!("{}\n", json!({ "execute": name, "arguments": arguments }));
        self.input.write_all(text.as_bytes()).await.context("QEMU does not listen")?;
        self.input.flush().await.context("QEMU does not listen")?;
        let answer = tokio::time::timeout(PATIENCE, self.answer());
        let answer = answer.await.with_context(|| format!("QEMU does not answer {name} within {PATIENCE:?}"))??;
        match answer.get("error") {
            Some(error) => bail!("QEMU refuses {name}: {}", error["desc"].as_str().unwrap_or_default()),
            None => Ok(answer["return"].clone()),
        }
    }

    /// The next event.
    pub(super) async fn event(&mut self) -> Result<Json> {
        match self.events.pop_front() {
            Some(event) => Ok(event),
            None => self.line().await,
        }
    }

    async fn answer(&mut self) -> Result<Json> {
        loop {
            let line = self.line().await?;
            if line.get("event").is_none() {
                return Ok(line);
            }
            if self.events.len() == EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(line);
        }
    }

    async fn line(&mut self) -> Result<Json> {
        let line = self.lines.recv().await.context("QEMU has ended")?;
        serde_json::from_str(&line).with_context(|| format!("expected JSON from QEMU, got {line:?}"))
    }
}
