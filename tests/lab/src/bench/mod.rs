//! `cargo lab bench`: how fast it is, each number beside the thing it must be measured against.
//!
//! Both sides of a comparison do the same work in turns in one run, because absolute times of a shared machine
//! mean little; the median of the ratios is what counts.

mod agent;
mod append;
mod beside;
mod catch_up;
pub mod codec_loop;
mod connections;
mod fan_out;
mod latency;
mod load;
pub(crate) mod machine;
mod members;
mod memory;
mod partitions;
pub(crate) mod payload;
mod peers;
mod publish;
mod readings;
mod replay;
pub mod rumqttd;
pub(crate) mod side;
mod table;
mod tls;

use anyhow::Result;
use clap::Args;

use crate::binaries::Binaries;
use table::{Measure, Table};

/// Measures speed, latency and memory, each beside its reference; prints Markdown.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// Only the measures whose name holds this text: append, partitions, publish, readings, latency,
    /// connections, memory, catch-up, beside, members, live-fan-out, tls, agent
    pub filter: Option<String>,
    /// A tenth of the work: shows that it runs, not how fast it is
    #[arg(long)]
    pub quick: bool,
    /// Use the programs that are built already
    #[arg(long)]
    pub no_build: bool,
}

/// Runs the measures. Speed is reported, never judged, so `true` means that everything ran.
pub async fn run(options: &Bench) -> Result<bool> {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the numbers mean nothing; use `cargo lab bench`");
    }
    let binaries = Binaries::prepare(!options.no_build, None)?;
    let mut table = Table::default();
    let wanted = |name: &str| options.filter.as_deref().is_none_or(|filter| name.contains(filter));
    if wanted("append") {
        table.extend(append::run(options.quick)?);
    }
    if wanted("partitions") {
        table.extend(partitions::run(options.quick)?);
    }
    if wanted("publish") {
        table.extend(publish::run(&binaries, options.quick).await?);
    }
    if wanted("readings") {
        table.extend(readings::run(&binaries, options.quick).await?);
    }
    if wanted("latency") {
        table.extend(latency::run(&binaries, options.quick).await?);
    }
    if wanted("connections") {
        table.extend(connections::run(&binaries, options.quick).await?);
    }
    if wanted("memory") {
        table.extend(memory::run(&binaries, options.quick).await?);
    }
    if wanted("catch-up") {
        table.extend(catch_up::run(&binaries, options.quick).await?);
    }
    if wanted("beside") {
        table.extend(beside::run(&binaries, options.quick).await?);
    }
    if wanted("members") {
        table.extend(members::run(&binaries, options.quick).await?);
    }
    if wanted("live-fan-out") {
        table.extend(fan_out::run(&binaries, options.quick).await?);
    }
    if wanted("tls") {
        table.extend(tls::run(&binaries, options.quick).await?);
    }
    if wanted("agent") {
        table.extend(agent::run(&binaries, options.quick).await?);
    }
    println!("{table}");
    Ok(table.ran())
}
