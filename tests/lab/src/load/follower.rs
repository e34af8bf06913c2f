//! A consumer that follows what a load sends, as anybody's would: over Kafka, from the end of every topic on, and through
//! everything that happens to the gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, timeout};

use super::connection::Shared;
use super::schedule::{Run, Schedule};
use super::values;
use crate::kafka::client::Broker;
use crate::kafka::compare::{MESSAGE, identity};
use crate::kafka::log::{Log, Place, Reach, Record};

/// Topics of the gateway's own, which hold no readings.
const OWN: &str = "weir.";
/// What it takes at once.
const REACH: Reach = Reach { bytes: 4 << 20, wait_ms: 200 };
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(30);
/// How long it may take to find the ends of all topics.
const BEGIN: Duration = Duration::from_secs(30);

/// A consumer that knows where it begins.
pub(super) struct Follower {
    broker: Broker,
    at: BTreeMap<Place, u64>,
}

impl Follower {
    /// Stands at the end of every topic.
    ///
    /// # Errors
    /// Kafka is not spoken there, or not to us.
    pub(super) async fn begin(broker: Broker) -> Result<Self> {
        let find = async {
            let mut log = Log::connect(broker.clone()).await?;
            let mut at = BTreeMap::new();
            for place in log.partitions().await?.into_iter().filter(|(topic, _)| !topic.starts_with(OWN)) {
                let end = log.bounds(&place).await?.end;
                at.insert(place, end);
            }
            Ok(at)
        };
        let at = timeout(BEGIN, find).await.context("no answer in time").flatten();
        Ok(Self { at: at.context("the log cannot be followed over Kafka")?, broker })
    }

    /// Follows for ever. A gateway that is away is waited for.
    pub(super) async fn run(mut self, shared: Arc<Shared>, began: Instant) {
        loop {
            // A connection that is lost is the gateway being away. What is not there in the end the ledger tells.
            let _ = self.follow(&shared, began).await;
            sleep(AGAIN).await;
        }
    }

    async fn follow(&mut self, shared: &Shared, began: Instant) -> Result<()> {
        let mut log = Log::connect(self.broker.clone()).await?;
        loop {
            for (place, fetched) in log.fetch_each(&self.at, REACH).await? {
                let next = match fetched {
                    Some(fetched) => {
                        let now = Schedule::time(began.elapsed());
                        let came = fetched.records.iter().filter_map(|record| reading(shared, record));
                        shared.tally.came(came, now);
                        fetched.next
                    }
                    // Retention was there first.
                    None => log.bounds(&place).await?.start,
                };
                self.at.insert(place, next);
            }
        }
    }
}

/// Which reading of the load a record is, if it is one. Others write into the log, too, and what they like.
fn reading(shared: &Shared, record: &Record) -> Option<Run> {
    let value = record.value.as_deref()?;
    let (device, restart, sequence) = if record.headers.keys().any(|name| name.as_str() == MESSAGE) {
        let (key, said) = values::parse(std::str::from_utf8(value).ok()?)?;
        (key.0.to_string(), key.1.0.to_string(), said["sequence"].as_u64()?)
    } else {
        let (device, restart, sequence) = identity(value).ok()??;
        (device, restart, u64::try_from(sequence).ok()?)
    };
    let number = shared.plan.number(&device)?;
    (restart == shared.fleet.key(number).1.0.to_string()).then_some((number, sequence..sequence + 1))
}
