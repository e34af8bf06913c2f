//! Bytes moved by network interfaces since they came up, from `/proc/net/dev` (proc(5)).

use std::fs;
use std::path::Path;

use super::sample::Sink;

pub(super) fn sample(root: &Path, sink: &mut Sink<'_>) {
    let interfaces = match fs::read_to_string(root.join("proc/net/dev")) {
        Ok(interfaces) => interfaces,
        Err(error) => return sink.failed("net", format!("/proc/net/dev: {error}")),
    };
    // Two lines of headings.
    for line in interfaces.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let name = name.trim();
        // What this machine says to itself measures nothing.
        if name == "lo" {
            continue;
        }
        let fields: Vec<&str> = numbers.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        sink.integer(&format!("net.{name}.received"), "By", number(0));
        sink.integer(&format!("net.{name}.sent"), "By", number(8));
        sink.integer(&format!("net.{name}.receive_errors"), "1", number(2));
    }
}
