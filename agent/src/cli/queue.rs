//! `queue stat`: what is in the queue, from its files.

use std::sync::Arc;

use weir_protocol::settings::ByteSize;
use weir_storage::{Fs, RealFs};

use super::{Failure, Format, print, print_json};
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
    let mut lines = vec![
        format!("queue        {}", dir.display()),
        format!("incarnation  {}", summary.incarnation.as_deref().unwrap_or("none before the first checkpoint")),
        format!("records      {} in {} segments, {}", summary.records, summary.segments, ByteSize(summary.bytes)),
        format!("offsets      {} to {}", summary.start_offset, summary.next_offset),
        format!("unshipped    {}", summary.unshipped),
    ];
    lines.extend(summary.devices.iter().map(|device| {
        let ended = if device.ended { ", ended" } else { "" };
        let (from, accepted) = (device.from, device.accepted);
        format!("device       {} restart {}: {from} to {accepted}{ended}", device.device, device.restart)
    }));
    lines.extend(summary.damage.iter().map(|damage| format!("damaged      {damage}")));
    lines.extend(summary.state_damage.iter().map(|reason| format!("damaged      state file: {reason}")));
    print(&lines.join("\n"))
}
