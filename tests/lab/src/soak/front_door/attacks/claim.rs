//! Agents with good certificates of their own that describe and write a device of another, under its restart and under others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::payload::packets_of;
use crate::clients::tls::secure;
use crate::soak::front_door::healthy::{RESTART, agent};
use crate::soak::front_door::horde::Horde;
use crate::soak::front_door::stage::Stage;

pub(super) const COUNTERS: &[&str] = &["not_bound_total"];
/// Agents that claim, and how soon each comes again.
const AGENTS: usize = 10;
const BACK: Duration = Duration::from_millis(200);
/// Batches of a visit, and bytes of each.
const BATCHES: usize = 50;
const BATCH: usize = 200;
/// Bytes of a CONNACK, of the PUBACK of a description and of those of the batches, in 3.1.1.
const ANSWERS: usize = 4 + 4 + 4 * BATCHES;

pub(super) async fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let mut known = Vec::new();
    for number in 0..(AGENTS / scale).max(2) {
        let name = format!("thief-{number}");
        known.push((stage.issued(&name).await?, name));
    }
    let (gateway, count, known, restarts) = (stage.tls, known.len(), Arc::new(known), Arc::new(AtomicU64::new(1)));
    Ok(Horde::gather(count, BACK, move |number, tally| {
        let (known, restarts) = (Arc::clone(&known), Arc::clone(&restarts));
        async move {
            let (client, name) = &known[number];
            // The first thief goes on under the restart of the owner, others begin new ones.
            let restart = if number == 0 { RESTART } else { RESTART + restarts.fetch_add(1, Relaxed) };
            let packets = packets_of(name, &agent(number), BATCHES, BATCH, restart)?;
            let mut link = secure(number, gateway, client).await?;
            link.write_all(&packets.opening).await?;
            link.write_all(&packets.bytes).await?;
            link.flush().await?;
            let mut answers = [0; ANSWERS];
            link.read_exact(&mut answers).await?;
            tally.did(BATCHES as u64);
            Ok(())
        }
    }))
}
