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
mod consumer;
mod fan_out;
mod fill;
mod found;
mod latency;
mod load;
pub(crate) mod machine;
mod measures;
mod members;
mod memory;
mod open_loop;
mod partitions;
pub(crate) mod payload;
mod peers;
mod publish;
mod readings;
mod reopen;
mod replay;
mod report;
pub mod rumqttd;
mod scaling;
pub(crate) mod side;
mod table;
mod tls;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::binaries::Binaries;
use measures::{MEASURES, Named};
use report::{Report, Start};
use table::Measure;

/// Measures speed, latency and memory, each beside its reference; prints Markdown.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// Only the measures whose name begins with this text: publish, readings, latency, consumer, connections, reopen,
    /// scaling-devices, scaling-partitions, scaling-log, append, partitions, catch-up, beside, members, live-fan-out, tls,
    /// memory, agent
    pub filter: Option<String>,
    /// A tenth of the work: shows that it runs, not how fast it is
    #[arg(long)]
    pub quick: bool,
    /// Replace what was measured in this page, with its plots and its results.json, and leave the rest of it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Measure nothing: write the page again from its results
    #[arg(long, requires = "report")]
    pub render: bool,
    /// Use the programs that are built already
    #[arg(long)]
    pub no_build: bool,
}

/// Runs the measures. Speed is reported, never judged, so `true` means that everything ran.
pub async fn run(options: &Bench) -> Result<bool> {
    let report = options.report.as_deref().map(Report::at).transpose()?;
    if let (true, Some(report)) = (options.render, &report) {
        return report.write(&report.results()?).map(|()| true);
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the numbers mean nothing; use `cargo lab bench`");
    }
    let wanted = |named: &&Named| options.filter.as_deref().is_none_or(|filter| named.name.starts_with(filter));
    let wanted: Vec<_> = MEASURES.iter().filter(wanted).collect();
    ensure!(!wanted.is_empty(), "no measure begins with that; `cargo lab bench --help` names them");
    let binaries = Binaries::prepare(!options.no_build, None)?;
    let mut whole = true;
    for named in wanted {
        eprintln!("{} ...", named.name);
        let start = Start::now();
        let Some(found) = measures::take(named.name, &binaries, options.quick).await? else { continue };
        whole &= found.is_whole();
        let quick = if options.quick { " --quick" } else { "" };
        let ran = start.ended(format!("cargo lab bench {}{quick}", named.name), options.quick, found);
        println!("{}", report::section(named, &ran, None));
        // After each measure: a run of all of them takes long, and may be broken off.
        if let Some(report) = &report {
            report.replace(named.name, ran)?;
        }
    }
    Ok(whole)
}
