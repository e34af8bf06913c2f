//! The agents that are compared, each started as a process of its own with nothing in its way.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::ports::Reserved;
use crate::process::{Process, Program};

/// How long one may take to listen.
const READY: Duration = Duration::from_secs(20);
/// How long one may take to end.
const END: Duration = Duration::from_secs(20);
/// Metrics that Telegraf keeps in memory while the broker is away: all of a turn.
const BUFFER: u64 = 20_000_000;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ours, as it comes.
    Weir,
    /// Telegraf as it comes.
    Telegraf,
    /// Telegraf with its buffer on disk.
    TelegrafOnDisk,
}

impl Kind {
    /// What 204 means.
    pub(super) const fn durability(self) -> &'static str {
        match self {
            Self::Weir => "204 after fdatasync",
            Self::Telegraf => "Telegraf's buffer in memory: nothing survives its end",
            Self::TelegrafOnDisk => "Telegraf's buffer on disk: each point synced, after 204",
        }
    }
}

/// How one is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) kind: Kind,
    /// Ours alone: the least time between two commits.
    pub(super) commit_interval: &'static str,
    /// On this processor alone.
    pub(super) core: Option<u32>,
    /// Ours alone: where its data is, if that is to be a disk of its own.
    pub(super) disk: Option<&'a Path>,
}

impl Start<'_> {
    /// As it comes.
    pub(super) const fn of(kind: Kind) -> Self {
        Self { kind, commit_interval: "0ms", core: None, disk: None }
    }
}

/// One that runs.
pub(super) struct Contender {
    /// Where it takes line protocol.
    pub(super) input: SocketAddr,
    process: Process,
    scratch: Scratch,
    _reserved: Reserved,
}

/// Telegraf, if `tests/sources/install` has built it or it is installed.
pub(super) fn telegraf(binaries: &Binaries) -> Option<PathBuf> {
    let target = binaries.lab.ancestors().nth(2)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(target.join("source-peers/telegraf")).chain(std::env::split_paths(&path));
    directories.map(|directory| directory.join("telegraf")).find(|file| file.is_file())
}

impl Contender {
    /// Starts it with an empty disk; its uplink leads to `broker`.
    pub(super) async fn start(start: Start<'_>, broker: SocketAddr, binaries: &Binaries) -> Result<Self> {
        let (scratch, reserved) = (Scratch::new()?, Reserved::new(0)?);
        let input = reserved.address;
        let (program, settings, arguments) = match start.kind {
            Kind::Weir => {
                let text =
                    weir(&start.disk.unwrap_or(scratch.path()).join("data"), input, broker, start.commit_interval);
                (binaries.agent.clone(), text, vec!["run".into(), "--config".into()])
            }
            Kind::Telegraf | Kind::TelegrafOnDisk => {
                let buffer = (start.kind == Kind::TelegrafOnDisk).then(|| scratch.join("buffer"));
                let program =
                    telegraf(binaries).context("Telegraf is not there; type: tests/sources/install telegraf")?;
                (program, settings_of_telegraf(buffer.as_deref(), input, broker), vec!["--config".into()])
            }
        };
        let file = scratch.join("settings.toml");
        fs::write(&file, settings).with_context(|| format!("cannot write {}", file.display()))?;
        let arguments: Vec<OsString> = arguments.into_iter().chain([file.into()]).collect();
        let (path, arguments) = match start.core {
            Some(core) => {
                let first = ["--cpu-list".into(), core.to_string().into(), program.into()];
                ("taskset".into(), first.into_iter().chain(arguments).collect())
            }
            None => (program, arguments),
        };
        let log = scratch.join("log");
        let guard = binaries.lab.clone();
        let program = Program { name: "contender".to_owned(), guard, path, arguments, environment: Vec::new(), log };
        let process = program.start()?;
        let begun = Instant::now();
        while let Err(error) = TcpStream::connect(input) {
            if begun.elapsed() > READY {
                let log = fs::read_to_string(&program.log).unwrap_or_default();
                bail!("{:?} does not listen on {input}: {error}; it said:\n{log}", start.kind);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { input, process, scratch, _reserved: reserved })
    }

    pub(super) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Ends it and removes what it left.
    pub(super) async fn end(mut self) -> Result<()> {
        if self.process.stop(END).await.is_err() {
            self.process.kill().await?;
        }
        self.scratch.remove()
    }
}

/// Nothing but what it must be told, and a queue that holds a turn.
fn weir(data: &Path, input: SocketAddr, broker: SocketAddr, commit_interval: &str) -> String {
    format!(
        "name = \"bench\"\ndata_dir = {:?}\ndrain = \"1s\"\n\n[queue]\ncap = \"8 GiB\"\n\
         commit_interval = {commit_interval:?}\n\n[uplink]\naddress = \"{broker}\"\n\n[system]\nenabled = false\n\n\
         [line_protocol]\nlisten = \"{input}\"\n",
        data.display().to_string(),
    )
}

/// Its own defaults but for: QoS 1, the buffer, and many points in a message, which it does best.
fn settings_of_telegraf(buffer: Option<&Path>, input: SocketAddr, broker: SocketAddr) -> String {
    let strategy = buffer.map_or_else(String::new, |directory| {
        format!("buffer_strategy = \"disk_write_through\"\nbuffer_directory = {:?}\n", directory.display().to_string())
    });
    format!(
        "[agent]\nomit_hostname = true\nquiet = true\nflush_interval = \"1s\"\nmetric_buffer_limit = {BUFFER}\n{strategy}\n\
         [[inputs.influxdb_listener]]\nservice_address = \"{input}\"\n\n\
         [[outputs.mqtt]]\nservers = [\"tcp://{broker}\"]\ntopic = \"telegraf/bench\"\nqos = 1\nlayout = \"batch\"\n\
         data_format = \"influx\"\nkeep_alive = 30\n"
    )
}
