//! `topic consume`: the records of a topic, from anywhere on, once or for ever.
//!
//! With a group it begins where the group has come to, and commits what was printed, after it was: whoever ends it and
//! starts it again misses nothing, and sees again at most what was printed in the last second. It does not join the
//! group: a group that shares partitions out is for clients of Kafka.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;
use weir_protocol::time::{SystemClock, WallClock};

use super::group::Position;
use super::print::Printer;
use super::source::{Source, parse_start};
use super::{ConsumeArgs, Failed};
use crate::config::Config;
use crate::http::page::Start;

/// Records asked for at a time.
const PAGE: usize = 1000;

/// How often the place of a group is written down while records come one by one.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// What remains to be printed.
struct Rest<'p> {
    printer: &'p mut Printer,
    records: u64,
    progress: Option<Progress>,
}

/// Where a group has come to.
struct Progress {
    position: Position,
    topic: String,
    /// The next offset of partitions in which something was printed since the last commit.
    reached: BTreeMap<usize, u64>,
}

pub(super) fn consume(config: &Config, args: &ConsumeArgs, printer: &mut Printer) -> Result<(), Failed> {
    let start = parse_start(&args.from, SystemClock.now().as_millis())?;
    super::block_on(async {
        let source = Source::open(config).await?;
        if args.follow && matches!(source, Source::Files(_)) {
            return Err(Failed::unavailable(
                "no gateway runs on this data, so nothing new can come; start it, or leave out --follow",
            ));
        }
        let partitions = chosen(&source, args).await?;
        let progress = match &args.group {
            Some(group) => Some(Progress {
                position: Position::open(config, group).await?,
                topic: args.topic.clone(),
                reached: BTreeMap::new(),
            }),
            None => None,
        };
        let committed = match &progress {
            Some(progress) => progress.position.committed(&args.topic).await?,
            None => Vec::new(),
        };
        let mut rest = Rest { printer, records: args.limit.unwrap_or(u64::MAX), progress };
        let mut next: Vec<String> = Vec::new();
        for (number, wanted) in partitions.into_iter().enumerate() {
            if !wanted {
                next.push("-".to_owned());
                continue;
            }
            let known = committed.iter().find(|(partition, _)| *partition == number);
            let start = known.map_or(start, |(_, offset)| Start::Offset(*offset));
            match print_partition(&source, &args.topic, number, start, &mut rest).await? {
                ControlFlow::Continue(offset) => next.push(offset.to_string()),
                ControlFlow::Break(()) => return Ok(()),
            }
        }
        match source {
            Source::Gateway(client) if args.follow => {
                let path = format!("/topics/{}/tail?offset={}", args.topic, next.join(","));
                follow(client.events(&path).await?, &mut rest).await
            }
            _ => Ok(()),
        }
    })
}

/// Which partitions of the topic are asked for.
async fn chosen(source: &Source, args: &ConsumeArgs) -> Result<Vec<bool>, Failed> {
    let topic = source.topic(&args.topic).await?;
    let count = topic["partitions"].as_array().map_or(0, Vec::len);
    match args.partition {
        Some(number) if number >= count => {
            Err(Failed::usage(format!("--partition {number}: {} has 0 to {}", args.topic, count.saturating_sub(1))))
        }
        only => Ok((0..count).map(|number| only.is_none_or(|only| only == number)).collect()),
    }
}

/// Prints a partition up to where it ended when this began; the offset to go on with, or `Break` if the limit
/// is reached.
async fn print_partition(
    source: &Source,
    topic: &str,
    number: usize,
    start: Start,
    rest: &mut Rest<'_>,
) -> Result<ControlFlow<(), u64>, Failed> {
    let mut start = match start {
        // An offset is meant for every partition; those that do not hold it begin with what they have.
        Start::Offset(offset) => {
            let bounds = source.page(topic, number, Start::Latest, 1).await?;
            let bound = |key: &str| bounds[key].as_u64().unwrap_or_default();
            let first = bound("start");
            if offset < first {
                eprintln!("partition {number}: offsets below {first} were removed by retention; it begins there");
            }
            Start::Offset(offset.clamp(first, bound("end")))
        }
        other => other,
    };
    let mut end = None;
    loop {
        let page = source.page(topic, number, start, PAGE).await?;
        let next = page["next"].as_u64().unwrap_or_default();
        let end = *end.get_or_insert(page["end"].as_u64().unwrap_or_default());
        for gap in list(&page["gaps"]) {
            let mut gap = gap.clone();
            gap["partition"] = number.into();
            rest.printer.gap(&gap)?;
        }
        for record in list(&page["records"]) {
            if rest.print(record)?.is_break() {
                rest.commit().await?;
                return Ok(ControlFlow::Break(()));
            }
        }
        rest.reach(number, next);
        rest.commit().await?;
        if next >= end || start == Start::Offset(next) {
            return Ok(ControlFlow::Continue(next));
        }
        start = Start::Offset(next);
    }
}

async fn follow(mut events: super::client::Events, rest: &mut Rest<'_>) -> Result<(), Failed> {
    let mut commit = tokio::time::interval(COMMIT_INTERVAL);
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = commit.tick() => {
                rest.commit().await?;
                continue;
            }
        };
        let Some((kind, data)) = event else {
            return Err(Failed::unavailable("the gateway closed the stream; it was stopped"));
        };
        match kind.as_str() {
            "record" if rest.print(&data)?.is_break() => return rest.commit().await,
            "record" => (),
            "gap" => rest.printer.gap(&data)?,
            _ => return Err(Failed::runtime(super::print::bare(&data["error"]))),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Rest<'_> {
    /// Prints one record; `Break` if it was the last one asked for.
    fn print(&mut self, record: &Value) -> Result<ControlFlow<()>, Failed> {
        if self.records == 0 {
            return Ok(ControlFlow::Break(()));
        }
        self.records -= 1;
        self.printer.record(record)?;
        if let (Some(partition), Some(offset)) = (record["partition"].as_u64(), record["offset"].as_u64()) {
            self.reach(partition as usize, offset + 1);
        }
        Ok(if self.records == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Everything of a partition below an offset is printed.
    fn reach(&mut self, partition: usize, next: u64) {
        if let Some(progress) = &mut self.progress {
            progress.reached.insert(partition, next);
        }
    }

    /// Writes down where the group has come to.
    async fn commit(&mut self) -> Result<(), Failed> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        while let Some((partition, next)) = progress.reached.pop_first() {
            progress.position.commit(&progress.topic, partition, next).await?;
        }
        Ok(())
    }
}
