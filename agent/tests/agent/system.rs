//! This machine as a device, on a fixture tree.

use std::path::Path;

use weir_agent::counters::Counters;
use weir_agent::system::clock::{is_synchronised, sample_time};
use weir_agent::system::{Measurement, Sampler};
use weir_protocol::{Clock, Value};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

/// A small machine with a sensor of each kind.
fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    write(root, "proc/stat", "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0 0 0\n");
    write(root, "proc/loadavg", "0.42 0.30 0.10 1/100 4242\n");
    write(root, "proc/uptime", "3600.25 7000.00\n");
    write(root, "proc/meminfo", "MemTotal:  1024 kB\nMemFree: 1 kB\nMemAvailable:  512 kB\nSwapFree: 0 kB\n");
    write(root, "proc/diskstats", "8 0 sda 10 0 2000 5 20 0 4000 9 0 0 0\n8 1 sda1 10 0 2000 5 20 0 4000 9 0 0 0\n");
    write(root, "sys/block/sda/device/model", "disk\n");
    write(root, "proc/net/dev", "h\nh\n    lo: 1 1 0 0 0 0 0 0 1 1 0\n  eth0: 5000 9 1 0 0 0 0 0 7000 8 0\n");
    write(root, "sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
    write(root, "sys/class/thermal/thermal_zone0/temp", "41500\n");
    write(root, "sys/class/hwmon/hwmon1/name", "nct6775\n");
    write(root, "sys/class/hwmon/hwmon1/fan2_input", "1200\n");
    write(root, "sys/class/hwmon/hwmon1/in0_input", "1050\n");
    dir
}

fn values(sampler: &mut Sampler, counters: &Counters) -> Vec<(String, &'static str, Value<'static>)> {
    let measured = sampler.sample(counters);
    let named = |m: &Measurement| {
        let meaning = sampler.meaning(m.channel).expect("every channel has a meaning");
        (meaning.name.clone(), meaning.unit, m.value)
    };
    measured.iter().map(named).collect()
}

#[test]
fn every_value_has_its_name_and_its_unit() {
    let machine = machine();
    let counters = Counters::default();
    let mut sampler = Sampler::new(machine.path().to_owned(), Vec::new());
    let found = values(&mut sampler, &counters);
    let expected = [
        ("load.1m", "1", Value::Double(0.42)),
        ("uptime", "s", Value::Double(3600.25)),
        ("memory.total", "By", Value::Integer(1024 * 1024)),
        ("memory.available", "By", Value::Integer(512 * 1024)),
        ("disk.sda.read", "By", Value::Integer(2000 * 512)),
        ("disk.sda.written", "By", Value::Integer(4000 * 512)),
        ("net.eth0.received", "By", Value::Integer(5000)),
        ("net.eth0.sent", "By", Value::Integer(7000)),
        ("thermal.0.x86_pkg_temp", "Cel", Value::Double(41.5)),
        ("hwmon.1.nct6775.fan2", "/min", Value::Double(1200.0)),
        ("hwmon.1.nct6775.in0", "V", Value::Double(1.05)),
    ];
    for (name, unit, value) in expected {
        assert!(found.contains(&(name.to_owned(), unit, value)), "{name} in {found:?}");
    }
    let partition_or_loopback = |name: &str| name.contains("sda1") || name.contains(".lo.");
    assert!(!found.iter().any(|(name, ..)| partition_or_loopback(name)));
}

#[test]
fn processor_use_is_measured_between_two_samples() {
    let machine = machine();
    let counters = Counters::default();
    let mut sampler = Sampler::new(machine.path().to_owned(), Vec::new());
    let first = values(&mut sampler, &counters);
    assert!(!first.iter().any(|(name, ..)| name == "cpu.usage"));
    // Of 200 more ticks, 50 were idle.
    write(machine.path(), "proc/stat", "cpu  200 0 100 840 60 0 0 0 0 0\n");
    let second = values(&mut sampler, &counters);
    assert!(second.contains(&("cpu.usage".to_owned(), "%", Value::Double(75.0))), "{second:?}");
}

#[test]
fn a_channel_keeps_its_id_when_others_come_and_go() {
    let machine = machine();
    let counters = Counters::default();
    let mut sampler = Sampler::new(machine.path().to_owned(), Vec::new());
    sampler.sample(&counters);
    let before = sampler.channels();
    std::fs::remove_file(machine.path().join("sys/class/hwmon/hwmon1/fan2_input")).expect("a file");
    write(machine.path(), "sys/class/hwmon/hwmon1/temp1_input", "30000\n");
    let found = values(&mut sampler, &counters);
    assert!(found.contains(&("hwmon.1.nct6775.temp1".to_owned(), "Cel", Value::Double(30.0))));
    assert!(sampler.channels().starts_with(&before), "new channels go to the end");
}

#[test]
fn a_machine_without_anything_is_counted_and_not_fatal() {
    let empty = tempfile::tempdir().expect("a directory");
    let counters = Counters::default();
    let mut sampler = Sampler::new(empty.path().to_owned(), vec!["/nonexistent".into()]);
    assert_eq!(sampler.sample(&counters), []);
    assert!(counters.iter().any(|(event, count)| event.name() == "source_failed" && count > 0));
}

#[test]
fn a_sample_says_which_clock_it_was_taken_by() {
    use crate::support::{NOON, StoppedClock};
    assert_eq!(sample_time(&StoppedClock, true), (NOON, Clock::Synchronised));
    let (time, clock) = sample_time(&StoppedClock, false);
    assert_eq!(clock, Clock::Uptime, "nobody disciplines the wall clock, so it is not believed");
    assert!(time.0 > 0 && time < NOON, "{time} since power-on");
    // Whatever it says here, it can be asked.
    let _ = is_synchronised();
}
