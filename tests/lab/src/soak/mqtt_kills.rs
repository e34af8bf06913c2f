//! Foreign clients publish at QoS 1 and 2 while the gateway is killed with -9 again and again: nothing acknowledged is
//! lost, QoS 2 is never doubled, and a subscriber with a durable session gets every message, in the order of the log. That
//! is not always the order of their numbers: after a lost connection rumqttc sends again by packet id, and packet ids wrap.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Bench, Verdict, until};
use crate::clients::foreign::{Publisher, Subscriber, Who, parse};
use crate::deployment::{Aim, Deployment, Target};
use crate::kafka::log::{Log, Record};

/// Kills of the full count.
const KILLS: usize = 100;
const SLICE: usize = 8;
/// Messages that must be acknowledged between two kills, at most.
const BETWEEN: u64 = 400;
/// The longest wait behind that, before the kill.
const LATER: Duration = Duration::from_millis(60);
const STORE: &str = "[[mqtt.store]]\nfilter = \"plant/#\"\n";
const TOPIC: &str = "messages";

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let mut random = StdRng::seed_from_u64(bench.seed);
    let mut plan = bench.plan();
    (plan.boards, plan.system) = (0, false);
    plan.mqtt = STORE.to_owned();
    let mut deployment = Deployment::prepare(plan, bench.binaries).await?;
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    let gateway = deployment.mqtt;
    let mut subscriber = Subscriber::start("archive", gateway);
    subscriber.subscribed().await;
    let who = |qos, is_5| Who { id: format!("q{qos}-v{}", if is_5 { 5 } else { 4 }), qos, is_5 };
    let all = [who(1, false), who(1, true), who(2, false), who(2, true)];
    let publishers: Vec<_> = all.into_iter().map(|who| Publisher::start(who, gateway)).collect();
    let acknowledged = || publishers.iter().map(|publisher| publisher.progress().acknowledged).sum::<u64>();

    let kills = bench.count(KILLS, SLICE);
    for _ in 0..kills {
        let enough = acknowledged() + random.random_range(1..BETWEEN);
        until("messages are acknowledged", || acknowledged() >= enough).await?;
        tokio::time::sleep(random.random_range(Duration::ZERO..LATER)).await;
        deployment.kill(Target::Gateway, Aim::Blind, 0).await?;
        deployment.wait_for_gateway().await?;
    }
    publishers.iter().for_each(Publisher::finish);
    until("all is acknowledged", || publishers.iter().all(Publisher::is_done)).await?;

    let logged = Logged::read(&deployment).await?;
    let mut faults = Vec::new();
    let mut repeats = 0;
    for publisher in &publishers {
        let Who { id, qos, .. } = &publisher.who;
        for number in 0..publisher.progress().sent {
            match logged.times.get(&(id.clone(), number)).copied().unwrap_or_default() {
                0 => faults.push(format!("{id}: {number} was acknowledged and is not in the log")),
                1 => {}
                found if *qos == 2 => faults.push(format!("{id}: {number} is {found} times in the log")),
                found => repeats += found - 1,
            }
        }
    }
    until("the subscriber has it all", || subscriber.count() >= logged.times.len()).await?;
    let got = subscriber.got();
    faults.extend(got.foreign.iter().map(|what| format!("subscriber: {what}")));
    for (id, order) in &logged.order {
        let came = got.order.get(id).map_or(&[][..], Vec::as_slice);
        if let Some(at) = (0..order.len()).find(|at| came.get(*at) != order.get(*at)) {
            let came = came.get(at);
            faults.push(format!("subscriber: {came:?} of {id} came where the log has {}, at {at}", order[at]));
        }
    }
    if got.forgotten > 0 {
        faults.push(format!("the session of the subscriber was forgotten {} times", got.forgotten));
    }
    if !faults.is_empty() {
        return Ok(Verdict::Broken(faults.join("\n")));
    }
    let connects: u64 = publishers.iter().map(|publisher| publisher.progress().connects).sum();
    deployment.gateway.stop(crate::deployment::DRAIN).await?;
    deployment.scratch.remove()?;
    Ok(Verdict::Holds(format!(
        "{kills} kills, {connects} connections: {} messages acknowledged and in the log, QoS 2 once, QoS 1 {repeats} times \
         again; a durable subscriber got all, {} of them again",
        logged.times.len(),
        got.again
    )))
}

/// What the log has, as Kafka shows it.
#[derive(Debug, Default)]
struct Logged {
    /// How often it has each message.
    times: BTreeMap<(String, u64), u64>,
    /// The numbers of each publisher, in the order in which each stands there first.
    order: BTreeMap<String, Vec<u64>>,
}

impl Logged {
    async fn read(deployment: &Deployment) -> Result<Self> {
        let (mut log, mut logged) = (Log::connect(deployment.kafka).await?, Self::default());
        for place in log.partitions().await?.into_iter().filter(|(topic, _)| topic == TOPIC) {
            log.read_whole(&place, |record| logged.take(record)).await?;
        }
        Ok(logged)
    }

    fn take(&mut self, record: &Record) -> Result<()> {
        let payload = record.value.as_deref().context("a message without a payload")?;
        let (id, number) = parse(payload).context("no payload of ours")?;
        let times = self.times.entry((id.clone(), number)).or_default();
        *times += 1;
        if *times == 1 {
            self.order.entry(id).or_default().push(number);
        }
        Ok(())
    }
}
