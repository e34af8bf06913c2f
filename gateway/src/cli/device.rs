//! `device list`, `device show`, `model rebuild`.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_protocol::Tenant;
use weir_protocol::name::Name;
use weir_storage::{OpenError, RealFs};

use super::print::{Printer, bare};
use super::source::{self, Source};
use super::{Failed, MoveArgs};
use crate::config::Config;
use crate::ingest;
use crate::model::feed::Feed;
use crate::model::{self, MAX_DEVICES, Model};
use crate::moment;

pub(super) fn list(config: &Config, printer: &mut Printer) -> Result<(), Failed> {
    super::block_on(async {
        let source = Devices::open(config).await?;
        let mut after: Option<String> = None;
        loop {
            let page = source.list(after.as_deref()).await?;
            for device in &page {
                let seen = |key: &str| device[key].as_i64().map_or_else(|| "-".to_owned(), moment::format);
                let text = format!(
                    "{:<24} first {}  last {}",
                    bare(&device["device"]),
                    seen("first_seen_ms"),
                    seen("last_seen_ms")
                );
                printer.line(text, device)?;
            }
            match page.last() {
                Some(last) if page.len() == MAX_DEVICES => after = Some(bare(&last["device"])),
                _ => return Ok(()),
            }
        }
    })
}

pub(super) fn show(config: &Config, name: &str, printer: &mut Printer) -> Result<(), Failed> {
    let device = super::block_on(async { Devices::open(config).await?.show(name).await })?;
    let mut text = format!("{name}, tenant {}", bare(&device["tenant"]));
    for (key, words) in [("first_seen_ms", "first seen"), ("last_seen_ms", "last seen")] {
        if let Some(at) = device[key].as_i64() {
            text.push_str(&format!("\n{words:<10} {}", moment::format(at)));
        }
    }
    if let Some(owner) = device["owner"].as_str() {
        text.push_str(&format!("\nowner      {owner}"));
    }
    for value in list_of(&device, "values") {
        let at = moment::format(value["timestamp_ms"].as_i64().unwrap_or_default());
        let reading = format!("{} = {} {}", bare(&value["channel"]), bare(&value["value"]), bare(&value["unit"]));
        text.push_str(&format!("\nvalue      {}  ({at})", reading.trim_end()));
    }
    for row in list_of(&device, "restarts") {
        text.push_str(&format!(
            "\nrestart    {}: stored {}{}, dead-lettered {}, lost {}, next {}{}",
            bare(&row["restart"]),
            row["stored"],
            // Nothing where no rules left anything out.
            row["reduced"].as_u64().filter(|some| *some > 0).map_or(String::new(), |some| format!(", reduced {some}")),
            row["dead_lettered"],
            row["lost"],
            row["next"],
            if row["tail_unknown"] == true { ", ended with an unknown tail" } else { "" }
        ));
    }
    printer.line(text, &device)
}

/// Binds a device to another agent.
pub(super) fn transfer(config: &Config, args: &MoveArgs, printer: &mut Printer) -> Result<(), Failed> {
    let check = |what: &str, text: &str| Name::new(text).map_err(|error| Failed::usage(format!("{what}: {error}")));
    check("DEVICE", &args.device)?;
    check("--to", &args.to)?;
    check("--tenant", &args.tenant)?;
    super::block_on(async {
        let Source::Gateway(client) = Source::open(config).await? else {
            return Err(Failed::unavailable(
                "no gateway runs on this data, and only a running one can move a device; start it (`weir-gateway run`)",
            ));
        };
        let asked = json!({"agent": args.to, "tenant": args.tenant});
        let moved = client.change(&format!("/devices/{}/owner", args.device), &asked).await?;
        let text = format!(
            "{}: moved to {}; what it sent before is stored by `weir-gateway deadletter redrive --reason not-bound`",
            args.device, args.to
        );
        printer.line(text, &moved)
    })
}

fn list_of<'a>(device: &'a Value, key: &str) -> &'a [Value] {
    device[key].as_array().map_or(&[], Vec::as_slice)
}

/// Fills the model again from the logs and their checkpoints.
pub(super) fn rebuild(config: &Config, printer: &mut Printer) -> Result<(), Failed> {
    let topics = source::files(config)?;
    let (model, _) = Model::open(&config.data).map_err(|error| in_use(config, &error))?;
    model.clear().map_err(Failed::runtime)?;
    let model = Arc::new(model);
    let rows = ingest::restarts_on_disk(&RealFs, &config.data, &topics).map_err(Failed::runtime)?;
    let mut feed = Feed::new(Arc::clone(&model), topics);
    for rows in rows.chunks(4096) {
        feed.step(rows.to_vec()).map_err(Failed::runtime)?;
    }
    while feed.step(Vec::new()).map_err(Failed::runtime)? {}
    let restarts = rows.len();
    let dir = model::dir(&config.data).display().to_string();
    printer.line(format_args!("{dir}: rebuilt, {restarts} restarts"), &json!({"directory": dir, "restarts": restarts}))
}

fn in_use(config: &Config, error: &OpenError) -> Failed {
    match error {
        OpenError::Locked(_) => Failed::unavailable(format!(
            "{}: a gateway runs on this data; stop it first, or let it be: it rebuilds a damaged model by itself",
            config.data.display()
        )),
        OpenError::Io(error) => Failed::runtime(error),
    }
}

/// Where devices are read: from the gateway that runs on the data, else from the model that it left.
enum Devices {
    Gateway(Box<Source>),
    Files(Model),
}

impl Devices {
    async fn open(config: &Config) -> Result<Self, Failed> {
        if let source @ Source::Gateway(_) = Source::open(config).await? {
            return Ok(Self::Gateway(Box::new(source)));
        }
        if !model::dir(&config.data).exists() {
            return Err(Failed::unavailable("there is no read model yet; run `weir-gateway model rebuild`"));
        }
        Ok(Self::Files(Model::open(&config.data).map_err(|error| in_use(config, &error))?.0))
    }

    async fn list(&self, after: Option<&str>) -> Result<Vec<Value>, Failed> {
        match self {
            Self::Gateway(source) => {
                let from = after.map_or_else(String::new, |after| format!("&after={after}"));
                match source.json(&format!("/devices?limit={MAX_DEVICES}{from}")).await? {
                    Value::Array(devices) => Ok(devices),
                    other => Err(Failed::runtime(format!("/devices: expected a list, got {other}"))),
                }
            }
            Self::Files(model) => model.devices(Tenant::DEFAULT, after, MAX_DEVICES).map_err(Failed::runtime),
        }
    }

    async fn show(&self, name: &str) -> Result<Value, Failed> {
        let unknown =
            || Failed::runtime(format!("no device {name:?}; `weir-gateway device list` names those there are"));
        match self {
            Self::Gateway(source) => source.json(&format!("/devices/{name}")).await,
            Self::Files(model) => model.device(Tenant::DEFAULT, name).map_err(Failed::runtime)?.ok_or_else(unknown),
        }
    }
}
