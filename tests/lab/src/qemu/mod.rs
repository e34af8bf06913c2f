//! The `lm3s6965` command: a firmware image in QEMU's model of a Stellaris board, with a TMP105 and an EEPROM.
//!
//! It is told and tells what the other emulator is told and tells, one JSON object a line. In:
//! `{"temperature_millidegrees":23500}`, `{"sensor":"present"}` or `"absent"`, `{"reset":true}` (the reset button) and
//! `{"hang":true}` (the processor runs in a circle, as after a wild jump: only the watchdog gets it out). Out:
//! `ready`, `temperature` before the chip can measure it, `reset` and why, `refused` and why. The end of its
//! input ends it.
//!
//! The machine is stopped until the serial line is open and the sensor is set, so nothing of its first second
//! depends on the speed of this one. The model is not the chip: see `firmware/README.md`.

mod debugger;
mod machine;
mod monitor;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use machine::Machine;

/// The program.
pub const QEMU: &str = "qemu-system-arm";
/// The device's MAC address, from which its name comes, as QEMU gives it to the first board.
pub const DEVICE: &str = "lm3s-525400123456";
/// A new temperature is set after so long, if each is to be another.
const CHANGE: Duration = Duration::from_secs(1);
/// How many there are, half a degree apart, from the lowest one.
const TEMPERATURES: u64 = 300;
const LOWEST_MILLIDEGREES: i64 = -30_000;
const STEP_MILLIDEGREES: i64 = 500;
/// What it measures at first if nobody says otherwise.
const ROOM_MILLIDEGREES: i64 = 20_000;

/// Runs a firmware image for the LM3S6965 in QEMU.
#[derive(Args, Clone, Debug)]
pub struct Emulate {
    /// The ELF image
    #[arg(long)]
    pub image: PathBuf,
    /// The content of the EEPROM; created blank if missing
    #[arg(long)]
    pub eeprom: PathBuf,
    /// The terminal that is the other end of the board's serial line
    #[arg(long)]
    pub serial: PathBuf,
    /// Set another temperature every second, numbered from here
    #[arg(long)]
    pub unique: Option<u64>,
    /// Begin without the sensor
    #[arg(long)]
    pub absent: bool,
}

/// Runs until the input ends.
pub async fn run(options: &Emulate) -> Result<()> {
    let mut machine = Machine::prepare(options).await?;
    let mut number = options.unique.unwrap_or(0);
    let first = if options.unique.is_some() { temperature(number) } else { ROOM_MILLIDEGREES };
    set_temperature(&mut machine, first).await?;
    machine.set_present(!options.absent).await?;
    say("ready", &json!({ "image": options.image, "eeprom": options.eeprom }));
    machine.run().await?;
    let mut input = input();
    let mut change = tokio::time::interval(CHANGE);
    loop {
        tokio::select! {
            line = input.recv() => {
                let Some(line) = line else { return machine.end().await };
                if let Err(error) = obey(&mut machine, &line).await {
                    say("refused", &json!({ "line": line, "reason": format!("{error:#}") }));
                }
            }
            event = machine.event() => {
                if let Some(reason) = event? {
                    say("reset", &json!({ "reason": reason }));
                }
            }
            _ = change.tick(), if options.unique.is_some() => {
                number += 1;
                set_temperature(&mut machine, temperature(number)).await?;
            }
        }
    }
}

/// The lines of the standard input. A thread of its own may wait for the next one for ever without holding
/// up the end of this process.
fn input() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The temperature of this number, in thousandths of a degree.
fn temperature(number: u64) -> i64 {
    LOWEST_MILLIDEGREES + STEP_MILLIDEGREES * (number % TEMPERATURES).cast_signed()
}

async fn set_temperature(machine: &mut Machine, millidegrees: i64) -> Result<()> {
    // Said first, so that nobody can see a measurement before it was announced.
    say("temperature", &json!({ "millidegrees": millidegrees }));
    machine.set_temperature(millidegrees).await
}

async fn obey(machine: &mut Machine, line: &str) -> Result<()> {
    let command: Json = serde_json::from_str(line)?;
    for (key, value) in command.as_object().context("expected a JSON object")? {
        match (key.as_str(), value) {
            ("temperature_millidegrees", Json::Number(number)) => {
                let millidegrees = number.as_i64().context("expected a whole number of thousandths")?;
                set_temperature(machine, millidegrees).await?;
            }
            ("sensor", Json::String(state)) if state == "present" || state == "absent" => {
                machine.set_present(state == "present").await?;
            }
            ("reset", Json::Bool(true)) => machine.reset().await?,
            ("hang", Json::Bool(true)) => machine.hang()?,
            _ => bail!("'{key}' does not take {value}"),
        }
    }
    Ok(())
}

/// One line for whoever started this.
fn say(event: &str, fields: &Json) {
    let mut line = json!({ "event": event });
    if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object()) {
        line.extend(fields.clone());
    }
    println!("{line}");
}
