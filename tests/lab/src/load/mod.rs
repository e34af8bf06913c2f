//! Drives devices by the thousand against a gateway, and writes down all that it sends and all that is acknowledged.
//!
//! It guarantees:
//! - **open loop**: when a reading is due is fixed in advance ([`schedule`]) and nothing shifts it. Latency is from due to
//!   PUBACK, so that what waits behind a slow or lost gateway counts for as long as it waited;
//! - **nothing is given up**: what is not acknowledged is sent again on the next connection, with the same identity and the
//!   same value ([`line`], [`values`]), for as long as the load lives;
//! - **bounded**: a connection keeps a few numbers and its window ([`connection`]), a device its facts in the ledger; what is
//!   due and cannot be sent is a range.
//!
//! Every device takes one restart, whose number is new each time a load starts, so that a second load on the same log
//! repeats nothing. At most 100,000 devices over 16,000 connections; [`plan`] has the bounds.

mod boards;
mod clients;
mod command;
mod connection;
mod consumption;
mod content;
mod counts;
mod entrance;
mod follower;
pub(crate) mod greeting;
mod line;
pub(crate) mod plan;
pub(crate) mod schedule;
mod tally;
#[cfg(test)]
mod tests;
mod times;
pub(crate) mod values;
mod verdict;
mod wire;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};
use weir_protocol::{DeviceId, Restart};

use crate::ledger::{Ledger, RestartKey};
use crate::truth::Truths;
use boards::Boards;
use clients::Clients;

pub use crate::clients::peer::Peer;
pub use command::{LoadOptions, run};
pub use consumption::Consumed;
pub use counts::{Counts, Second};
pub(crate) use entrance::CLIENT;
pub use entrance::{Entrance, Proof};
pub use plan::{LoadPlan, MAX_BATCH, MAX_BOARDS, MAX_CONNECTIONS, MAX_DEVICES, MAX_RATE, Pattern, Shape};
pub use wire::Version;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A running load. It connects again by itself for ever and never gives up what is not acknowledged. Dropping it ends it.
pub struct Load(Driven);

enum Driven {
    Clients(Clients),
    Boards(Box<Boards>),
}

/// A load, so far.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Since it began.
    pub elapsed: Duration,
    /// Readings that were due. Boards say it ten times a second.
    pub due: u64,
    /// Everything that is counted.
    pub counts: Counts,
    /// From due to acknowledged, in microseconds; of boards, from the sample to the acknowledgement of the agent.
    pub latency: Histogram<u64>,
}

impl Seen {
    /// Readings that were due and are not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        self.due.saturating_sub(self.counts.acknowledged)
    }
}

/// A reading whose acknowledgement came late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateReading {
    /// Whose it is.
    pub device: DeviceId,
    /// Which.
    pub sequence: u64,
    /// From due to acknowledged.
    pub took: Duration,
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Everything at its end.
    pub seen: Seen,
    /// Second by second; of a very long load the last 100,000.
    pub seconds: Vec<Second>,
    /// The latest readings that are acknowledged, the worst first; [`Counts::late`] has how many there are.
    pub late: Vec<LateReading>,
    /// Readings that were due and are not acknowledged, by device and restart.
    pub unacknowledged: Vec<(RestartKey, Range<u64>)>,
    /// What the consumer of its [`Entrance`] got.
    pub consumed: Option<Consumed>,
}

impl Load {
    /// Connects all at `entrance`, describes the devices, and begins. What it sends and what is acknowledged goes to `ledger`;
    /// `truths` learns how its values can be known. Boards begin at once, for whatever agent opens [`Load::serial`].
    ///
    /// # Errors
    /// The plan cannot be driven, too few files are allowed, or the gateway does not let it in: each with what to type.
    pub async fn start(
        plan: LoadPlan,
        entrance: impl Into<Entrance>,
        ledger: Ledger,
        truths: &mut Truths,
    ) -> Result<Self> {
        plan.check()?;
        Ok(Self(match plan.shape {
            Shape::Boards => Driven::Boards(Box::new(Boards::start(plan, ledger, truths)?)),
            Shape::Agents | Shape::Foreign => {
                Driven::Clients(Clients::start(plan, entrance.into(), &ledger, truths).await?)
            }
        }))
    }

