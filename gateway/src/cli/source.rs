//! Where a command reads: from the gateway that runs on the data, else from its files.

use std::sync::Arc;

use serde_json::Value;
use weir_storage::{Fs, Reader, RealFs, RecoveryMode};

use super::Failed;
use super::client::Client;
use crate::access::audit;
use crate::config::Config;
use crate::groups;
use crate::http::page::{self, Start};
use crate::keyed_log;
use crate::lock;
use crate::moment;
use crate::schemas;
use crate::topics::layout::{self, Asked};
use crate::topics::{Definition, TopicId, Topics};

/// Where a command reads.
pub(super) enum Source {
    /// The HTTP port of a running gateway.
    Gateway(Client),
    /// The files, opened for reading only.
    Files(Topics),
}

impl Source {
    /// The running gateway of `config`, or its files.
    pub(super) async fn open(config: &Config) -> Result<Self, Failed> {
        match running(config).await? {
            Some(client) => Ok(Self::Gateway(client)),
            None => files(config).map(Self::Files),
        }
    }

    /// What a path of the running gateway answers.
    pub(super) async fn json(&self, path: &str) -> Result<Value, Failed> {
        match self {
            Self::Gateway(client) => client.json(path).await,
            Self::Files(_) => Err(Failed::unavailable("no gateway runs on this data")),
        }
    }

    /// Every topic, as `GET /topics` has it.
    pub(super) async fn topics(&self) -> Result<Vec<Value>, Failed> {
        match self {
            Self::Gateway(client) => match client.json("/topics").await? {
                Value::Array(topics) => Ok(topics),
                other => Err(Failed::runtime(format!("/topics: expected a list, got {other}"))),
            },
            Self::Files(topics) => Ok(topics.all().iter().map(|topic| page::describe(topic)).collect()),
        }
    }

    /// The schemas of all topics, as `GET /schemas` has them.
    pub(super) async fn schemas(&self) -> Result<Vec<Value>, Failed> {
        match self {
            Self::Gateway(client) => match client.json("/schemas").await? {
                Value::Array(schemas) => Ok(schemas),
                other => Err(Failed::runtime(format!("/schemas: expected a list, got {other}"))),
            },
            Self::Files(topics) => Ok(schemas::all(topics).iter().map(schemas::Registered::to_json).collect()),
        }
    }

    /// One topic, as `GET /topics/{topic}` has it.
    pub(super) async fn topic(&self, name: &str) -> Result<Value, Failed> {
        let topics = self.topics().await?;
        let names: Vec<String> = topics.iter().map(|topic| super::print::bare(&topic["topic"])).collect();
        topics
            .into_iter()
            .find(|topic| topic["topic"] == name)
            .ok_or_else(|| Failed::usage(format!("no topic {name:?}; there are {}", names.join(", "))))
    }

    /// A page of dead letters; a running gateway says what became of them.
    pub(super) async fn letters(&self, partition: usize, start: Start, limit: usize) -> Result<Value, Failed> {
        match self {
            Self::Gateway(client) => {
                client.json(&format!("/deadletters/{partition}?{}&limit={limit}", query(start))).await
            }
            Self::Files(_) => self.page(TopicId::DEAD_LETTER_NAME, partition, start, limit).await,
        }
    }

    /// A page of one partition, as `GET records` has it.
    pub(super) async fn page(
        &self,
        topic: &str,
        partition: usize,
        start: Start,
        limit: usize,
    ) -> Result<Value, Failed> {
        match self {
            Self::Gateway(client) => {
                let start = query(start);
                client.json(&format!("/topics/{topic}/partitions/{partition}/records?{start}&limit={limit}")).await
            }
            Self::Files(topics) => {
                let topic = topics.named(topic).ok_or_else(|| Failed::usage(format!("no topic {topic:?}")))?;
                let found = topic.partitions().get(partition);
                let found = found.ok_or_else(|| Failed::usage(format!("no partition {partition}")))?;
                let from = start.offset(found).map_err(Failed::runtime)?;
                let page = page::read(found, partition, from, limit).map_err(Failed::runtime)?;
                Ok(page::to_json(topic, found, partition, page))
            }
        }
    }
}

