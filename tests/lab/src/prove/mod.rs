//! `cargo lab prove`: loads a deployment, breaks everything, and says whether anything acknowledged was lost.
//!
//! ```text
//! boards ══ pty ══ agent ══╗                                       ╔══ HTTP ══▸ census ─╮
//!                       relays ══ gateway (killed, cut, full, ...) ╣                     reconcile ─▸ report
//! fleet (load) ════════════╝                                       ╚══ Kafka ═▸ compare ╯
//! ```
//!
//! With `--gateway` the deployment is somebody else's ([`stage`]): its network alone is broken, and its log is judged as far as it
//! is the fleet's.
//!
//! Everything comes from the seed: what sensors hand out, when which fault strikes. The report is a page for people and a
//! JSON file for machines, and holds the command that does it all again.

mod fleet;
mod page;
mod report;
mod run;
mod stage;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::ArgPredicate;

use crate::binaries::{Binaries, Plant};
use crate::reach::Reach;
use crate::up::duration;

pub use report::{Broken, Finding, Proof, Totals};
pub use timeline::{Consumed, Latency, Moment, Timeline};

/// Loads a deployment, breaks everything, and proves that nothing acknowledged is missing, doubled, altered or out of order.
///
/// Writes weir-proof.html and weir-proof.json. Exit code 1: it is not so, and the readings are named.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    cargo lab prove --for 60s --seed 7             # everything started for you, and broken\n  \
    cargo lab prove --gateway 127.0.0.1:1883 --http 127.0.0.1:8080 --kafka 127.0.0.1:9092   # what you run\n  \
    cargo lab prove --gateway mqtts://gateway.example:8883 --http https://gateway.example:8080 --ca ca.pem \\\n      \
    --login fleet:PASSWORD --token weir_...")]
pub struct Prove {
    /// Of a deployment that somebody runs: nothing is started, and nothing is broken but the network on the way to it
    #[command(flatten)]
    pub reach: Reach,
    /// How long load and faults go on
    #[arg(long = "for", default_value = "60s", value_parser = duration)]
    pub lasting: Duration,
    /// Seed of sensors and faults [default: random, and printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many host boards: the firmware core on this machine, on a serial line of an agent
    #[arg(long, default_value_t = 2, default_value_if("gateway", ArgPredicate::IsPresent, "0"), value_parser = clap::value_parser!(u16).range(0..=64))]
    pub boards: u16,
    /// Readings a second of each board
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub board_rate: u32,
    /// How many devices of agents that come over MQTT; 0 for none
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub devices: u32,
    /// Over how many connections they come, at most one a device
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub connections: u32,
    /// What their names begin with; two proofs at a time need two
    #[arg(long, default_value = "fleet")]
    pub name: String,
    /// Readings a second of all of them
    #[arg(long, default_value_t = 2000.0)]
    pub rate: f64,
    /// How many MQTT devices of others, a connection and 5 messages a second each; 0 for none
    #[arg(long, default_value_t = 20, default_value_if("gateway", ArgPredicate::IsPresent, "0"), value_parser = clap::value_parser!(u32).range(0..=16_000))]
    pub foreign: u32,
    /// Break nothing: load alone
    #[arg(long)]
    pub calm: bool,
    /// Flip bits on disks too: what they cost must be counted, to the last reading
    #[arg(long, conflicts_with = "gateway")]
    pub damage: bool,
    /// All come over TLS: the agent enrols, agents of the fleet have certificates, devices of others a password; certificates
    /// are renewed meanwhile
    #[arg(long, conflicts_with = "gateway")]
    pub tls: bool,
    /// Build agent and gateway with a fault that must be found: then the exit code is 1
    #[arg(long, value_enum, conflicts_with = "gateway")]
    pub plant: Option<Plant>,
    /// Where the report goes: this name with .html and with .json
    #[arg(long, default_value = "weir-proof", value_name = "FILE")]
    pub report: PathBuf,
    /// Use the programs that are built already
    #[arg(long)]
    pub no_build: bool,
    /// Print the verdict alone
    #[arg(long)]
    pub quiet: bool,
}

impl Prove {
    /// Two boards that are broken for so long, and no report.
    pub(crate) fn quietly(seed: u64, lasting: Duration) -> Self {
        Self {
            reach: Reach::default(),
            lasting,
            seed: Some(seed),
            boards: 2,
            board_rate: 200,
            devices: 100,
            connections: 10,
            name: "fleet".to_owned(),
            rate: 1000.0,
            foreign: 10,
            calm: false,
            damage: false,
            tls: false,
            plant: None,
            report: PathBuf::new(),
            no_build: true,
            quiet: true,
        }
    }

    /// The command that does the same again.
    pub(crate) fn replay(&self, seed: u64) -> String {
        let mut command = format!("cargo lab prove{}", self.reach.typed());
        command += &format!(" --for {}ms --seed {seed}", self.lasting.as_millis());
        command += &format!(" --boards {} --board-rate {}", self.boards, self.board_rate);
        command += &format!(" --devices {} --connections {}", self.devices, self.connections);
        command += &format!(" --rate {} --foreign {}", self.rate, self.foreign);
        if self.name != "fleet" {
            command += &format!(" --name {}", self.name);
        }
        for (flag, given) in [("--calm", self.calm), ("--damage", self.damage), ("--tls", self.tls)] {
            if given {
                command += &format!(" {flag}");
            }
        }
        if let Some(plant) = self.plant {
            command += &format!(" --plant {}", plant.as_str());
        }
        command
    }
}

/// One run with programs that are built already.
pub(crate) async fn once(options: &Prove, seed: u64, binaries: &Binaries) -> Result<Proof> {
    run::run(options, seed, Some(binaries)).await
}

/// Runs the proof and writes the report. `true`: every promise was kept.
pub async fn run(options: &Prove) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed {seed}");
    let binaries = match &options.reach.gateway {
        Some(_) if options.boards > 0 => {
            bail!("boards need an agent, and only one of ours is known; leave --boards out, or --gateway")
        }
        Some(_) => None,
        None => Some(Binaries::prepare(!options.no_build, options.plant)?),
    };
    let (html, json) = (options.report.with_extension("html"), options.report.with_extension("json"));
    // Nobody wants to hear after an hour that there is no place for it.
    write(&html, "")?;
    write(&json, "")?;
    let proof = run::run(options, seed, binaries.as_ref()).await?;
    write(&html, &page::html(&proof)?)?;
    write(&json, &serde_json::to_string_pretty(&proof)?)?;
    println!("\n{}", proof.summary());
    println!("report: {} and {}", html.display(), json.display());
    if !proof.holds {
        println!("do it again: {}", proof.replay);
    }
    Ok(proof.holds)
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    use anyhow::Context;
    std::fs::write(path, text)
        .with_context(|| format!("cannot write {}; give another place with --report FILE", path.display()))
}
