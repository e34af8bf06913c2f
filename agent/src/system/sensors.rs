//! Thermal zones and hardware monitors, from `/sys/class` (Documentation/driver-api/thermal/sysfs-api.rst
//! and Documentation/hwmon/sysfs-interface.rst of the Linux kernel).

use std::fs;
use std::path::Path;

use super::sample::Sink;

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
        let number = &zone["thermal_zone".len()..];
        let value = scaled(&dir.join("temp"), 1e3);
        sink.double(&format!("thermal.{number}.{kind}"), "Cel", 0.001, value);
    }
    for chip in entries(&root.join("sys/class/hwmon"), "hwmon") {
        let dir = root.join("sys/class/hwmon").join(&chip);
        let name = text(&dir.join("name")).unwrap_or_default();
        let number = &chip["hwmon".len()..];
        for file in entries(&dir, "") {
            let Some(input) = file.strip_suffix("_input") else { continue };
            let kind = input.trim_end_matches(|c: char| c.is_ascii_digit());
            let Some((_, unit, steps)) = INPUTS.iter().find(|(prefix, ..)| *prefix == kind) else { continue };
            // A sensor that sleeps answers with an error: it has no value now.
            if let Some(value) = scaled(&dir.join(&file), *steps) {
                let channel = format!("hwmon.{number}.{name}.{input}");
                sink.double(&channel, unit, (1.0 / steps) as f32, Some(value));
            }
        }
    }
}

/// Names in a directory that begin with `prefix`, sorted; none if it is not there.
fn entries(dir: &Path, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

fn scaled(path: &Path, steps: f64) -> Option<f64> {
    Some(text(path)?.parse::<i64>().ok()? as f64 / steps)
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}
