//! Apache Kafka: one broker that is its own controller (KRaft), with two topics, one as it comes and one that is synced
//! behind each append; by itself with its own load generator, and behind an MQTT bridge.
//!
//! The bridge is ours (tests/lab/peers/kafka/Bridge.java), because none that is maintained and small speaks MQTT to clients and
//! waits for Kafka: it hands each publish to Kafka's own client and answers when that has its acknowledgement.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::protocol::StrBytes;

use super::{Card, Peer, READY, installed, listening, program};
use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::kafka::client::Client;
use crate::kafka::log::{expect, name};
use crate::ports::Reserved;
use crate::process::{Process, Program};

/// As many partitions as a topic of ours has.
pub(in super::super) const PARTITIONS: i32 = 4;
/// The version of CreateTopics that is asked.
const CREATE_TOPICS: i16 = 5;
/// As the scripts of Kafka start a broker.
const HEAP: &str = "-Xmx1G -Xms1G -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35";
/// How long the load generator may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// When an append is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Flush {
    /// When the kernel writes its page cache back, as it comes.
    Default,
    /// Each append, before the acknowledgement.
    Each,
}

impl Flush {
    /// Both.
    pub(in super::super) const ALL: [Self; 2] = [Self::Default, Self::Each];

    /// The topic that has it.
    pub(in super::super) const fn topic(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Each => "flushed",
        }
    }

    /// What an acknowledgement means.
    pub(in super::super) const fn means(self) -> &'static str {
        match self {
            Self::Default => "in the page cache of its one broker",
            Self::Each => "on disk: each append synced",
        }
    }

    /// How the topic is set up.
    pub(in super::super) const fn setting(self) -> &'static str {
        match self {
            Self::Default => "as it comes",
            Self::Each => "flush.messages=1",
        }
    }
}

/// A broker that runs.
pub(in super::super) struct Kafka {
    /// Where it speaks Kafka.
    pub(in super::super) address: SocketAddr,
    /// Of the broker.
    pub(in super::super) pid: i32,
    version: String,
    place: PathBuf,
    _process: Process,
    _reserved: [Reserved; 2],
}

/// What to type if it is not there.
pub(in super::super) const MISSING: &str =
    "it is not there; type: apt-get install default-jre-headless maven && tests/lab/peers/install kafka";

impl Kafka {
    /// Starts it with an empty disk, if it is installed.
    pub(in super::super) async fn start(scratch: &Scratch, binaries: &Binaries) -> Result<Option<Self>> {
        let Some(place) = installed("kafka", binaries) else { return Ok(None) };
        let reserved = [Reserved::new(0)?, Reserved::new(0)?];
        let [address, controller] = reserved.each_ref().map(|port| port.address);
        let settings = scratch.join("kafka.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={}\noffsets.topic.replication.factor=1\nauto.create.topics.enable=false\n",
            scratch.join("kafka").display()
        );
        fs::write(&settings, text).with_context(|| format!("cannot write {}", settings.display()))?;
        let tool = ["kafka.tools.StorageTool", "format", "-t", "d2VpciBiZW5jaG1hcmtzIQ", "-c"].map(OsString::from);
        let tool = java(&place, "", tool.into_iter().chain([settings.clone().into()]));
        let mut formats = started("kafka-format", tool, scratch, binaries)?.1;
        let status = formats.wait(READY).await?;
        ensure!(status.success(), "Kafka's StorageTool failed; see {}", scratch.join("kafka-format.log").display());
        let broker = java(&place, HEAP, ["kafka.Kafka".into(), settings.into()]);
        let (program, mut process) = started("kafka", broker, scratch, binaries)?;
        listening(&mut process, &program.log, address).await?;
        let version = version(&place)?;
        let kafka = Self { address, pid: process.pid(), version, place, _process: process, _reserved: reserved };
        kafka.create_topics().await?;
        Ok(Some(kafka))
    }

    async fn create_topics(&self) -> Result<()> {
        let text = StrBytes::from_static_str;
        let topics = Flush::ALL.map(|flush| {
            let synced = CreatableTopicConfig::default().with_name(text("flush.messages")).with_value(Some(text("1")));
            let configs = if flush == Flush::Each { vec![synced] } else { Vec::new() };
            let topic = CreatableTopic::default().with_name(name(flush.topic())).with_num_partitions(PARTITIONS);
            topic.with_replication_factor(1).with_configs(configs)
        });
        let request = CreateTopicsRequest::default().with_topics(topics.to_vec()).with_timeout_ms(30_000);
        let answer = Client::connect(self.address).await?.ask(CREATE_TOPICS, &request).await?;
        answer.topics.iter().try_for_each(|topic| expect(topic.error_code, || format!("CreateTopics: {topic:?}")))
    }