    /// The ends of the boards' cables that an agent opens.
    pub fn serial(&self) -> Vec<PathBuf> {
        match &self.0 {
            Driven::Clients(_) => Vec::new(),
            Driven::Boards(boards) => boards.serial(),
        }
    }

    /// The restart that all devices have; boards have each their own.
    pub fn restart(&self) -> Option<Restart> {
        match &self.0 {
            Driven::Clients(clients) => Some(clients.restart()),
            Driven::Boards(_) => None,
        }
    }

    /// Everything so far.
    pub fn seen(&self) -> Seen {
        match &self.0 {
            Driven::Clients(clients) => clients.seen(),
            Driven::Boards(boards) => boards.seen(),
        }
    }

    /// The seconds that are over, from one on.
    pub fn seconds(&self, from: u64) -> Vec<Second> {
        match &self.0 {
            Driven::Clients(clients) => clients.seconds(from),
            Driven::Boards(boards) => boards.seconds(from),
        }
    }

    /// The last second that is over, if there is one.
    pub fn last_second(&self) -> Option<Second> {
        let elapsed = match &self.0 {
            Driven::Clients(clients) => clients.elapsed(),
            Driven::Boards(boards) => boards.elapsed(),
        };
        self.seconds(elapsed.as_secs().saturating_sub(1)).into_iter().next()
    }

    /// Cuts all connections at once; they come back at once.
    pub fn cut(&self) {
        match &self.0 {
            Driven::Clients(clients) => clients.cut(),
            Driven::Boards(boards) => boards.cut(),
        }
    }

    /// No reading is due from now on; waits until all that were due are acknowledged.
    ///
    /// # Errors
    /// Nothing was acknowledged for `limit` although something was due.
    pub async fn settle(&mut self, limit: Duration) -> Result<()> {
        self.stop();
        let (mut last, mut progress) = (0, Instant::now());
        loop {
            let seen = self.seen();
            if seen.unacknowledged() == 0 && self.is_still() {
                if let Driven::Clients(clients) = &self.0 {
                    clients.consumed().await;
                }
                return Ok(());
            }
            if seen.counts.acknowledged > last {
                (last, progress) = (seen.counts.acknowledged, Instant::now());
            }
            if progress.elapsed() > limit {
                let reasons = self.reasons();
                bail!("{} readings are not acknowledged, none was for {limit:?}; {reasons}", seen.unacknowledged());
            }
            sleep(LOOK).await;
        }
    }

    /// Ends it, acknowledged or not.
    pub async fn finish(mut self) -> Outcome {
        self.stop();
        match self.0 {
            Driven::Clients(clients) => clients.finish().await,
            Driven::Boards(boards) => boards.finish(),
        }
    }

    /// Why connections ended and messages were refused, in words.
    pub fn reasons(&self) -> String {
        reasons(&self.seen().counts)
    }

    /// No reading is due from now on.
    fn stop(&mut self) {
        match &mut self.0 {
            Driven::Clients(clients) => clients.stop(),
            Driven::Boards(boards) => boards.stop(),
        }
    }

    /// Whether what is due is known to its end.
    fn is_still(&mut self) -> bool {
        match &mut self.0 {
            Driven::Clients(_) => true,
            Driven::Boards(boards) => boards.have_ended(),
        }
    }
}

fn reasons(counts: &Counts) -> String {
    let each: Vec<_> = counts.refusals.iter().map(|(reason, times)| format!("{reason} ({times} times)")).collect();
    if each.is_empty() { "nothing was refused".to_owned() } else { each.join(", ") }
}
