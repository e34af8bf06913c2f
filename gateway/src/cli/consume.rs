//! `topic consume`: the records of a topic, from anywhere on, once or for ever.

use std::ops::ControlFlow;

use serde_json::Value;
use weir_protocol::time::{SystemClock, WallClock};

use super::print::Printer;
use super::source::{Source, parse_start};
use super::{ConsumeArgs, Failed};
use crate::config::Config;
use crate::http::page::Start;

/// Records asked for at a time.
const PAGE: usize = 1000;

/// What remains to be printed.
struct Rest<'p> {
    printer: &'p mut Printer,
    records: u64,
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
        let mut rest = Rest { printer, records: args.limit.unwrap_or(u64::MAX) };
        let mut next: Vec<String> = Vec::new();
        for (number, wanted) in partitions.into_iter().enumerate() {
            if !wanted {
                next.push("-".to_owned());
                continue;
            }
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
                return Ok(ControlFlow::Break(()));
            }
        }
        if next >= end || start == Start::Offset(next) {
            return Ok(ControlFlow::Continue(next));
        }
        start = Start::Offset(next);
    }
}

async fn follow(mut events: super::client::Events, rest: &mut Rest<'_>) -> Result<(), Failed> {
    while let Some((kind, data)) = events.next().await? {
        match kind.as_str() {
            "record" if rest.print(&data)?.is_break() => return Ok(()),
            "record" => (),
            "gap" => rest.printer.gap(&data)?,
            _ => return Err(Failed::runtime(super::print::bare(&data["error"]))),
        }
    }
    Err(Failed::unavailable("the gateway closed the stream; it was stopped"))
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
        Ok(if self.records == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