    /// A bridge in front of the topic that is flushed so.
    pub(in super::super) async fn bridge(&self, flush: Flush, scratch: &Scratch, binaries: &Binaries) -> Result<Peer> {
        let reserved = Reserved::new(0)?;
        let address = reserved.address;
        let bridge = [
            self.place.join("Bridge.java").into(),
            address.port().to_string().into(),
            self.address.to_string().into(),
            flush.topic().into(),
        ];
        let name = format!("bridge-{}", flush.topic());
        let (program, mut process) = started(&name, java(&self.place, "-Xmx512M", bridge), scratch, binaries)?;
        listening(&mut process, &program.log, address).await?;
        let mut card = self.card(flush);
        card.name = format!("Kafka {} behind a bridge, {}", self.version, flush.setting());
        card.settings += "; MQTT by tests/lab/peers/kafka/Bridge.java: Kafka's Java client as it comes, acks=all";
        let pids = vec![process.pid(), self.pid];
        Ok(Peer { card, address, pids, _running: Box::new((process, reserved)) })
    }

    /// What the report says of it by itself.
    pub(in super::super) fn card(&self, flush: Flush) -> Card {
        Card {
            name: format!("Kafka {} alone, {}", self.version, flush.setting()),
            means: flush.means().to_owned(),
            settings: format!(
                "one broker (KRaft), 1 GiB of heap, {PARTITIONS} partitions, one replica; topic: {}",
                flush.setting()
            ),
        }
    }

    /// Records of `bytes` that Kafka's own load generator gets acknowledged in a second, after as many for nothing.
    pub(in super::super) async fn produce(
        &self,
        flush: Flush,
        (records, bytes): (usize, usize),
        scratch: &Scratch,
        binaries: &Binaries,
    ) -> Result<f64> {
        let (warm, all) = (records.to_string(), (2 * records).to_string());
        let (bytes, server) = (bytes.to_string(), format!("bootstrap.servers={}", self.address));
        let arguments = [
            "org.apache.kafka.tools.ProducerPerformance",
            "--topic",
            flush.topic(),
            "--num-records",
            &all,
            "--warmup-records",
            &warm,
            "--record-size",
            &bytes,
            "--throughput",
            "-1",
            "--command-property",
            "acks=all",
            &server,
        ];
        let (_, mut process) =
            started("kafka-produce", java(&self.place, "", arguments.map(OsString::from)), scratch, binaries)?;
        let mut lines = process.lines().context("the load generator has no stdout")?;
        let mut last = String::new();
        while let Some(line) = lines.recv().await {
            if line.contains(" records/sec ") {
                last = line;
            }
        }
        let status = process.wait(PATIENCE).await?;
        // `50000 steady state records sent, 12345.678 records/sec (2.35 MB/sec), ...`
        let rate = last.split(" records/sec").next().and_then(|said| said.rsplit(' ').next()?.parse().ok());
        match rate {
            Some(rate) if status.success() => Ok(rate),
            _ => bail!("Kafka's load generator ended with {status}; its last line is {last:?}"),
        }
    }
}

/// The arguments of java for a program of Kafka's.
fn java(place: &std::path::Path, options: &str, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut class_path = place.join("lib").into_os_string();
    class_path.push("/*");
    let options = options.split_whitespace().map(OsString::from);
    let log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".into();
    options.chain([log, "-cp".into(), class_path]).chain(arguments).collect()
}

fn started(name: &str, arguments: Vec<OsString>, scratch: &Scratch, binaries: &Binaries) -> Result<(Program, Process)> {
    let program = program(name, "java".as_ref(), arguments, scratch, binaries);
    let process = program.start()?;
    Ok((program, process))
}

/// Of the broker, as its jar has it.
fn version(place: &std::path::Path) -> Result<String> {
    for entry in fs::read_dir(place.join("lib")).context("Kafka has no jars")? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        if let Some(version) = file.strip_prefix("kafka_2.13-").and_then(|rest| rest.strip_suffix(".jar")) {
            return Ok(version.to_owned());
        }
    }
    bail!("no jar of kafka_2.13 in {}", place.display())
}
