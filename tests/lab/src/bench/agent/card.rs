//! What a card has to bear of an edge box with few sensors, as its block device counts it: the queue, its checkpoints,
//! and what the filesystem adds to both, its journal above all.
//!
//! The agent's data is on an ext4 of its own (blocks of 4 KiB, journal, as an installer makes it) in a file behind a loop
//! device. Without root there is none: then it is what the process was charged for, which leaves the filesystem out.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::Measure;
use super::super::table::short;
use super::contender::{Kind, Start};
use super::stage::Stage;
use super::turn::Chain;
use crate::deployment::Scratch;
use crate::faults::image::{self, Format, Image};

/// Points of a request and readings a second, how long they are watched, and the least time between two commits.
const DRIP: (u64, u64) = (2, 10);
const DRIP_LASTING: Duration = Duration::from_secs(180);
const DRIP_COMMIT: &str = "1s";
const DAY: f64 = 86_400.0;
/// An ordinary card: its size, and how often its cells bear to be erased (TLC; makers of industrial cards say 1,000 to
/// 3,000).
const CARD: f64 = 32e9;
const ERASURES: f64 = 1000.0;
/// What its own controller writes for a small write, in the worst case that makers give for writes of 4 KiB.
const AMPLIFIED: f64 = 10.0;

pub(super) async fn run(scale: u64, stage: &Stage<'_>) -> Result<Measure> {
    let lasting = DRIP_LASTING / u32::try_from(scale)?;
    let scratch = Scratch::new()?;
    let image = match image::unavailable("bench agent") {
        None => Some(Image::new(scratch.path(), "card", Format::Card)?),
        Some(why) => {
            eprintln!("the filesystem's own writes are left out: {why}");
            None
        }
    };
    let disk = image.as_ref().map(|image| image.path.clone());
    let mut chain =
        Chain::start(Start { commit_interval: DRIP_COMMIT, disk: disk.as_deref(), ..Start::of(Kind::Weir) }, stage)
            .await?;
    let written = |chain: &Chain| match &image {
        Some(image) => Ok(image.written()? as f64),
        None => Ok::<f64, anyhow::Error>(chain.usage()?.disk),
    };
    let (before, begun) = (written(&chain)?, Instant::now());
    tokio::task::block_in_place(|| chain.writer.drip(DRIP.0, DRIP.1, lasting))?;
    chain.arrived()?;
    let a_day = (written(&chain)? - before) / begun.elapsed().as_secs_f64() * DAY;
    chain.contender.end().await?;
    drop(image);
    scratch.remove()?;
    Ok(Measure {
        what: format!(
            "bytes to disk a day at {} readings/s, `queue.commit_interval` {DRIP_COMMIT}, extrapolated from {} s",
            DRIP.1,
            lasting.as_secs()
        ),
        got: Some(format!(
            "{} MB {}",
            short(a_day / 1e6),
            if disk.is_some() { "at the block device, ext4 with its journal" } else { "without the filesystem" }
        )),
        reference: format!(
            "a card of {} GB whose cells bear {} erasures, with {} bytes written inside for each, lasts {} years",
            short(CARD / 1e9),
            short(ERASURES),
            short(AMPLIFIED),
            short(CARD * ERASURES / AMPLIFIED / a_day.max(1.0) / 365.0)
        ),
        goal: "1 GB".to_owned(),
    })
}
