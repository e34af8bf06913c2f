//! What a deployment is made of.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::binaries::Plant;
use crate::emulator::Kind;

/// Everything that can be chosen before the start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Host boards.
    pub boards: usize,
    /// Readings a second of each host board.
    pub rate: u32,
    /// Size of each host board's flash, in KiB.
    pub flash_kib: u32,
    /// Cables that lead to no board: the test is the device.
    pub lines: usize,
    /// A board in an emulator, besides the host boards.
    pub emulator: Option<Emulator>,
    /// The agent's own source, on or off.
    pub system: bool,
    /// The cap of the agent's queue.
    pub queue: String,
    /// What the agent does when its queue is full.
    pub policy: &'static str,
    /// Settings of the gateway's table `topics`, as TOML lines.
    pub topics: String,
    /// More settings of the gateway's table `kafka`, and tables below it, as TOML lines.
    pub kafka: String,
    /// More settings of the gateway's table `mqtt`, and tables below it, as TOML lines.
    pub mqtt: String,
    /// More tables of the gateway's settings, as TOML.
    pub tables: String,
    /// More tables of the agent's settings, as TOML: its sources.
    pub sources: String,
    /// Where the agent keeps its data instead of the run's own directory.
    pub agent_data: Option<PathBuf>,
    /// Where the gateway keeps its data instead of the run's own directory.
    pub gateway_data: Option<PathBuf>,
    /// The agent enrols and ships over TLS, and the gateway's HTTP port has TLS.
    pub tls: bool,
    /// Faults planted in agent and gateway.
    pub plant: Option<Plant>,
    /// Seeds every simulated sensor.
    pub seed: u64,
    /// Take 1883, 8080 and 9092 if they are free.
    pub default_ports: bool,
}

impl Plan {
    /// Two host boards at 20 readings a second.
    pub fn new(seed: u64) -> Self {
        Self {
            boards: 2,
            rate: 20,
            flash_kib: 256,
            lines: 0,
            emulator: None,
            system: true,
            queue: "64 MiB".to_owned(),
            policy: "block",
            topics: String::new(),
            kafka: String::new(),
            mqtt: String::new(),
            tables: String::new(),
            sources: String::new(),
            agent_data: None,
            gateway_data: None,
            tls: false,
            plant: None,
            seed,
            default_ports: false,
        }
    }
}

/// The real image, in an emulator of the chip.
#[derive(Clone, Debug)]
pub struct Emulator {
    /// Which chip.
    pub kind: Kind,
    /// The ELF image.
    pub image: PathBuf,
    /// The emulator: a program and its first arguments.
    pub command: Vec<OsString>,
    /// The sensor's values change all the time, and the ledger checks them.
    pub unique: bool,
}
