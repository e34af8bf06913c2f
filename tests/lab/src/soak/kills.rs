//! Random kill -9 of board, agent and gateway under load.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::{Aim, Deployment, Target};

/// Kills of the full count; each is one of the three, at a random moment or right behind an acknowledgement.
const KILLS: usize = 100;
const SLICE: usize = 12;
/// Readings that must arrive between two kills, at most; some follow without a pause.
const BETWEEN: u64 = 200;

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let mut random = StdRng::seed_from_u64(bench.seed);
    let mut deployment = Deployment::start(bench.plan(), bench.binaries).await?;
    progress(&mut deployment, 1).await?;
    let kills = bench.count(KILLS, SLICE);
    let mut counts = [0; 3];
    for number in 0..kills {
        // A slice has each of them.
        let which = if number < 3 { number } else { random.random_range(0..3) };
        let target = [Target::Gateway, Target::Agent, Target::Board][which];
        let aim = [Aim::Blind, Aim::BehindPromise, Aim::BehindLostAnswer][random.random_range(0..3)];
        deployment.kill(target, aim, random.random_range(0..64)).await?;
        counts[which] += 1;
        if random.random_range(0..4) > 0 {
            progress(&mut deployment, random.random_range(1..BETWEEN)).await?;
        } else {
            // The next kill hits while everybody is still recovering from this one.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        }
    }
    progress(&mut deployment, BETWEEN).await?;
    let [gateway, agent, board] = counts;
    conclude(deployment, format!("{kills} kills (gateway {gateway}, agent {agent}, board {board})")).await
}
