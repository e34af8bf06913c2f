//! Thermal zones and hardware monitors, from `/sys/class` (Documentation/driver-api/thermal/sysfs-api.rst
//! and Documentation/hwmon/sysfs-interface.rst of the Linux kernel).

use std::path::Path;

use super::sample::Sink;
use crate::source::sysfs::{entries, has_no_value_now, number, text};

/// A kind of hwmon input: what its files begin with, the UCUM unit, and how many of its steps that is.
const INPUTS: [(&str, &str, f64); 7] = [
    ("temp", "Cel", 1e3),
    ("in", "V", 1e3),
    ("fan", "/min", 1.0),
    ("power", "W", 1e6),
    ("curr", "A", 1e3),
    ("energy", "J", 1e6),
    ("humidity", "%", 1e3),
];

pub(super) fn sample(root: &Path, sink: &mut Sink<'_>) {
    for zone in entries(&root.join("sys/class/thermal"), "thermal_zone") {
        let dir = root.join("sys/class/thermal").join(&zone);
        // The same type may occur twice, so the number of the zone is part of the name.
        let kind = text(&dir.join("type")).unwrap_or_default();
        let name = format!("thermal.{}.{kind}", &zone["thermal_zone".len()..]);
        sensor(sink, &name, "Cel", 1e3, &dir.join("temp"));
    }
    for chip in entries(&root.join("sys/class/hwmon"), "hwmon") {
        let dir = root.join("sys/class/hwmon").join(&chip);
        let name = text(&dir.join("name")).unwrap_or_default();
        let number = &chip["hwmon".len()..];
        for file in entries(&dir, "") {
            let Some(input) = file.strip_suffix("_input") else { continue };
            let kind = input.trim_end_matches(|c: char| c.is_ascii_digit());
            let Some((_, unit, steps)) = INPUTS.iter().find(|(prefix, ..)| *prefix == kind) else { continue };
            // Two inputs of a chip may have one label, so it comes behind the name of the input.
            let label = text(&dir.join(format!("{input}_label"))).ok().filter(|label| !label.is_empty());
            let label = label.map(|label| format!(".{label}")).unwrap_or_default();
            sensor(sink, &format!("hwmon.{number}.{name}.{input}{label}"), unit, *steps, &dir.join(&file));
        }
    }
}

fn sensor(sink: &mut Sink<'_>, name: &str, unit: &'static str, steps: f64, path: &Path) {
    match number(path) {
        Ok(value) => sink.double(name, unit, (1.0 / steps) as f32, Some(value / steps)),
        Err(error) if has_no_value_now(&error) => {}
        Err(error) => sink.failed(name, error),
    }
}
