//! `[[iio]]` on trees of files as the kernel's drivers show their sensors.

use serde_json::json;

use crate::stage::Stage;
use crate::tree::Tree;

/// A BMP280, which gives finished values; an ADS1115 with an amplifier before it, and an accelerometer, which give raw
/// ones. The numbers are what their drivers print; units by Documentation/ABI/testing/sysfs-bus-iio of the Linux kernel:
/// thousandths of degrees, kilopascals, millivolts after the scale, metres per second squared after the scale.
const SENSORS: [(&str, &str); 13] = [
    ("sys/bus/iio/devices/iio:device0/name", "bmp280"),
    ("sys/bus/iio/devices/iio:device0/in_temp_input", "23810"),
    ("sys/bus/iio/devices/iio:device0/in_pressure_input", "98.743562500"),
    ("sys/bus/iio/devices/iio:device1/name", "ads1015"),
    ("sys/bus/iio/devices/iio:device1/in_voltage0_raw", "13056"),
    ("sys/bus/iio/devices/iio:device1/in_voltage0_scale", "0.187500000"),
    ("sys/bus/iio/devices/iio:device1/in_voltage0-voltage1_raw", "-64"),
    ("sys/bus/iio/devices/iio:device1/in_voltage0-voltage1_scale", "0.125000000"),
    ("sys/bus/iio/devices/iio:device2/name", "adxl345"),
    ("sys/bus/iio/devices/iio:device2/in_accel_x_raw", "-3"),
    ("sys/bus/iio/devices/iio:device2/in_accel_z_raw", "256"),
    ("sys/bus/iio/devices/iio:device2/in_accel_z_offset", "-1"),
    ("sys/bus/iio/devices/iio:device2/in_accel_scale", "0.038307"),
];

fn source(machine: &Tree) -> String {
    format!("[[iio]]\ndevice = \"cabinet\"\ninterval = \"100ms\"\nroot = {:?}\n", machine.root().display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_drivers_of_the_kernel_measure_is_in_the_log_with_its_unit() {
    let machine = Tree::new(&SENSORS);
    let stage = Stage::start(&source(&machine)).await;
    let cabinet = [
        ("bmp280.temp", "Cel", json!(23.81)),
        ("bmp280.pressure", "kPa", json!(98.743_562_5)),
        ("ads1015.voltage0", "V", json!(2.448)),
        ("ads1015.voltage0-voltage1", "V", json!(-0.008)),
        ("adxl345.accel_x", "m/s2", json!(-0.114_921)),
        ("adxl345.accel_z", "m/s2", json!(9.768_285)),
    ];
    stage.expect("cabinet", &cabinet).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_fails_is_named_and_one_that_is_loaded_later_is_read() {
    let machine = Tree::new(&SENSORS);
    machine.write("sys/bus/iio/devices/iio:device0/in_pressure_input", "no number");
    let stage = Stage::start(&source(&machine)).await;
    stage.expect("cabinet", &[("bmp280.temp", "Cel", json!(23.81))]).await;
    let names_it = |health: &serde_json::Value| health["last_error"].as_str().is_some_and(|e| e.contains("pressure"));
    stage.until_health("iio.cabinet", names_it).await;

    machine.remove("sys/bus/iio/devices/iio:device1");
    machine.write("sys/bus/iio/devices/iio:device7/in_illuminance_input", "412");
    machine.write("sys/bus/iio/devices/iio:device7/name", "tsl2583");
    stage.expect("cabinet", &[("tsl2583.illuminance", "lx", json!(412))]).await;
    stage.end().await;
}
