//! `queue stat | inspect | verify | repair`.

use rand::random;
use weir_protocol::settings::ByteSize;

use super::{Failure, failure, fs, log_dir, print, print_json, vault};
use crate::cli::arguments::Format;
use crate::cli::owner;
use crate::config::Config;
use crate::queue::{self, ClassSummary, Examination, Holding, Incarnation, Inspection, RepairError, Summary};

pub(super) fn stat(config: &Config, format: Format) -> Result<(), Failure> {
    let dir = log_dir(config)?;
    let summary = Summary::read(&fs(), &config.data_dir, &vault(config)?).map_err(failure)?;
    if format == Format::Json {
        return print_json(&summary);
    }
    let mut lines = vec![
        format!("queue        {}", dir.display()),
        format!("incarnation  {}", summary.incarnation.as_deref().unwrap_or("none before the first checkpoint")),
    ];
    lines.extend(summary.classes.iter().map(|class| {
        let ClassSummary { class, records, segments, bytes, start_offset, next_offset, unshipped } = class;
        let size = ByteSize(*bytes);
        format!(
            "class        {class}: {records} records in {segments} segments, {size}; offsets {start_offset} to \
             {next_offset}, {unshipped} unshipped"
        )
    }));
    lines.extend(summary.devices.iter().map(|device| {
        let ended = if device.ended { ", ended" } else { "" };
        let (from, accepted) = (device.from, device.accepted);
        format!("device       {} restart {}: {from} to {accepted}{ended}", device.device, device.restart)
    }));
    lines.extend(summary.damage.iter().map(|damage| format!("damaged      {damage}")));
    lines.extend(summary.state_damage.iter().map(|reason| format!("damaged      state file: {reason}")));
    print(&lines.join("\n"))
}

pub(super) fn inspect(config: &Config, format: Format) -> Result<(), Failure> {
    log_dir(config)?;
    let inspection = Inspection::read(&fs(), &config.data_dir, &vault(config)?).map_err(failure)?;
    if format == Format::Json {
        return print_json(&inspection);
    }
    if inspection.restarts.is_empty() {
        print("nothing is held")?;
    }
    inspection.restarts.iter().try_for_each(|holding| print(&text(holding)))?;
    match inspection.unreadable {
        0 => Ok(()),
        records => print(&format!("{records} records cannot be read; `weir-agent queue verify` names them")),
    }
}

fn text(holding: &Holding) -> String {
    let ranges: Vec<String> = holding.held.iter().map(|(start, end)| format!("{start} to {}", end - 1)).collect();
    let claims: Vec<String> = holding.claims.iter().map(|(kind, count)| format!(", {count} claimed {kind}")).collect();
    let oldest = holding.oldest_us.map(|time| format!(", oldest sampled at {} s", time.div_euclid(1_000_000)));
    format!(
        "{} restart {}: {} readings, {}{}{}\n  sequences {}",
        holding.device,
        holding.restart,
        holding.readings,
        ByteSize(holding.bytes),
        claims.concat(),
        oldest.unwrap_or_default(),
        ranges.join(", "),
    )
}

pub(super) fn verify(config: &Config, format: Format) -> Result<(), Failure> {
    log_dir(config)?;
    let examination = Examination::read(&fs(), &config.data_dir, &vault(config)?).map_err(failure)?;
    if format == Format::Json {
        print_json(&examination)?;
    } else {
        examination.damage.iter().try_for_each(|damage| print(&format!("damaged  {damage}")))?;
        print(&format!("{} records in {} segments can be read", examination.records, examination.segments))?;
    }
    match examination.damage.len() {
        0 => Ok(()),
        places => Err(Failure::Failed(format!(
            "{places} damaged places; everything else is shipped all the same. To clean up: stop the agent, then `weir-agent queue repair`"
        ))),
    }
}

pub(super) fn repair(config: &Config, format: Format) -> Result<(), Failure> {
    log_dir(config)?;
    owner::may_change(config)?;
    let repaired = match queue::repair(&fs(), &config.data_dir, &vault(config)?, Incarnation(random())) {
        Ok(repaired) => repaired,
        Err(RepairError::Queue(error)) => return Err(failure(error)),
        Err(error) => return Err(Failure::Failed(error.to_string())),
    };
    if format == Format::Json {
        return print_json(&repaired);
    }
    if repaired.damage.is_empty() {
        return print("nothing is damaged");
    }
    repaired.damage.iter().try_for_each(|damage| print(&format!("damaged  {damage}")))?;
    repaired.kept.iter().try_for_each(|path| print(&format!("kept     {}", path.display())))?;
    let records = repaired.records;
    print(&format!("{records} records written again; the gateway counts what is missing once the agent has connected"))
}
