//! The host board: the firmware core compiled for this machine, in a process of its own.
//!
//! Everything that a chip has is there as a stand-in: flash in a file ([`flash`]), an SHT4x behind a simulated
//! I2C bus ([`sensor`]), a serial line on a pty ([`line`]). `kill -9` is a power cut, and the file holds what
//! was programmed by then. On stdout, one JSON object a line, for a ledger outside:
//!
//! ```text
//! {"event":"boot","restart":"4294967303","device":"board-1"}
//! {"event":"sampled","restart":"4294967303","next":12}     at most ten a second, and at the end
//! ```

mod flash;
pub(crate) mod line;
mod sensor;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rand::Rng;
use tokio::signal::unix::{SignalKind, signal};
use weir_firmware::sensor::SHT4X_CHANNELS;
use weir_firmware::{Config, Device, FRAME, FlashRing, Request, Ring, Sht4x, Uptime, schema_of};
use weir_protocol::{DeviceId, Restart};

use flash::FileFlash;
use line::Line;
use sensor::{NoDelay, SimulatedBus};

pub use sensor::ticks;

/// After SIGTERM, what is in the ring has this long to be acknowledged.
const DRAIN: Duration = Duration::from_secs(10);
/// Between two `sampled` events.
const REPORT: Duration = Duration::from_millis(100);
/// The id of the chip that this process is.
const CHIP: [u8; 8] = *b"weir-lab";

/// The firmware on this machine: simulated sensor, flash in a file, serial line on a pty
#[derive(Clone, Debug, clap::Args)]
pub struct Board {
    /// Name of the device
    #[arg(long)]
    device: DeviceId,
    /// Serial line: an existing pty, or a symbolic link to one
    #[arg(long)]
    serial: PathBuf,
    /// Flash image; made if it is not there
    #[arg(long)]
    flash: PathBuf,
    /// Size of the flash in KiB
    #[arg(long, default_value_t = 256, value_name = "KIB")]
    flash_size: usize,
    /// Milliseconds between samples of two readings each; 0 samples as fast as it can
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    interval: u64,
    /// Readings a second, instead of an interval
    #[arg(long, conflicts_with = "interval", value_name = "N")]
    readings_per_second: Option<u32>,
    /// What the sensor hands out is a function of this, the restart and the number of the measurement
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the board until SIGTERM, and then until its ring is empty or ten seconds have passed.
pub fn run(board: &Board) -> Result<()> {
    let terminated = terminated()?;
    let mut line = Line::new(&board.serial);
    // A reboot asked for by the agent is a new turn of this loop, as the power coming back would be.
    while life(board, &mut line, &terminated)? == End::Reboot {}
    Ok(())
}

/// A flag that SIGTERM sets.
fn terminated() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?
    };
    let set = Arc::clone(&flag);
    std::thread::spawn(move || {
        runtime.block_on(signals.recv());
        set.store(true, Ordering::Relaxed);
    });
    Ok(flag)
}

/// How one life of the board ended.
#[derive(PartialEq, Eq)]
enum End {
    Reboot,
    Terminated,
}

fn life(board: &Board, line: &mut Line, terminated: &AtomicBool) -> Result<End> {
    let start = Instant::now();
    let uptime = || Uptime(start.elapsed().as_micros() as u64);
    let size = board.flash_size * 1024;
    let nonce = weir_firmware::restart::nonce(rand::rng().random(), &CHIP);
    let flash = FileFlash::open(&board.flash, size)?;
    let range = 0..u32::try_from(size).context("--flash-size: at most 4 GiB")?;
    let ring = FlashRing::open(flash, range, nonce, schema_of(&SHT4X_CHANNELS))
        .map_err(|error| anyhow!("no ring in {}: {error:?}; give another --flash", board.flash.display()))?;
    let restart = ring.running().restart;
    let sensor = Sht4x::new(SimulatedBus::new(board.seed, restart), NoDelay);
    let interval = match board.readings_per_second {
        Some(rate) => SHT4X_CHANNELS.len() as u64 * 1_000_000 / u64::from(rate.max(1)),
        None => board.interval.saturating_mul(1000),
    };
    let mut device = Device::new(uptime(), Config { device: board.device, interval }, ring, sensor);
    let mut report = Report { restart, next: None, due: start };
    say(&format!(r#"{{"event":"boot","restart":"{restart}","device":"{}"}}"#, board.device));

    let mut deadline = None;
    let (mut input, mut output) = ([0; 4096], [0; FRAME]);
    let mut received = 0;
    loop {
        let now = uptime();
        let room = if line.is_busy() { 0 } else { FRAME };
        let turn = device.poll(now, &input[..received], &mut output[..room]);
        line.send(&output[..turn.send]);
        report.sampled(device.running().next.0, false);
        let drained = deadline.is_some_and(|deadline| device.is_drained() || Instant::now() >= deadline);
        let rebooting = turn.request == Some(Request::Reboot);
        if drained || rebooting {
            report.sampled(device.running().next.0, true);
            return Ok(if rebooting { End::Reboot } else { End::Terminated });
        }
        if terminated.load(Ordering::Relaxed) {
            device.stop_sampling();
            deadline.get_or_insert(Instant::now() + DRAIN);
        }
        received = line.receive(Duration::from_micros(turn.wake.since(uptime())), &mut input);
    }
}

/// Says how far the board has sampled.
struct Report {
    restart: Restart,
    next: Option<u64>,
    due: Instant,
}

impl Report {
    fn sampled(&mut self, next: u64, at_once: bool) {
        let now = Instant::now();
        if self.next != Some(next) && (at_once || now >= self.due) {
            self.next = Some(next);
            self.due = now + REPORT;
            say(&format!(r#"{{"event":"sampled","restart":"{}","next":{next}}}"#, self.restart));
        }
    }
}

/// Prints a line; a board whose listener is gone goes on.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
