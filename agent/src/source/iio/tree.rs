//! The sensors below `/sys/bus/iio/devices`, read file by file.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::quantity::{self, Quantity};
use crate::glob::fits;
use crate::source::sysfs::{entries, has_no_value_now, number, text};

/// One value of one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// `sensor.channel`, or `sensor.channel.label`.
    pub name: String,
    /// A UCUM code.
    pub unit: &'static str,
    /// The smallest step, 0 if unknown.
    pub resolution: f32,
    /// In that unit.
    pub value: f64,
}

/// Everything that could be measured, and what could not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampled {
    /// The values.
    pub measured: Vec<Measured>,
    /// What could not be read, by channel, and why.
    pub failed: BTreeMap<String, String>,
    /// The sensors that were there.
    pub sensors: usize,
}

/// Reads every sensor below `root` whose name or directory fits one of the patterns.
pub fn sample(root: &Path, patterns: &[String]) -> Sampled {
    let devices = root.join("sys/bus/iio/devices");
    let found: Vec<(String, String, PathBuf)> = entries(&devices, "iio:device")
        .into_iter()
        .map(|directory| {
            let path = devices.join(&directory);
            let name = text(&path.join("name")).ok().filter(|name| !name.is_empty());
            (name.unwrap_or_else(|| directory.replace(':', "_")), directory, path)
        })
        .collect();
    let mut sampled = Sampled::default();
    for (name, directory, path) in &found {
        let wanted = patterns.iter().any(|pattern| fits(pattern, name) || fits(pattern, directory));
        if !wanted {
            continue;
        }
        sampled.sensors += 1;
        let twins = found.iter().filter(|(other, ..)| other == name).count() > 1;
        // The kernel numbers sensors in the order in which it finds them, so a number is used only where it must be;
        // a label, if the machine has one for it, does not change.
        let label = text(&path.join("label")).ok().filter(|label| !label.is_empty());
        let sensor = match label {
            Some(label) => format!("{name}.{label}"),
            None if twins => format!("{name}.{}", &directory["iio:device".len()..]),
            None => name.clone(),
        };
        each_channel(&mut sampled, &sensor, path);
    }
    sampled
}

fn each_channel(sampled: &mut Sampled, sensor: &str, path: &Path) {
    let files = entries(path, "in_");
    for file in &files {
        let (channel, is_raw) = match (file.strip_suffix("_input"), file.strip_suffix("_raw")) {
            (Some(channel), _) => (channel, false),
            // The kernel gives the value itself, where it gives both.
            (_, Some(channel)) if !files.contains(&format!("{channel}_input")) => (channel, true),
            _ => continue,
        };
        let Some(measured) = channel.strip_prefix("in_") else { continue };
        let Some(quantity) = quantity::of(measured) else { continue };
        let label = text(&path.join(format!("{channel}_label"))).ok().filter(|label| !label.is_empty());
        let label = label.map(|label| format!(".{label}")).unwrap_or_default();
        let name = format!("{sensor}.{measured}{label}");
        match value(path, channel, is_raw, quantity) {
            Ok((value, resolution)) => {
                sampled.measured.push(Measured { name, unit: quantity.unit, resolution: resolution as f32, value });
            }
            Err(error) if has_no_value_now(&error) => {}
            Err(error) => {
                sampled.failed.insert(name, error.to_string());
            }
        }
    }
}

/// The value of a channel and its smallest step, in the unit of the quantity.
fn value(path: &Path, channel: &str, is_raw: bool, quantity: Quantity) -> io::Result<(f64, f64)> {
    if !is_raw {
        return Ok((number(&path.join(format!("{channel}_input")))? / quantity.steps, 0.0));
    }
    let raw = number(&path.join(format!("{channel}_raw")))?;
    let offset = shared(path, channel, "offset")?.unwrap_or(0.0);
    let scale = shared(path, channel, "scale")?.unwrap_or(1.0);
    Ok(((raw + offset) * scale / quantity.steps, (scale / quantity.steps).abs()))
}

/// An attribute of a channel: of its own, of those with the same modifier, or of all of its type.
fn shared(path: &Path, channel: &str, attribute: &str) -> io::Result<Option<f64>> {
    // in_voltage0-voltage1 -> in_voltage0-voltage1, in_voltage-voltage, in_voltage; in_accel_x -> in_accel_x, in_accel
    let no_numbers: String = channel.chars().filter(|c| !c.is_ascii_digit()).collect();
    let kind: String = channel.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '_').collect();
    let first = kind.trim_end_matches('_').splitn(3, '_').take(2).collect::<Vec<_>>().join("_");
    for of in [channel, &no_numbers, &first] {
        match number(&path.join(format!("{of}_{attribute}"))) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found.map(Some),
        }
    }
    Ok(None)
}
