//! A board and its cable.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value as Json;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::watch;
use weir_protocol::{DeviceId, Restart};

use super::member::Member;
use super::plan::{Emulator, Plan};
use super::scratch::Scratch;
use crate::binaries::Binaries;
use crate::ledger::Ledger;
use crate::process::{Process, Program};
use crate::relay::serial::SerialRelay;
use crate::truth::{HandedOut, Truths};

/// A board: its process, its cable and what its sensor hands out.
pub struct Board {
    /// The process, over all its lives.
    pub member: Member,
    /// The cable to the agent.
    pub cable: SerialRelay,
    ledger: Ledger,
    /// Whether the process that was started last has said that it runs.
    ready: watch::Receiver<bool>,
    kind: Kind,
}

enum Kind {
    Host(DeviceId),
    /// With `handed_out`, the sensor's values change all the time.
    Emulated {
        handed_out: Option<HandedOut>,
        control: Option<ChildStdin>,
    },
}

impl Board {
    /// A host board, not started.
    pub(super) fn host(
        number: usize,
        plan: &Plan,
        scratch: &Scratch,
        binaries: &Binaries,
        books: (&Ledger, &mut Truths),
    ) -> Result<Self> {
        let device = DeviceId::new(&format!("board-{number}")).context("the name of a board")?;
        let pace = ["--readings-per-second".into(), plan.rate.to_string().into()];
        let seed = plan.seed.wrapping_add(number as u64);
        Self::of_host(device, pace, plan.flash_kib, seed, (scratch, &binaries.lab), books)
    }

    /// A host board of any name, not started: options of its pace, KiB of flash, the seed of its sensor, and which `weir-lab` it
    /// is.
    pub(crate) fn of_host(
        device: DeviceId,
        pace: [OsString; 2],
        flash_kib: u32,
        seed: u64,
        (scratch, lab): (&Scratch, &Path),
        (ledger, truths): (&Ledger, &mut Truths),
    ) -> Result<Self> {
        let name = device.to_string();
        truths.host_board(device, seed);
        let cable = cable(&name, scratch, ledger)?;
        let mut arguments: Vec<OsString> = vec![
            "board".into(),
            "--device".into(),
            name.clone().into(),
            "--serial".into(),
            cable.board.clone().into(),
            "--flash".into(),
            scratch.join(&format!("{name}.flash")).into(),
            "--flash-size".into(),
            flash_kib.to_string().into(),
            "--seed".into(),
            seed.to_string().into(),
        ];
        arguments.extend(pace);
        let program = program(name, lab, lab, arguments, scratch);
        Ok(Self::new(program, cable, ledger, Kind::Host(device)))
    }

    /// A board in its emulator, not started.
    pub(super) fn emulated(
        emulator: &Emulator,
        scratch: &Scratch,
        binaries: &Binaries,
        (ledger, truths): (&Ledger, &mut Truths),
    ) -> Result<Self> {
        let name = emulator.kind.device();
        let device = DeviceId::new(name).context("the name of a board")?;
        let cable = cable(name, scratch, ledger)?;
        let (path, first) = emulator.command.split_first().context("an emulator without a program")?;
        let mut arguments = first.to_vec();
        arguments.extend(["--image".into(), emulator.image.clone().into()]);
        arguments.extend([emulator.kind.memory_option().into(), scratch.join(&format!("{name}.memory")).into()]);
        arguments.extend(["--serial".into(), cable.board.clone().into()]);
        let handed_out = emulator.unique.then(|| truths.emulator(device, emulator.kind));
        let program = program(name.to_owned(), &binaries.lab, Path::new(path), arguments, scratch);
        Ok(Self::new(program, cable, ledger, Kind::Emulated { handed_out, control: None }))
    }

    fn new(program: Program, cable: SerialRelay, ledger: &Ledger, kind: Kind) -> Self {
        let (_, ready) = watch::channel(false);
        Self { member: Member::new(program), cable, ledger: ledger.clone(), ready, kind }
    }

    /// Starts it, unless it runs.
    pub fn start(&mut self) -> Result<()> {
        if let Kind::Emulated { handed_out: Some(handed_out), .. } = &self.kind {
            // A new life goes on where the last one ended, or values would repeat.
            self.member.program.arguments.retain(|argument| !argument.to_string_lossy().starts_with("--unique"));
            self.member.program.arguments.push(format!("--unique={}", handed_out.count()).into());
        }
        if let Some(process) = self.member.start()? {
            let lines = process.lines();
            let (is_ready, ready) = watch::channel(false);
            self.ready = ready;
            match &mut self.kind {
                Kind::Host(device) => listen(lines, host_board(self.ledger.clone(), *device, is_ready)),
                Kind::Emulated { handed_out, control } => {
                    *control = process.stdin();
                    listen(lines, emulated_board(handed_out.clone(), is_ready));
                }
            }
        }
        Ok(())
    }

    /// Whether it runs in the emulator.
    pub fn is_emulated(&self) -> bool {
        matches!(self.kind, Kind::Emulated { .. })
    }

    /// Waits until what was started runs: the image in its emulator, a board of this machine until it hears SIGTERM. Returns too
    /// when it has ended before.
    pub async fn ready(&self) {
        // The sender is gone with the process.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Says a line of JSON to the emulator, such as `{"temperature_ticks":1234,"humidity_ticks":99}`.
    pub async fn tell(&mut self, line: &str) -> Result<()> {
        let Kind::Emulated { control: Some(control), .. } = &mut self.kind else {
            anyhow::bail!("{} is no running emulator", self.member.program.name);
        };
        control.write_all(format!("{line}\n").as_bytes()).await.context("the emulator does not listen")?;
        control.flush().await.context("the emulator does not listen")
    }

    /// Its process, if it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.member.process()
    }
}

pub(super) fn cable(name: &str, scratch: &Scratch, ledger: &Ledger) -> Result<SerialRelay> {
    let (board, agent) = (scratch.join(&format!("{name}.uart")), scratch.join(&format!("tty-{name}")));
    SerialRelay::new(&board, &agent, ledger.clone())
}

fn program(name: String, guard: &Path, path: &Path, arguments: Vec<OsString>, scratch: &Scratch) -> Program {
    let log = scratch.join(&format!("{name}.log"));
    Program { name, guard: guard.to_owned(), path: path.to_owned(), arguments, environment: Vec::new(), log }
}

/// Takes the JSON lines of a board until it ends.
fn listen(lines: Option<tokio::sync::mpsc::Receiver<String>>, mut take: impl FnMut(&Json) + Send + 'static) {
    let Some(mut lines) = lines else { return };
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if let Ok(event) = serde_json::from_str(&line) {
                take(&event);
            }
        }
    });
}

/// `{"event":"sampled","restart":"4294967303","next":12}`
fn host_board(ledger: Ledger, device: DeviceId, ready: watch::Sender<bool>) -> impl FnMut(&Json) + Send + 'static {
    move |event| {
        if event["event"] == "boot" {
            ready.send_replace(true);
        }
        let restart = event["restart"].as_str().and_then(|text| text.parse().ok());
        if let (Some("sampled"), Some(restart), Some(next)) = (event["event"].as_str(), restart, event["next"].as_u64())
        {
            ledger.sampled(device, Restart(restart), next);
        }
    }
}

fn emulated_board(handed_out: Option<HandedOut>, ready: watch::Sender<bool>) -> impl FnMut(&Json) + Send + 'static {
    move |event| {
        if event["event"] == "ready" {
            ready.send_replace(true);
        }
        if let Some(handed_out) = &handed_out {
            handed_out.take(event);
        }
    }
}
