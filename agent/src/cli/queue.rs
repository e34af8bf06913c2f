//! `queue stat`: what is in the queue, from its files.

use std::sync::Arc;

use weir_protocol::settings::ByteSize;
use weir_storage::{Fs, RealFs};

use super::{Failure, Format, print_json};
use crate::config::Config;
use crate::queue::{LOG_DIR, Summary};

pub(super) fn stat(config: &Config, format: Format) -> Result<(), Failure> {
    let dir = config.data_dir.join(LOG_DIR);
    if !dir.is_dir() {
        let help = "start the agent once, or name its settings with --config PATH";
        return Err(Failure::Unavailable(format!("{}: no queue here yet; {help}", dir.display())));
    }
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let summary = Summary::read(&fs, &config.data_dir).map_err(|error| Failure::Failed(error.to_string()))?;
    if format == Format::Json {
        return print_json(&summary);
    }
    println!("queue        {}", dir.display());
    println!("incarnation  {}", summary.incarnation.as_deref().unwrap_or("none before the first checkpoint"));
    println!("records      {} in {} segments, {}", summary.records, summary.segments, ByteSize(summary.bytes));
    println!("offsets      {} to {}", summary.start_offset, summary.next_offset);
    println!("unshipped    {}", summary.unshipped);
    for device in &summary.devices {
        let ended = if device.ended { ", ended" } else { "" };
        let (from, accepted) = (device.from, device.accepted);
        println!("device       {} restart {}: {from} to {accepted}{ended}", device.device, device.restart);
    }
    for damage in &summary.damage {
        println!("damaged      {damage}");
    }
    if let Some(reason) = &summary.state_damage {
        println!("damaged      state file: {reason}");
    }
    Ok(())
}
