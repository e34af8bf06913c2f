//! A load over MQTT: all its connections, from their beginning to what came of them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use weir_protocol::{Restart, Timestamp};

use super::connection::{Connection, Order, Shared};
use super::consumption::Consumption;
use super::content::Content;
use super::entrance::Entrance;
use super::follower::Follower;
use super::line::Line;
use super::plan::{LoadPlan, Pattern};
use super::schedule::Schedule;
use super::tally::Tally;
use super::{LOOK, LateReading, Outcome, Second, Seen, reasons, values};
use crate::ledger::Ledger;
use crate::truth::Truths;

/// Connections that begin at a time.
const GATE: usize = 200;
/// A load that no further connection joins for so long cannot begin.
const JOIN: Duration = Duration::from_secs(30);
/// A consumer that gets nothing for so long is not waited for.
const CONSUMER: Duration = Duration::from_secs(5);
/// Files of this process besides the connections.
const BESIDES: u64 = 200;

/// Connections at work.
pub(super) struct Clients {
    shared: Arc<Shared>,
    orders: watch::Sender<Order>,
    began: Instant,
    connections: JoinSet<(u32, Line)>,
    storms: JoinSet<()>,
    _consumer: JoinSet<()>,
}

impl Clients {
    /// Connects all and describes the devices; readings are due from then on.
    pub(super) async fn start(
        plan: LoadPlan,
        entrance: Entrance,
        ledger: &Ledger,
        truths: &mut Truths,
    ) -> Result<Self> {
        entrance.check(&plan)?;
        crate::clients::allow_files(u64::from(plan.connections) + BESIDES)?;
        let devices = (0..plan.devices).map(|number| plan.device(number)).collect::<Result<Vec<_>>>()?;
        devices.iter().for_each(|device| truths.driven(*device));
        let schedule = Schedule::new(&plan);
        let shared = Arc::new(Shared {
            schedule,
            content: Content::new(&plan),
            fleet: ledger.fleet(new_restart(plan.seed), devices)?,
            tally: Tally::new(schedule, plan.late)?,
            entrance,
            ready: AtomicU32::new(0),
            described: AtomicU32::new(0),
            taken: OnceLock::new(),
            gate: Semaphore::new(GATE),
            plan,
        });
        let (orders, _) = watch::channel(Order::default());
        let mut connections = JoinSet::new();
        for number in 0..shared.plan.connections {
            connections.spawn(Connection::new(number, Arc::clone(&shared), orders.subscribe()).run());
        }
        join(&shared).await?;
        let follower = match &shared.entrance.consumer {
            Some(broker) => Some(Follower::begin(broker.clone()).await?),
            None => None,
        };
        let began = Instant::now();
        let (mut storms, mut consumer) = (JoinSet::new(), JoinSet::new());
        if let Some(follower) = follower {
            let LoadPlan { devices, connections, .. } = shared.plan;
            shared.tally.follow(Consumption::new(schedule, devices, connections)?);
            consumer.spawn(follower.run(Arc::clone(&shared), began));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the wall clock is before 1970")?;
        let wall = Timestamp(i64::try_from(since.as_micros())?);
        orders.send_modify(|order| order.began = Some((began, wall)));
        if let Pattern::Storm { every } = shared.plan.pattern {
            storms.spawn(storm(orders.clone(), began, every));
        }
        Ok(Self { shared, orders, began, connections, storms, _consumer: consumer })
    }

    pub(super) fn restart(&self) -> Restart {
        self.shared.fleet.key(0).1
    }

    fn now(&self) -> u64 {
        Schedule::time(self.began.elapsed())
    }

    pub(super) fn seen(&self) -> Seen {
        let elapsed = self.began.elapsed();
        let now = Schedule::time(elapsed);
        let (counts, latency) = self.shared.tally.seen(now);
        Seen { elapsed, due: self.shared.tally.due(now), counts, latency }
    }

    pub(super) fn seconds(&self, from: u64) -> Vec<Second> {
        self.shared.tally.seconds(self.now(), from)
    }

    /// Waits until the consumer, if there is one, has all that is acknowledged, or gets nothing more: what is not in the log
    /// the ledger tells.
    pub(super) async fn consumed(&self) {
        let (mut last, mut progress) = (0, Instant::now());
        while let Some(count) = self.shared.tally.count_consumed(self.now()) {
            let (counts, _) = self.shared.tally.seen(self.now());
            if count + counts.dead_lettered >= counts.acknowledged || progress.elapsed() > CONSUMER {
                return;
            }
            if count > last {
                (last, progress) = (count, Instant::now());
            }
            sleep(LOOK).await;
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn cut(&self) {
        self.orders.send_modify(|order| order.cuts += 1);
    }

    pub(super) fn stop(&mut self) {
        self.storms.abort_all();
        let now = self.now();
        self.orders.send_if_modified(|order| {
            let is_first = order.until.is_none();
            if is_first {
                order.until = Some(now);
                self.shared.tally.stop(now);
            }
            is_first
        });
    }

    pub(super) async fn finish(mut self) -> Outcome {
        self.orders.send_modify(|order| order.is_over = true);
        let mut lines = Vec::new();
        while let Some(ended) = self.connections.join_next().await {
            // A task ends by itself, never by a panic that is passed over.
            match ended {
                Ok(line) => lines.push(line),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        lines.sort_unstable_by_key(|(number, _)| *number);
        let Shared { schedule, fleet, tally, .. } = &*self.shared;
        let until = self.orders.borrow().until.unwrap_or(0);
        let missing = lines
            .iter()
            .flat_map(|(number, line)| schedule.runs(*number, line.acknowledged..schedule.count(*number, until)));
        let missing = missing.filter(|(_, run)| !run.is_empty()).map(|(device, run)| (fleet.key(device), run));
        let unacknowledged = missing.collect();
        let seen = self.seen();
        let (seconds, late) = tally.close(Schedule::time(seen.elapsed));
        let late = late.into_iter().filter_map(|late| {
            let (device, run) = schedule.runs(late.connection, late.position..late.position + 1).next()?;
            let took = Duration::from_micros(late.took_us);
            Some(LateReading { device: fleet.key(device).0, sequence: run.start, took })
        });
        let consumed = tally.consumed(Schedule::time(seen.elapsed));
        Outcome { late: late.collect(), seconds, unacknowledged, seen, consumed }
    }
}

/// Waits until all connections have described their devices.
async fn join(shared: &Shared) -> Result<()> {
    let (mut last, mut progress) = ((0, 0), Instant::now());
    loop {
        let (counts, _) = shared.tally.seen(0);
        let now = (shared.ready.load(Relaxed), shared.described.load(Relaxed));
        if let Some(device) = shared.taken.get() {
            bail!(
                "the device {device} is bound to another agent: an earlier load had other --connections; \
                 type the same as then, or another --name"
            );
        }
        if now.0 == shared.plan.connections {
            return Ok(());
        }
        if now != last {
            (last, progress) = (now, Instant::now());
        }
        if progress.elapsed() > JOIN {
            bail!(
                "{} of {} connections to {} are ready, and none more for {JOIN:?}; {}",
                now.0,
                shared.plan.connections,
                shared.entrance.mqtt.address(),
                reasons(&counts)
            );
        }
        sleep(LOOK).await;
    }
}

/// Cuts all connections, each so often.
async fn storm(orders: watch::Sender<Order>, began: Instant, every: Duration) {
    for number in 1.. {
        sleep_until(began + every * number).await;
        orders.send_modify(|order| order.cuts += 1);
    }
}

/// A restart that no load before has used: of the seed, and of the time.
fn new_restart(seed: u64) -> Restart {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Restart::from_agent(values::mix(seed) ^ values::mix(since.as_nanos() as u64))
}
