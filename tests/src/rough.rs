//! One rough run that many promises are read off: two boards, the agent's own source, kills of everything, a
//! cable pulled out, and answers that never arrive.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value as Json;
use weir_lab::census::Census;
use weir_lab::deployment::{Aim, Target};
use weir_lab::ledger::Ledger;
use weir_lab::reconcile::Report;
use weir_protocol::Timestamp;
use weir_protocol::time::{SystemClock, WallClock};

use crate::{PATIENCE, deployment};

/// The device whose cable is pulled out and whose power is cut meanwhile.
pub const ROUGH_DEVICE: &str = "board-1";
/// Readings that show that the system is alive.
const ALIVE: u64 = 100;

/// What is left of the run.
pub struct Rough {
    /// What was promised.
    pub ledger: Ledger,
    /// What is in the log.
    pub census: Census,
    /// The comparison.
    pub report: Report,
    /// The records of `readings`, in log order, by partition.
    pub partitions: Vec<Vec<Json>>,
    /// When it began and ended.
    pub period: (Timestamp, Timestamp),
}

impl Rough {
    /// The run; the first test that asks makes it.
    pub fn run() -> &'static Self {
        static RUN: OnceLock<Rough> = OnceLock::new();
        RUN.get_or_init(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            // The thread that starts children must live as long as they do, and this one waits for the run.
            runtime.block_on(run())
        })
    }

    /// The values of all readings, in log order within their partition.
    pub fn readings(&self) -> impl Iterator<Item = &Json> {
        self.partitions.iter().flatten().map(|record| &record["value"])
    }
}

async fn run() -> Rough {
    let began = SystemClock.now();
    let change = |plan: &mut weir_lab::deployment::Plan| {
        plan.boards = 2;
        plan.system = true;
    };
    let mut lab = deployment(change).await;
    let mut readings = 0;
    for (target, aim) in [
        (Target::Gateway, Aim::BehindLostAnswer),
        (Target::Agent, Aim::BehindPromise),
        (Target::Gateway, Aim::BehindPromise),
        (Target::Agent, Aim::Blind),
    ] {
        readings = wait(&lab, readings + ALIVE).await;
        lab.kill(target, aim, 0).await.expect("a kill");
    }
    readings = wait(&lab, readings + ALIVE).await;
    lab.boards[0].cable.unplug().expect("the cable comes out");
    tokio::time::sleep(Duration::from_millis(500)).await;
    lab.kill(Target::Board, Aim::Blind, 0).await.expect("a kill");
    lab.boards[0].cable.replug().expect("the cable goes in");
    wait(&lab, readings + ALIVE).await;
    let (report, census) = lab.drain().await.expect("a drain");

    // Read by others once more, behind another start of the gateway.
    lab.gateway.start().expect("the gateway starts");
    lab.wait_for_gateway().await.expect("the gateway is ready");
    let mut partitions = Vec::new();
    for (topic, partition) in lab.log.partitions().await.expect("the topics") {
        if topic == "readings" {
            partitions.push(records(&lab.log, &topic, partition).await);
        }
    }
    let ledger = lab.ledger.clone();
    lab.scratch.remove().expect("the directory can be removed");
    Rough { ledger, census, report, partitions, period: (began, SystemClock.now()) }
}

async fn wait(lab: &weir_lab::deployment::Deployment, at_least: u64) -> u64 {
    let what = format!("{at_least} readings in the log");
    lab.wait_for(&what, PATIENCE, |census| census.readings() >= at_least).await.expect("progress").readings()
}

/// All records of a partition.
pub async fn records(log: &weir_lab::census::LogReader, topic: &str, partition: u32) -> Vec<Json> {
    let (mut records, mut next) = (Vec::new(), 0);
    loop {
        let page = log.page(topic, partition, next).await.expect("a page");
        if page.next <= next {
            return records;
        }
        records.extend(page.records);
        next = page.next;
    }
}
