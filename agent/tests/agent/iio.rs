//! Sensors of the kernel's Industrial I/O, on fixture trees.

use std::path::Path;

use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::source::iio::{self, Sampled, sample};
use weir_agent::source::worker::Thread;
use weir_protocol::Value;
use weir_protocol::settings::Source;

use crate::support::sources::Bench;

const DEVICES: &str = "sys/bus/iio/devices";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(DEVICES).join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, format!("{text}\n")).expect("a file");
}

/// As the kernel's drivers show a weather sensor, an accelerometer and a converter.
fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let files = [
        ("iio:device0/name", "bme280"),
        ("iio:device0/in_temp_input", "23450"),
        ("iio:device0/in_humidityrelative_input", "41517"),
        ("iio:device0/in_pressure_input", "101.325"),
        ("iio:device0/in_pressure_oversampling_ratio", "16"),
        ("iio:device0/uevent", "OF_NAME=bme280"),
        ("iio:device1/name", "adxl345"),
        ("iio:device1/in_accel_x_raw", "-256"),
        ("iio:device1/in_accel_y_raw", "0"),
        ("iio:device1/in_accel_scale", "0.038300"),
        ("iio:device1/in_accel_x_calibbias", "0"),
        ("iio:device2/name", "ads1015"),
        ("iio:device2/in_voltage0_raw", "1000"),
        ("iio:device2/in_voltage0_scale", "3.000000"),
        ("iio:device2/in_voltage0_label", "battery"),
        ("iio:device2/in_voltage1_raw", "100"),
        ("iio:device2/in_voltage_scale", "2.5"),
        ("iio:device2/in_voltage0-voltage1_raw", "-10"),
        ("iio:device2/in_voltage-voltage_scale", "0.5"),
        ("iio:device2/in_temp_raw", "100"),
        ("iio:device2/in_temp_offset", "-20"),
        ("iio:device2/in_temp_scale", "250"),
    ];
    for (path, text) in files {
        write(dir.path(), path, text);
    }
    dir
}

fn all(root: &Path) -> Sampled {
    sample(root, &["*".to_owned()])
}

fn values(sampled: &Sampled) -> Vec<(&str, &str, f64)> {
    sampled.measured.iter().map(|m| (m.name.as_str(), m.unit, m.value)).collect()
}

#[test]
fn every_channel_has_its_name_its_unit_and_its_scale() {
    let machine = machine();
    let sampled = all(machine.path());
    let expected = [
        ("bme280.temp", "Cel", 23.45),
        ("bme280.pressure", "kPa", 101.325),
        ("bme280.humidityrelative", "%", 41.517),
        ("adxl345.accel_x", "m/s2", -256.0 * 0.0383),
        ("adxl345.accel_y", "m/s2", 0.0),
        ("ads1015.temp", "Cel", 20.0),
        ("ads1015.voltage0.battery", "V", 3.0),
        ("ads1015.voltage1", "V", 0.25),
        ("ads1015.voltage0-voltage1", "V", -0.005),
    ];
    assert_eq!(values(&sampled), expected);
    assert!(sampled.failed.is_empty() && sampled.sensors == 3, "{sampled:?}");
    let resolutions: Vec<f32> = sampled.measured.iter().map(|m| m.resolution).collect();
    assert_eq!(resolutions[3..5], [0.0383, 0.0383], "one step of the converter");
    assert_eq!(resolutions[0], 0.0, "unknown where the kernel computes the value");
}

#[test]
fn sensors_are_chosen_by_name_or_directory() {
    let machine = machine();
    let chosen = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let names: Vec<String> = sample(machine.path(), &patterns).measured.into_iter().map(|m| m.name).collect();
        names
    };
    assert_eq!(chosen(&["adxl*"]), ["adxl345.accel_x", "adxl345.accel_y"]);
    assert_eq!(chosen(&["bme280", "iio:device1"]).len(), 5);
    assert_eq!(chosen(&["sht*"]), [""; 0]);
}

#[test]
fn two_sensors_of_one_name_are_told_apart_by_label_or_number() {
    let machine = machine();
    write(machine.path(), "iio:device3/name", "adxl345");
    write(machine.path(), "iio:device3/in_accel_x_raw", "1");
    write(machine.path(), "iio:device10/name", "adxl345");
    write(machine.path(), "iio:device10/label", "door");
    write(machine.path(), "iio:device10/in_accel_x_raw", "2");
    let sampled = sample(machine.path(), &["adxl345".to_owned()]);
    let names: Vec<&str> = sampled.measured.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["adxl345.1.accel_x", "adxl345.1.accel_y", "adxl345.3.accel_x", "adxl345.door.accel_x"]);
}

#[tokio::test]
async fn a_channel_that_cannot_be_read_is_named_and_the_others_are_read() {
    let machine = machine();
    write(machine.path(), "iio:device0/in_pressure_input", "high");
    let bench = Bench::unlinked();
    let text = format!("[[iio]]\ndevice = \"hall\"\ninterval = \"1ms\"\nroot = {:?}\n", machine.path());
    let config = Config::of(&Source::new("agent.toml", text)).expect("good settings");
    let settings = config.iio[0].clone();
    let life = tokio::spawn(iio::run(settings.clone(), Thread::default(), bench.context("iio", "hall")));
    let held = bench.gives(|held| held.len() == 8).await;
    assert!(held.iter().any(|held| held.channel == "bme280.temp" && held.value == Value::Double(23.45)));
    let health = bench.looks(|health| health.last_error.is_some()).await;
    assert_eq!(health.last_error.as_deref(), Some("bme280.pressure: got \"high\", expected a number"));
    assert!(bench.counters.get(Event::SourceFailed) > 0);

    // It is mended, and everything is unplugged.
    write(machine.path(), "iio:device0/in_pressure_input", "99");
    bench.gives(|held| held.len() == 9).await;
    std::fs::remove_dir_all(machine.path().join(DEVICES)).expect("a directory");
    let ended = life.await.expect("no panic").expect_err("nothing is there");
    assert_eq!(ended.to_string(), "no such sensor; see which there are: grep . /sys/bus/iio/devices/*/name");
}

#[test]
fn settings_that_make_no_sense_are_refused_at_their_place() {
    let refused = |text: &str| Config::of(&Source::new("agent.toml", text)).err().map(|error| error.to_string());
    let none = refused("[[iio]]\ndevice = \"a\"\nsensors = []\n").unwrap_or_default();
    assert!(none.contains(":3:11: got 0 patterns, expected 1 to 64"), "{none}");
    let twice = refused("[[iio]]\ndevice = \"a\"\n[[iio]]\ndevice = \"a\"\n").unwrap_or_default();
    assert!(twice.contains(":4:10: device a has a section [[iio]] already"), "{twice}");
}

/// Its name is a beginning and an end that overlap: the agent was killed by it at every sample.
#[test]
fn a_file_without_a_channel_is_left_alone() {
    let machine = tempfile::tempdir().expect("a directory");
    for file in ["in_input", "in_raw", "in__input"] {
        write(machine.path(), &format!("iio:device0/{file}"), "7");
    }
    assert_eq!((all(machine.path()).measured, all(machine.path()).sensors), (Vec::new(), 1));
}
