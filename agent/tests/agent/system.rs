//! This machine as a device, on a fixture tree.

use std::path::Path;

use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::source::clock::{SampleTime, is_synchronised, sample_time};
use weir_agent::source::system::{self, Measurement, Sampler};
use weir_agent::source::worker::Thread;
use weir_protocol::settings::Source;
use weir_protocol::{Clock, Value};

use crate::support::sources::Bench;
use crate::support::{NOON, StoppedClock};

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

fn values(sampler: &mut Sampler) -> Vec<(String, &'static str, Value<'static>)> {
    let named = |m: Measurement| m.value.map(|value| (m.name, m.unit, value));
    sampler.sample().measured.into_iter().filter_map(named).collect()
}

#[test]
fn every_value_has_its_name_and_its_unit() {
    let machine = machine();
    let mut sampler = Sampler::new(machine.path().to_owned(), Vec::new());
    let found = values(&mut sampler);
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
    let mut sampler = Sampler::new(machine.path().to_owned(), Vec::new());
    let first = values(&mut sampler);
    assert!(!first.iter().any(|(name, ..)| name == "cpu.usage"));
    // Of 200 more ticks, 50 were idle.
    write(machine.path(), "proc/stat", "cpu  200 0 100 840 60 0 0 0 0 0\n");
    let second = values(&mut sampler);
    assert!(second.contains(&("cpu.usage".to_owned(), "%", Value::Double(75.0))), "{second:?}");
}

#[test]
fn a_channel_that_has_no_value_yet_is_named_by_the_first_sample() {
    let machine = machine();
    let mut sampler = Sampler::new(machine.path().to_owned(), Vec::new());
    let named = |sampled: &[Measurement]| sampled.iter().map(|m| (m.name.clone(), m.unit)).collect::<Vec<_>>();
    let first = named(&sampler.sample().measured);
    write(machine.path(), "proc/stat", "cpu  200 0 100 840 60 0 0 0 0 0\n");
    assert_eq!(named(&sampler.sample().measured), first, "one description is enough for both");
}

#[test]
fn an_input_with_a_label_has_it_in_its_name() {
    let machine = machine();
    write(machine.path(), "sys/class/hwmon/hwmon1/fan2_label", "Pump Fan\n");
    write(machine.path(), "sys/class/hwmon/hwmon1/in0_label", "\n");
    let found = values(&mut Sampler::new(machine.path().to_owned(), Vec::new()));
    let names: Vec<&str> =
        found.iter().map(|(name, ..)| name.as_str()).filter(|name| name.starts_with("hwmon")).collect();
    assert_eq!(names, ["hwmon.1.nct6775.in0", "hwmon.1.nct6775.fan2.Pump Fan"]);
}

#[test]
fn what_cannot_be_read_is_named_with_its_reason() {
    let machine = machine();
    write(machine.path(), "sys/class/hwmon/hwmon1/temp7_input", "warm\n");
    write(machine.path(), "proc/loadavg", "\n");
    std::fs::remove_file(machine.path().join("proc/diskstats")).expect("a file");
    let failed = Sampler::new(machine.path().to_owned(), vec!["/nonexistent".into()]).sample().failed;
    let expected = [
        ("disk", "/proc/diskstats: No such file or directory (os error 2)"),
        ("disk.nonexistent", "/nonexistent: No such file or directory (os error 2)"),
        ("hwmon.1.nct6775.temp7", "got \"warm\", expected a number"),
        ("load.1m", "no number where the kernel documents one"),
    ];
    let failed: Vec<(&str, &str)> = failed.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    assert_eq!(failed, expected);
}

#[test]
fn a_sample_says_which_clock_it_was_taken_by() {
    assert_eq!(sample_time(&StoppedClock, true), SampleTime { time: NOON, clock: Clock::Synchronised });
    let SampleTime { time, clock } = sample_time(&StoppedClock, false);
    assert_eq!(clock, Clock::Uptime, "nobody disciplines the wall clock, so it is not believed");
    assert!(time.0 > 0 && time < NOON, "{time} since power-on");
    // Whatever it says here, it can be asked.
    let _ = is_synchronised();
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_a_part_that_cannot_be_read_gives_the_rest_and_names_the_part() {
    let machine = machine();
    let settings = format!(
        "[system]\ndevice = \"box\"\nroot = {:?}\ndisks = [\"/nonexistent\"]\n",
        machine.path().display().to_string()
    );
    let config = Config::of(&Source::new("agent.toml", settings)).expect("good settings");
    let bench = Bench::unlinked();
    let context = bench.context("system", "box");
    let life = tokio::spawn(system::run(config.system, Thread::default(), context));
    let held = bench.gives(|held| !held.is_empty()).await;
    assert!(held.iter().any(|held| held.channel == "load.1m" && held.unit == "1" && held.at.time == NOON));
    let health = bench.looks(|health| health.last_error.is_some()).await;
    let reason = "disk.nonexistent: /nonexistent: No such file or directory (os error 2)";
    assert_eq!(health.last_error.as_deref(), Some(reason));
    assert!(bench.counters.get(Event::SourceFailed) > 0);
    bench.stops();
    life.await.expect("no panic").expect("a good end");
}
