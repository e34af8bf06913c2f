//! The healthy clients: agents with certificates of the gateway's authority, sensors with certificates of the plant's, and
//! old controllers with passwords and without TLS. Each publishes at a fixed rate at QoS 1, waits for each PUBACK and
//! counts; at the end the log has to have what was acknowledged, and nothing else in their names.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};
use weir_protocol::{DeviceId, Restart};

use super::stage::Stage;
use crate::bench::payload::{Packets, packets};
use crate::census::Census;
use crate::clients::foreign::{Who, parse, payload};
use crate::clients::mqtt::{Link, plain};
use crate::clients::steady::Steady;
use crate::kafka::client::Broker;
use crate::kafka::log::Log;
use crate::truth::Truths;

/// Of each ten clients so many are agents, so many sensors, the rest controllers.
const AGENTS: usize = 4;
const SENSORS: usize = 4;
/// Bytes of a batch of an agent.
const BATCH: usize = 200;
/// Packet ids are used up to here.
const IDS: u64 = 10_000;
/// The restart of every agent.
pub(super) const RESTART: u64 = 7_000_001;
const PASSWORD: &str = "correct horse";
/// The topic of the log that has the messages of sensors and controllers.
const TOPIC: &str = "messages";
/// The topic of the log that has the readings of agents.
const READINGS: &str = "readings";

/// A client of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Agent,
    Sensor,
    Controller,
}

/// All of them, at work.
pub(super) struct Healthy {
    steady: Steady,
    names: Vec<(Kind, String)>,
    /// Readings in a batch of an agent.
    readings: u64,
}

/// The name of an agent, and of its device.
pub(super) fn agent(number: usize) -> String {
    format!("bench-{number}")
}

/// The name of a sensor.
pub(super) fn sensor(number: usize) -> String {
    format!("sensor-{number}")
}

/// The name of a controller, which is its user name.
pub(super) fn controller(number: usize) -> String {
    format!("plc-{number}")
}

impl Healthy {
    /// Connects `count` clients, each with `messages` messages, one every `interval`.
    pub(super) async fn start(stage: &Stage, count: usize, interval: Duration, messages: usize) -> Result<Self> {
        let (mut clients, mut names, mut readings) = (Vec::new(), Vec::new(), 1);
        for number in 0..count {
            let (kind, name, link, packets) = match number % 10 {
                tenth if tenth < AGENTS => {
                    let number = number / 10 * AGENTS + tenth;
                    let name = agent(number);
                    let packets = packets(number, messages, BATCH, RESTART)?;
                    readings = packets.readings;
                    let link = stage.secure(number, &stage.issued(&name).await?).await?;
                    (Kind::Agent, name, link, packets)
                }
                tenth if tenth < AGENTS + SENSORS => {
                    let name = sensor(number / 10 * SENSORS + tenth - AGENTS);
                    let link = stage.secure(number, &stage.certified(&name)?).await?;
                    let packets = messages_of(&name, None, messages)?;
                    (Kind::Sensor, name, link, packets)
                }
                tenth => {
                    let rest = 10 - AGENTS - SENSORS;
                    let name = controller(number / 10 * rest + tenth - AGENTS - SENSORS);
                    stage.command(&["user", "add", &name, "--mqtt"], &format!("{PASSWORD}\n")).await?;
                    let link: Link = plain(number, stage.deployment.mqtt).await?;
                    let packets = messages_of(&name, Some(PASSWORD), messages)?;
                    (Kind::Controller, name, link, packets)
                }
            };
            clients.push((link, packets));
            names.push((kind, name));
        }
        Ok(Self { steady: Steady::over(clients, interval).await?, names, readings })
    }

    /// Acknowledged messages a second, of all together, over a while.
    pub(super) async fn rate(&self, lasting: Duration) -> f64 {
        self.steady.rate(lasting).await
    }

    /// Ends all of them and looks for what was acknowledged in the log; how many messages and readings are there.
    pub(super) async fn settle(self, stage: &Stage) -> Result<(u64, u64)> {
        let Self { steady, names, readings } = self;
        let acknowledged = steady.stop_each().await?;
        let all = || names.iter().zip(acknowledged.iter().copied());
        let expected = all().filter(|((kind, _), _)| *kind != Kind::Agent);
        let messages = messages_in_log(stage, &expected.map(|((_, name), own)| (name.clone(), own)).collect()).await?;
        let mut census = Census::default();
        census.catch_up_in(&stage.deployment.log, &Truths::default(), |topic| topic == READINGS).await?;
        let mut stored = 0;
        for ((_, name), batches) in all().filter(|((kind, _), _)| *kind == Kind::Agent) {
            let device = DeviceId::new(name).context("the name of an agent")?;
            let own = (device, Restart::from_agent(RESTART));
            if let Some((_, foreign)) = census.restarts.keys().find(|key| key.0 == device && **key != own) {
                bail!("{name} has readings of restart {foreign:?}, which is not its own");
            }
            let of_device = census.restarts.get(&own).map(|restart| restart.readings.len()).unwrap_or_default();
            if of_device != batches * readings {
                bail!("{name}: {} readings were acknowledged, {of_device} are in the log", batches * readings);
            }
            stored += of_device;
        }
        Ok((messages, stored))
    }
}

/// What a sensor or a controller sends: number 0 with its CONNECT, then 1, 2, ...
fn messages_of(name: &str, password: Option<&str>, count: usize) -> Result<Packets> {
    let who = Who { id: name.to_owned(), qos: 1, is_5: false };
    let publish = |id: u16, number: u64, out: &mut BytesMut| {
        let mut publish = v4::Publish::new(who.topic(), QoS::AtLeastOnce, payload(&who, number));
        publish.pkid = id;
        publish.write(out).map(drop).context("PUBLISH")
    };
    let (mut opening, mut connect) = (BytesMut::new(), v4::Connect::new(name));
    if let Some(password) = password {
        connect.set_login(name, password);
    }
    connect.write(&mut opening).context("CONNECT")?;
    publish(u16::MAX, 0, &mut opening)?;
    let (mut bytes, mut ends) = (BytesMut::new(), Vec::new());
    for number in 1..=count as u64 {
        publish((number % IDS) as u16 + 1, number, &mut bytes)?;
        ends.push(bytes.len());
    }
    Ok(Packets { opening: opening.to_vec(), describes: 1, bytes: bytes.to_vec(), ends, readings: 1, payload: 0 })
}

/// Counts the messages of `acknowledged` in the log; each has to be there, and no other in a name of theirs.
async fn messages_in_log(stage: &Stage, acknowledged: &BTreeMap<String, u64>) -> Result<u64> {
    let mut log = Log::connect(Broker::new(stage.deployment.kafka, Some(stage.viewer.shown.clone()))).await?;
    let mut found: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for place in log.partitions().await?.into_iter().filter(|(topic, _)| topic == TOPIC) {
        let mut count = |record: &crate::kafka::log::Record| {
            let key = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            if !acknowledged.contains_key(&key) {
                return Ok(());
            }
            match record.value.as_deref().and_then(parse) {
                Some((name, number)) if name == key => *found.entry((name, number)).or_default() += 1,
                _ => bail!("the log has a message in the name of {key} that it did not send"),
            }
            Ok(())
        };
        log.read_whole(&place, &mut count).await?;
    }
    for (name, last) in acknowledged {
        if let Some(lost) = (0..=*last).find(|number| !found.contains_key(&(name.clone(), *number))) {
            bail!("{name}: {lost} was acknowledged and is not in the log");
        }
    }
    Ok(found.len() as u64)
}
