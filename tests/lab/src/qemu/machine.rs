//! The board: QEMU's process, and what can be done to it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};

use super::monitor::Monitor;
use super::{Emulate, QEMU, debugger};
use crate::process::{Process, Program};

/// Bytes of an AT24C64.
const EEPROM: usize = 8192;
const SENSOR: &str = "/machine/peripheral/sensor";
/// Where the firmware looks for the sensor, and where nobody looks.
const SENSOR_ADDRESS: u8 = 0x48;
const NOWHERE: u8 = 0x10;

/// A machine that is stopped until [`Self::run`].
pub(super) struct Machine {
    process: Process,
    monitor: Monitor,
    debugger: PathBuf,
}

impl Machine {
    /// Starts QEMU with the machine stopped.
    pub(super) async fn prepare(options: &Emulate) -> Result<Self> {
        if !options.eeprom.exists() {
            let blank = fs::write(&options.eeprom, [0xff; EEPROM]);
            blank.with_context(|| format!("cannot create {}", options.eeprom.display()))?;
        }
        let debugger = options.eeprom.with_extension("gdb");
        let _ = fs::remove_file(&debugger);
        let program = Program {
            name: QEMU.to_owned(),
            guard: std::env::current_exe().context("cannot find the running program")?,
            path: QEMU.into(),
            arguments: arguments(options, &debugger),
            environment: Vec::new(),
            log: options.eeprom.with_extension("log"),
        };
        let mut process = program.start()?;
        let monitor = Monitor::connect(&mut process).await;
        let monitor = monitor.with_context(|| format!("{QEMU} does not start; see {}", program.log.display()))?;
        Ok(Self { process, monitor, debugger })
    }

    /// Lets it run.
    pub(super) async fn run(&mut self) -> Result<()> {
        self.monitor.command("cont", json!({})).await.map(|_| ())
    }

    /// What the sensor measures from now on, in thousandths of a degree.
    pub(super) async fn set_temperature(&mut self, millidegrees: i64) -> Result<()> {
        self.set("temperature", json!(millidegrees)).await
    }

    /// Plugs the sensor in or out: one that has another address does not answer. QEMU moves no device that is
    /// in use, so it is told that this one is not; its registers work all the same.
    pub(super) async fn set_present(&mut self, present: bool) -> Result<()> {
        self.set("realized", json!(false)).await?;
        self.set("address", json!(if present { SENSOR_ADDRESS } else { NOWHERE })).await
    }

    async fn set(&mut self, property: &str, value: Json) -> Result<()> {
        let arguments = json!({ "path": SENSOR, "property": property, "value": value });
        self.monitor.command("qom-set", arguments).await.map(|_| ())
    }

    /// Presses the reset button.
    pub(super) async fn reset(&mut self) -> Result<()> {
        self.monitor.command("system_reset", json!({})).await.map(|_| ())
    }

    /// Makes the processor run in a circle.
    pub(super) fn hang(&self) -> Result<()> {
        debugger::hang(&self.debugger)
    }

    /// The next event: why the machine was reset, if that is what it is.
    pub(super) async fn event(&mut self) -> Result<Option<&'static str>> {
        let event = self.monitor.event().await?;
        Ok(match event["event"].as_str() {
            Some("WATCHDOG") => Some("watchdog"),
            Some("RESET") if event["data"]["reason"] == "host-qmp-system-reset" => Some("asked"),
            _ => None,
        })
    }

    /// Power off.
    pub(super) async fn end(mut self) -> Result<()> {
        self.process.kill().await
    }
}

fn arguments(options: &Emulate, debugger: &Path) -> Vec<std::ffi::OsString> {
    let path = |before: &str, path: &Path, behind: &str| {
        let mut argument = std::ffi::OsString::from(before);
        argument.push(path);
        argument.push(behind);
        argument
    };
    let mut arguments: Vec<std::ffi::OsString> =
        ["-M", "lm3s6965evb", "-S", "-display", "none", "-monitor", "none", "-qmp", "stdio"].map(Into::into).into();
    arguments.extend(["-kernel".into(), options.image.clone().into()]);
    // The terminal itself and not one that QEMU makes: then there is no moment at which nobody has it open.
    arguments.extend(["-chardev".into(), path("serial,id=line,path=", &options.serial, "")]);
    arguments.extend(["-serial".into(), "chardev:line".into()]);
    arguments.extend(["-device".into(), format!("tmp105,id=sensor,bus=i2c,address={SENSOR_ADDRESS:#x}").into()]);
    arguments.extend(["-drive".into(), path("if=none,id=memory,format=raw,file=", &options.eeprom, "")]);
    let eeprom = format!("at24c-eeprom,bus=i2c,address=0x50,rom-size={EEPROM},drive=memory");
    arguments.extend(["-device".into(), eeprom.into()]);
    arguments.extend(["-gdb".into(), path("unix:", debugger, ",server=on,wait=off")]);
    arguments
}
