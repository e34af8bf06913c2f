//! The serial line: frames, and the messages of both directions in them.

use weir_protocol::frame::{Decoder, MAX_FRAME, message};
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Up;

use super::pins;
use crate::target::Target;

pub(super) const FRAMES: Target =
    Target { name: "serial", run, max_len: 8192, memory: 16 << 10, inputs: 200_000, seeds: || pins(&NAMES) };

pub(super) const NAMES: [&str; 12] = [
    "up.hello.durable",
    "up.hello.volatile-unbound",
    "up.describe",
    "up.readings",
    "up.readings.none",
    "up.time-request",
    "up.result.done",
    "down.ack",
    "down.credit",
    "down.describe-request",
    "down.time-sync",
    "down.command.sample",
];

fn run(bytes: &[u8]) {
    let mut decoder = Decoder::<MAX_FRAME>::new();
    let mut input = bytes;
    while let Some(frame) = decoder.feed(&mut input) {
        if let Ok(found) = frame {
            read(found);
        }
    }
    // As if the checksum were right.
    read(bytes);
}

/// Takes any bytes as a message, down to the last item.
fn read(bytes: &[u8]) {
    let _ = message::<Down>(bytes);
    match message::<Up<'_>>(bytes) {
        Ok(Up::Hello(hello)) => drop(hello.held.iter().count()),
        Ok(Up::Describe(describe)) => drop(describe.channels.iter().count()),
        Ok(Up::Readings(readings)) => drop(readings.readings.iter().count()),
        Ok(Up::TimeRequest { .. } | Up::CommandResult(_)) | Err(_) => {}
    }
}