/// The gateway that runs on the data of `config`, if one does.
pub(super) async fn running(config: &Config) -> Result<Option<Client>, Failed> {
    let Some(running) = lock::last_claim(&RealFs, &config.data) else { return Ok(None) };
    let client = Client::of(&config.data);
    client.check_rights()?;
    let version = client.json("/version").await;
    Ok(version.is_ok_and(|version| version["instance"] == running.instance).then_some(client))
}

/// Where a page begins, as HTTP takes it.
fn query(start: Start) -> String {
    match start {
        Start::Earliest => "offset=earliest".to_owned(),
        Start::Latest => "offset=latest".to_owned(),
        Start::Offset(offset) => format!("offset={offset}"),
        Start::Time(millis) => format!("time={millis}"),
    }
}

/// Opens the logs for reading only.
pub(super) fn files(config: &Config) -> Result<Topics, Failed> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let definitions = existing(&fs, config)?;
    if definitions.is_empty() {
        return Err(no_data(config));
    }
    let mut readers = Vec::new();
    for definition in &definitions {
        for partition in 0..definition.partitions() {
            let dir = layout::partition_dir(&config.data, definition.name(), partition);
            readers.push(Reader::open(&fs, &dir, RecoveryMode::Tail).map_err(Failed::unavailable)?.0);
        }
    }
    let topics = Topics::new(&definitions, readers);
    let internal = [groups::offsets::TOPIC, audit::TOPIC];
    internal.into_iter().try_fold(topics, |topics, name| {
        let dir = keyed_log::dir(&config.data, name);
        if !dir.exists() {
            return Ok(topics);
        }
        let reader = Reader::open(&fs, &dir, RecoveryMode::Tail).map_err(Failed::unavailable)?.0;
        Ok(topics.with_internal(name, [reader]))
    })
}

/// The topics on the disk.
pub(super) fn existing(fs: &Arc<dyn Fs>, config: &Config) -> Result<Vec<Definition>, Failed> {
    let topics = &config.topics;
    let routing = topics.routing(&config.mqtt.store);
    let asked = Asked { partitions: *topics.partitions.get_ref(), retention: topics.retention(), routing: &routing };
    layout::existing(fs, &config.data, asked).map_err(Failed::runtime)
}

/// The answer when nothing is there to read.
pub(super) fn no_data(config: &Config) -> Failed {
    let data = config.data.display();
    Failed::unavailable(format!(
        "no topics in {data}; start the gateway (`weir-gateway run`), or name its settings with --config PATH"
    ))
}

/// Where to begin, as people type it: see `weir-gateway topic consume --help`.
pub(super) fn parse_start(text: &str, now_ms: i64) -> Result<Start, Failed> {
    let ago = || -> Option<i64> {
        let period: weir_protocol::settings::Period = text.parse().ok()?;
        Some(now_ms.saturating_sub(i64::try_from(period.0.as_millis()).ok()?))
    };
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => text
            .parse()
            .ok()
            .map(Start::Offset)
            .or_else(|| ago().map(Start::Time))
            .or_else(|| moment::parse(text).map(Start::Time))
            .ok_or_else(|| {
                let forms = "earliest, latest, an offset such as 42, 10m, or 2026-11-21T08:30:00Z";
                Failed::usage(format!("--from {text}: expected {forms}"))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_word_an_offset_an_age_or_a_moment() {
        let parsed = |text| parse_start(text, 1_000_000).ok();
        assert_eq!(parsed("earliest"), Some(Start::Earliest));
        assert_eq!(parsed("latest"), Some(Start::Latest));
        assert_eq!(parsed("42"), Some(Start::Offset(42)));
        assert_eq!(parsed("10m"), Some(Start::Time(400_000)));
        assert_eq!(parsed("1970-01-01T00:00:01Z"), Some(Start::Time(1000)));
        assert_eq!(parsed("soon"), None);
        assert_eq!(parse_start("soon", 0).err().map(|failed| failed.code), Some(2));
    }
}
