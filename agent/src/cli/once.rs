//! `once`: one reading of every source, printed. Nothing is acknowledged, so no device discards anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_serial::SerialStream;
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::{Down, Up};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{Channel, ChannelId, Clock, DeviceId, Reading, Sequence, Timestamp, Value};

use super::arguments::Format;
use super::{Failure, print, print_json, runtime};
use crate::config::Config;
use crate::source::clock::{Clocks, is_synchronised};
use crate::source::feed::Held;
use crate::source::probe::probe;
use crate::source::{self, Source, serial};

/// A reading with what it means.
#[derive(Debug, Serialize)]
struct Printed {
    source: String,
    device: String,
    channel: String,
    value: serde_json::Value,
    unit: String,
    time_us: i64,
    clock: &'static str,
}

pub(super) fn run(config: Config, wait: Duration, format: Format) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut printed = Vec::new();
    let mut silent = Vec::new();
    let clocks = Clocks { wall: Arc::new(SystemClock), is_synchronised };
    runtime.block_on(async {
        // All at once, so that the slowest says how long it takes.
        let mut probes = JoinSet::new();
        for (at, source) in source::configured(&config).into_iter().enumerate() {
            let clocks = clocks.clone();
            probes.spawn(async move { (at, probed(source, clocks, wait).await) });
        }
        let mut probed = probes.join_all().await;
        probed.sort_by_key(|(at, _)| *at);
        for (_, probed) in probed {
            match probed {
                Ok(readings) => printed.extend(readings),
                Err(why) => silent.push(why),
            }
        }
    });
    for line in &config.serial {
        let paths = serial::matches(line.path.get_ref());
        if paths.is_empty() {
            silent.push(format!("{}: no such line now", line.path.get_ref()));
        }
        for path in paths {
            match runtime.block_on(async { tokio::time::timeout(wait, device(&path, *line.baud.get_ref())).await }) {
                Ok(Ok(readings)) => printed.extend(readings),
                Ok(Err(error)) => silent.push(format!("{}: {error}", path.display())),
                Err(_) => silent.push(format!("{}: no reading in {} s", path.display(), wait.as_secs())),
            }
        }
    }
    match format {
        Format::Json => print_json(&printed)?,
        Format::Text => printed.iter().try_for_each(|reading| print(&text(reading)))?,
    }
    if silent.is_empty() { Ok(()) } else { Err(Failure::Unavailable(silent.join("\n"))) }
}

fn text(reading: &Printed) -> String {
    format!("{:<24} {:<32} {} {}", reading.device, reading.channel, reading.value, reading.unit)
}

/// What a source gives, or why it gives nothing.
async fn probed(source: Source, clocks: Clocks, wait: Duration) -> Result<Vec<Printed>, String> {
    let id = format!("{}.{}", source.kind(), source.name());
    let held = probe(&source, clocks, wait).await.map_err(|why| format!("{id}: {why}"))?;
    let print = |held: Held| Printed {
        source: id.clone(),
        device: held.device.to_string(),
        channel: held.channel,
        value: held.text.map_or_else(|| json(&held.value), Into::into),
        unit: held.unit,
        time_us: held.at.time.0,
        clock: clock_name(held.at.clock),
    };
    Ok(held.into_iter().map(print).collect())
}

/// Asks who is on a line and waits for a reading of it.
async fn device(path: &Path, baud: u32) -> std::io::Result<Vec<Printed>> {
    let mut port = serial::open(path, baud)?;
    let mut decoder: Box<Decoder<MAX_FRAME>> = Box::default();
    let mut buffer = [0; 1024];
    let mut heard = Heard::default();
    ask(&mut port, &Down::HelloRequest).await?;
    loop {
        let length = port.read(&mut buffer).await?;
        if length == 0 {
            return Err(std::io::Error::other("the line ended"));
        }
        let mut bytes = &buffer[..length];
        let mut asks = Vec::new();
        while let Some(found) = decoder.feed(&mut bytes) {
            if let Ok(up) = found.and_then(frame::message::<Up<'_>>) {
                asks.extend(heard.take(&up));
            }
        }
        for down in asks {
            ask(&mut port, &down).await?;
        }
        if let Some(printed) = heard.printed(path) {
            return Ok(printed);
        }
    }
}

/// What a device said so far: who it is, what its channels mean, the newest reading of each.
#[derive(Default)]
struct Heard {
    device: Option<DeviceId>,
    channels: BTreeMap<ChannelId, (String, String)>,
    newest: BTreeMap<ChannelId, (serde_json::Value, Timestamp, Clock)>,
}

impl Heard {
    /// Takes a message; what to ask.
    fn take(&mut self, up: &Up<'_>) -> Vec<Down> {
        match up {
            Up::Hello(hello) => {
                self.device = Some(hello.device);
                let mut asks = vec![Down::DescribeRequest { schema: hello.schema }];
                asks.extend(hello.held.into_iter().flatten().map(|held| {
                    // Enough for the first ones; nothing of it is acknowledged.
                    Down::Credit { restart: held.restart, upto: Sequence(held.base.0.saturating_add(16)) }
                }));
                asks
            }
            Up::Describe(describe) => {
                let meaning = |c: Channel<'_>| (c.id, (c.name.to_owned(), c.unit.to_owned()));
                self.channels.extend(describe.channels.into_iter().flatten().map(meaning));
                Vec::new()
            }
            Up::Readings(run) => {
                let newest = |r: Reading<'_>| (r.channel, (json(&r.value), r.time, r.clock));
                self.newest.extend(run.readings.into_iter().flatten().map(newest));
                Vec::new()
            }
            Up::TimeRequest { sent } => vec![Down::TimeSync { sent: *sent, time: SystemClock.now() }],
            Up::CommandResult(_) => Vec::new(),
        }
    }

    /// One reading of each channel, once everything about them is known.
    fn printed(&self, path: &Path) -> Option<Vec<Printed>> {
        let device = self.device?;
        let print = |(channel, (value, time, clock)): (&ChannelId, &(serde_json::Value, Timestamp, Clock))| {
            let (name, unit) = self.channels.get(channel)?;
            Some(Printed {
                source: path.display().to_string(),
                device: device.to_string(),
                channel: name.clone(),
                value: value.clone(),
                unit: unit.clone(),
                time_us: time.0,
                clock: clock_name(*clock),
            })
        };
        let printed: Option<Vec<Printed>> = self.newest.iter().map(print).collect();
        printed.filter(|printed| !printed.is_empty())
    }
}

async fn ask(port: &mut SerialStream, down: &Down) -> std::io::Result<()> {
    match frame::to_vec(down) {
        Some(frame) => port.write_all(&frame).await,
        None => Ok(()),
    }
}

fn clock_name(clock: Clock) -> &'static str {
    match clock {
        Clock::Uptime => "uptime",
        Clock::Synchronised => "synchronised",
    }
}

fn json(value: &Value<'_>) -> serde_json::Value {
    match *value {
        // As short as a single tells it, not with the digits that a double adds.
        Value::Float(value) => value.to_string().parse::<f64>().unwrap_or_default().into(),
        Value::Double(value) => value.into(),
        Value::Integer(value) => value.into(),
        Value::Boolean(value) => value.into(),
        Value::Text(value) => value.into(),
    }
}
