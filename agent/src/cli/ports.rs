//! `ports`: which serial lines there are.

use std::path::Path;

use super::arguments::Format;
use super::{Failure, print, print_json};
use crate::source::serial::listing::{self, SerialLine};

pub(super) fn run(format: Format) -> Result<(), Failure> {
    let lines = listing::list(Path::new("/"));
    if format == Format::Json {
        return print_json(&lines);
    }
    if lines.is_empty() {
        return print("no serial lines; plug a device in and look again");
    }
    lines.iter().try_for_each(|line| print(&text(line)))
}

fn text(line: &SerialLine) -> String {
    let mut words = vec![line.path.display().to_string()];
    words.extend([&line.manufacturer, &line.product].into_iter().flatten().cloned());
    words.extend(line.usb_id.as_ref().map(|id| format!("usb {id}")));
    words.extend(line.serial_number.as_ref().map(|number| format!("serial {number}")));
    words.extend(line.driver.as_ref().map(|driver| format!("driver {driver}")));
    words.extend(line.stable_path.as_ref().map(|path| format!("\n  [[serial]] path = \"{}\"", path.display())));
    words.join("  ")
}
