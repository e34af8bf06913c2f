//! The command line.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

/// Runs a whole Weir on this machine, breaks it on purpose, and proves what is left.
#[derive(Debug, Parser)]
#[command(name = "weir-lab", bin_name = "cargo lab", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What the lab can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run gateway, agent and boards, watch them, kill them; at the end the ledger is compared with the log
    Up(crate::up::Up),
    /// Drive devices by the thousand against a gateway, and judge its log
    Load(Box<crate::load::LoadOptions>),
    /// Load a deployment, break everything by a seed, and print the verdict: a page for people, JSON for machines
    Prove(Box<crate::prove::Prove>),
    /// Break everything at full count and prove each time that nothing acknowledged is missing
    Soak(crate::soak::Soak),
    /// Measure speed and memory, each beside its reference; prints a Markdown table
    Bench(crate::bench::Bench),
    /// Run one board: the firmware on this machine
    #[command(hide = true)]
    Board(crate::board::Board),
    /// Serve the minimal MQTT loop that the gateway is measured against
    #[command(hide = true)]
    CodecLoop(crate::bench::codec_loop::CodecLoop),
    /// Serve rumqttd, which the gateway is measured against
    #[command(hide = true)]
    Rumqttd(crate::bench::rumqttd::Rumqttd),
    /// Run the firmware image for the LM3S6965 in QEMU
    #[command(hide = true)]
    Lm3s6965(crate::qemu::Emulate),
    /// Run one process that dies with the lab
    #[command(hide = true)]
    Guard {
        /// The lab's process id
        parent: u32,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}
