//! Somebody at a desk who signs settings, and looks in the log for what became of them (`deploy/remote.md`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::sleep;

use crate::census::LogReader;
use crate::clients::mqtt::{self, Hello, PUBACK};
use crate::deployment::{AGENT, Scratch};

/// Where settings for the agent are published, retained: it is away most of the time.
const RETAIN: u8 = 1;
/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Nobody listens there.
const NOWHERE: &str = "[uplink]\naddress = \"127.0.0.1:1\"\n";
/// Settings that work.
const GOOD: &str = "[system]\ninterval = \"500ms\"\n";

/// The operator, with a key.
pub(super) struct Operator {
    program: PathBuf,
    key: PathBuf,
    settings: PathBuf,
    public: String,
}

impl Operator {
    /// Makes the key with `program`, the agent.
    pub(super) async fn new(program: &Path, scratch: &Scratch) -> Result<Self> {
        let (key, settings) = (scratch.join("operator.key"), scratch.join("remote.toml"));
        let mut operator = Self { program: program.to_owned(), key, settings, public: String::new() };
        operator.public = operator.types(&["keygen"]).await?;
        Ok(operator)
    }

    /// What the agent's settings say of the operator, and how long new ones are on trial.
    pub(super) fn settings(&self, confirm: Duration) -> String {
        format!("[remote]\ntrust = [\"{}\"]\nconfirm = \"{}s\"\n", self.public, confirm.as_secs())
    }

    /// Sends settings that lead nowhere, sees them rolled back, and sends others that work; waits for each verdict at most
    /// `limit`.
    pub(super) async fn misleads_and_mends(&self, gateway: SocketAddr, log: &LogReader, limit: Duration) -> Result<()> {
        let mut results = Results::default();
        for (version, settings, verdict) in [(1, NOWHERE, "1 rolled-back"), (2, GOOD, "2 confirmed")] {
            self.sends(gateway, version, settings).await?;
            let begun = Instant::now();
            while !results.told.iter().any(|told| told == verdict) {
                ensure!(begun.elapsed() < limit, "got {:?} after {limit:?}, expected `{verdict}`", results.told);
                sleep(LOOK).await;
                results.catch_up(log).await?;
            }
        }
        Ok(())
    }

    async fn sends(&self, gateway: SocketAddr, version: u64, settings: &str) -> Result<()> {
        std::fs::write(&self.settings, settings).context("cannot write settings")?;
        let (version, path) = (version.to_string(), self.settings.to_string_lossy());
        let signed = self.types(&["sign", "--agent", AGENT, "--version", &version, &path]).await?;
        let mut link = mqtt::plain(0, gateway).await?;
        Hello::of("operator").enter(&mut link).await?;
        let mut publish = mqtt::publish(&format!("weir/1/default/{AGENT}/config"), 1, signed.as_bytes());
        publish[0] |= RETAIN;
        link.write_all(&publish).await?;
        let codes = mqtt::codes(PUBACK, &mut link).await?;
        ensure!(codes.iter().all(|code| *code < 0x80), "the settings were refused with {codes:02x?}");
        Ok(())
    }

    /// A command of `weir-agent config` with the key; what it prints.
    async fn types(&self, words: &[&str]) -> Result<String> {
        let (command, arguments) = words.split_first().context("a command")?;
        let mut program = Command::new(&self.program);
        program.args(["config", command, "--key"]).arg(&self.key).args(arguments);
        let output = program.kill_on_drop(true).output().await.context("cannot start the agent's commands")?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

/// What the agent said of settings.
#[derive(Default)]
struct Results {
    told: Vec<String>,
    /// Where each partition was read to.
    cursors: BTreeMap<(String, u32), u64>,
}

impl Results {
    /// Reads what came to the log since the last time.
    async fn catch_up(&mut self, log: &LogReader) -> Result<()> {
        for (topic, partition) in log.partitions().await?.into_iter().filter(|(topic, _)| topic == "readings") {
            let next = self.cursors.entry((topic.clone(), partition)).or_default();
            loop {
                let page = log.page(&topic, partition, *next).await?;
                let values = page.records.iter().map(|record| &record["value"]);
                let told = values.filter(|value| value["channel"] == "config.result");
                self.told.extend(told.filter_map(|value| value["value"].as_str().map(str::to_owned)));
                if page.next <= *next {
                    break;
                }
                *next = page.next;
            }
        }
        Ok(())
    }
}
