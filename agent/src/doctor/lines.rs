//! What sources read: whether it is there, and whether the agent may open it. Nothing is opened but connections to field
//! devices over TCP, which are closed at once.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Check, Ground, Person, gateway, person};
use crate::config;
use crate::glob;
use crate::source::modbus::Address;

/// What lists serial lines.
const PORTS: &str = "weir-agent ports lists what is plugged in; dmesg | tail says what the kernel saw; else the cable";

pub(super) async fn check(ground: &Ground<'_>, person: &Person) -> Vec<Check> {
    let mut checks = Vec::new();
    for line in &ground.config.serial {
        let pattern = line.path.get_ref();
        let subject = format!("serial {pattern}");
        let found = crate::source::serial::matches(&ground.path(pattern).to_string_lossy());
        if found.is_empty() {
            checks.push(Check::problem(&subject, "no such line now", PORTS));
        }
        checks.extend(found.iter().map(|path| device(ground, person, &subject, path, PORTS)));
    }
    for sensor in &ground.config.i2c {
        let bus = sensor.bus.get_ref();
        let missing =
            "sudo modprobe i2c-dev; the bus must be enabled (Raspberry Pi: sudo raspi-config nonint do_i2c 0)";
        let subject = format!("i2c {}", bus.display());
        checks.push(device(ground, person, &subject, &ground.path(bus), missing));
    }
    checks.extend(ground.config.iio.iter().map(|section| {
        let root = if section.root == Path::new("/") { &ground.root } else { &section.root };
        iio(&root.join("sys/bus/iio/devices"), section.sensors.get_ref())
    }));
    for plc in &ground.config.modbus {
        let address = plc.address.get_ref();
        let subject = format!("modbus {address}");
        checks.push(match address {
            Address::Rtu(line) => device(ground, person, &subject, &ground.path(&line.path), PORTS),
            Address::Tcp { host, port } => match gateway::reach(host, *port, ground.patience).await {
                Ok(at) => Check::ok(subject, format!("{at} answers")),
                Err(error) => Check::problem(subject, error.to_string(), format!("ping {host}; nc -vz {host} {port}")),
            },
        });
    }
    for broker in &ground.config.mqtt {
        let config::Address { host, port, .. } = &broker.address;
        let subject = format!("mqtt {} at {}", broker.name.get_ref(), broker.address);
        checks.push(match gateway::reach(host, *port, ground.patience).await {
            Ok(at) => Check::ok(subject, format!("{at} answers; whether it lets this agent in is not looked at")),
            Err(error) => Check::problem(subject, error.to_string(), gateway::unreachable(&broker.address, &error)),
        });
    }
    checks.extend(ground.config.exec.iter().filter_map(|exec| {
        let program = exec.command.get_ref().first()?;
        runs(ground, person, format!("exec {}", exec.device), program)
    }));
    checks.extend(ground.config.command.iter().filter_map(|command| {
        let program = command.run.get_ref().first()?;
        runs(ground, person, format!("command {}", command.name.get_ref()), program)
    }));
    checks
}

/// Why a program cannot be run; none if it can.
fn runs(ground: &Ground<'_>, person: &Person, subject: String, program: &str) -> Option<Check> {
    // What has no slash is looked for in PATH, which is that of the unit.
    let path = ground.path(program);
    if !program.starts_with('/') || person.may_run(&path) {
        return None;
    }
    Some(if path.is_file() {
        let name = &person.name;
        Check::problem(
            subject,
            format!("{program} is there, and {name} may not run it"),
            format!("sudo chmod a+rx {program}"),
        )
    } else {
        let fix = format!("ls -l {program}; or write the path of the program that is meant: command -v NAME");
        Check::problem(subject, format!("{program} is not there"), fix)
    })
}

fn iio(devices: &Path, patterns: &[String]) -> Check {
    let named = |entry: std::fs::DirEntry| {
        let name = std::fs::read_to_string(entry.path().join("name")).ok()?;
        Some((name.trim().to_owned(), entry.file_name().to_string_lossy().into_owned()))
    };
    let found: Vec<_> = std::fs::read_dir(devices).into_iter().flatten().flatten().filter_map(named).collect();
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        let fix =
            "dmesg | grep -i iio; the driver of the sensor must be loaded, on small boards by a device tree overlay";
        return Check::problem("iio", format!("{}: the kernel knows no sensor", devices.display()), fix);
    }
    let is_there = |pattern: &&String| {
        found.iter().any(|(name, directory)| glob::fits(pattern, name) || glob::fits(pattern, directory))
    };
    if let Some(missing) = patterns.iter().find(|pattern| !is_there(pattern)) {
        let found = format!("no sensor is called {missing:?}; the kernel knows {}", names.join(", "));
        return Check::problem(
            "iio",
            found,
            format!("write one of these into sensors; cat {}/*/name", devices.display()),
        );
    }
    Check::ok("iio", format!("the kernel knows {}", names.join(", ")))
}

/// Whether the agent may open what is at `path`.
fn device(ground: &Ground<'_>, person: &Person, subject: &str, path: &Path, missing: &str) -> Check {
    let shown = path.display();
    if person.may_use(path) {
        return Check::ok(subject, format!("{shown} is there, and {} may open it", person.name));
    }
    let Ok(file) = std::fs::metadata(path) else {
        return Check::problem(subject, format!("{shown} is not there"), missing);
    };
    let group = person::group_name(&ground.root, file.gid());
    let name = &person.name;
    let fix = match file.gid() {
        0 => format!("sudo chgrp dialout {shown}, and a udev rule that keeps it so"),
        _ if name == person::USER => {
            format!(
                "sudo systemctl edit weir-agent: [Service] SupplementaryGroups={group}; then systemctl restart weir-agent"
            )
        }
        _ => format!("sudo usermod -aG {group} {name}; then log in again, or restart the agent"),
    };
    Check::problem(subject, format!("{shown} is there, and {name} may not open it"), fix)
}
