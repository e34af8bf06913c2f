//! `once`: one reading of every source, printed. Nothing is acknowledged, so no device discards anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::SerialStream;
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::{Down, Up};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{Channel, Clock, DeviceId, Reading, Sequence, Value};

use super::{Failure, Format, print_json};
use crate::config::Config;
use crate::counters::Counters;
use crate::serial;
use crate::system::Sampler;

/// Processor use is measured between two samples this far apart.
const BETWEEN_SAMPLES: Duration = Duration::from_millis(250);

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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let mut printed = Vec::new();
    let mut silent = Vec::new();
    if config.system.enabled {
        printed.extend(this_machine(&config));
    }
    for line in &config.serial {
        let paths = serial::matches(line.path.get_ref());
        if paths.is_empty() {
            silent.push(format!("{}: no such line now", line.path.get_ref()));
        }
        for path in paths {
            match runtime.block_on(async { tokio::time::timeout(wait, device(&path, line.baud)).await }) {
                Ok(Ok(readings)) => printed.extend(readings),
                Ok(Err(error)) => silent.push(format!("{}: {error}", path.display())),
                Err(_) => silent.push(format!("{}: no reading in {} s", path.display(), wait.as_secs())),
            }
        }
    }
    match format {
        Format::Json => print_json(&printed)?,
        Format::Text => {
            printed.iter().for_each(|p| println!("{:<24} {:<32} {} {}", p.device, p.channel, p.value, p.unit))
        }
    }
    if silent.is_empty() { Ok(()) } else { Err(Failure::Unavailable(silent.join("\n"))) }
}

fn this_machine(config: &Config) -> Vec<Printed> {
    let mut sampler = Sampler::new(config.system.root.clone(), config.system.disks.get_ref().clone());
    let counters = Counters::default();
    sampler.sample(&counters);
    std::thread::sleep(BETWEEN_SAMPLES);
    let measured = sampler.sample(&counters);
    let time = SystemClock.now();
    let print = |measurement: &crate::system::Measurement| {
        let meaning = sampler.meaning(measurement.channel)?;
        Some(Printed {
            source: "system".to_owned(),
            device: config.system.device.to_string(),
            channel: meaning.name.clone(),
            value: json(&measurement.value),
            unit: meaning.unit.to_owned(),
            time_us: time.0,
            clock: "synchronised",
        })
    };
    measured.iter().filter_map(print).collect()
}

/// Asks who is on a line and takes the first readings that come.
async fn device(path: &Path, baud: u32) -> std::io::Result<Vec<Printed>> {
    let mut port = serial::open(path, baud)?;
    let mut decoder: Box<Decoder<MAX_FRAME>> = Box::default();
    let mut buffer = [0; 1024];
    let mut name: Option<DeviceId> = None;
    let mut channels: BTreeMap<u16, (String, String)> = BTreeMap::new();
    let mut readings: Vec<Printed> = Vec::new();
    ask(&mut port, &Down::HelloRequest).await?;
    loop {
        let length = port.read(&mut buffer).await?;
        if length == 0 {
            return Err(std::io::Error::other("the line ended"));
        }
        let mut bytes = &buffer[..length];
        let mut asks = Vec::new();
        while let Some(found) = decoder.feed(&mut bytes) {
            let Ok(message) = found.and_then(frame::message::<Up<'_>>) else { continue };
            match message {
                Up::Hello(hello) => {
                    name = Some(hello.device);
                    asks.push(Down::DescribeRequest { schema: hello.schema });
                    for held in hello.held.into_iter().flatten() {
                        // Enough for the first ones; nothing of it is acknowledged.
                        let upto = Sequence(held.base.0.saturating_add(16));
                        asks.push(Down::Credit { restart: held.restart, upto });
                    }
                }
                Up::Describe(describe) => {
                    let meaning = |c: Channel<'_>| (c.id.0, (c.name.to_owned(), c.unit.to_owned()));
                    channels.extend(describe.channels.into_iter().flatten().map(meaning));
                }
                Up::Readings(run) => {
                    readings =
                        run.readings.into_iter().flatten().map(|reading| printed(path, name, &reading)).collect();
                }
                Up::TimeRequest { sent } => asks.push(Down::TimeSync { sent, time: SystemClock.now() }),
                Up::CommandResult(_) => {}
            }
        }
        for down in asks {
            ask(&mut port, &down).await?;
        }
        if name.is_some() && !channels.is_empty() && !readings.is_empty() {
            for reading in &mut readings {
                reading.device = name.map(|name| name.to_string()).unwrap_or_default();
                if let Some((name, unit)) = reading.channel.parse().ok().and_then(|id: u16| channels.get(&id)) {
                    (reading.channel, reading.unit) = (name.clone(), unit.clone());
                }
            }
            return Ok(readings);
        }
    }
}

async fn ask(port: &mut SerialStream, down: &Down) -> std::io::Result<()> {
    match frame::to_vec(down) {
        Some(frame) => port.write_all(&frame).await,
        None => Ok(()),
    }
}

fn printed(path: &Path, device: Option<DeviceId>, reading: &Reading<'_>) -> Printed {
    Printed {
        source: path.display().to_string(),
        device: device.map(|device| device.to_string()).unwrap_or_default(),
        channel: reading.channel.to_string(),
        value: json(&reading.value),
        unit: String::new(),
        time_us: reading.time.0,
        clock: match reading.clock {
            Clock::Uptime => "uptime",
            Clock::Synchronised => "synchronised",
        },
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
