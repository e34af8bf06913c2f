//! The source `system` on a machine of files: what the kernel shows in `/sys/class`, with the units it means.

use serde_json::json;

use crate::stage::{Stage, THIS_MACHINE};
use crate::tree::Tree;

/// Documentation/hwmon/sysfs-interface.rst of the Linux kernel: thousandths of degrees, of volts and of amperes,
/// millionths of watts, whole revolutions.
const MACHINE: [(&str, &str); 9] = [
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
    ("sys/class/thermal/thermal_zone0/temp", "48312"),
    ("sys/class/hwmon/hwmon1/name", "ina219"),
    ("sys/class/hwmon/hwmon1/in1_input", "12125"),
    ("sys/class/hwmon/hwmon1/curr1_input", "-350"),
    ("sys/class/hwmon/hwmon1/power1_input", "4243750"),
    ("sys/class/hwmon/hwmon2/name", "nct6775"),
    ("sys/class/hwmon/hwmon2/temp1_input", "-5500"),
    ("sys/class/hwmon/hwmon2/fan1_input", "1180"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kernel_measures_is_in_the_log_with_its_unit() {
    let machine = Tree::new(&MACHINE);
    let mut stage = Stage::prepare(|plan| plan.system = true).await;
    stage.set("WEIR_AGENT_SYSTEM__ROOT", machine.root());
    stage.launch().await;
    stage
        .expect(
            THIS_MACHINE,
            &[
                ("thermal.0.cpu-thermal", "Cel", json!(48.312)),
                ("hwmon.1.ina219.in1", "V", json!(12.125)),
                ("hwmon.1.ina219.curr1", "A", json!(-0.35)),
                ("hwmon.1.ina219.power1", "W", json!(4.24375)),
                ("hwmon.2.nct6775.temp1", "Cel", json!(-5.5)),
                ("hwmon.2.nct6775.fan1", "/min", json!(1180)),
            ],
        )
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chip_that_comes_later_and_one_that_goes_change_nothing_for_the_others() {
    let machine = Tree::new(&MACHINE);
    let mut stage = Stage::prepare(|plan| plan.system = true).await;
    stage.set("WEIR_AGENT_SYSTEM__ROOT", machine.root());
    stage.launch().await;
    stage.expect(THIS_MACHINE, &[("hwmon.2.nct6775.fan1", "/min", json!(1180))]).await;

    machine.remove("sys/class/hwmon/hwmon2");
    machine.write("sys/class/hwmon/hwmon3/name", "sht4x");
    machine.write("sys/class/hwmon/hwmon3/humidity1_input", "41500");
    machine.write("sys/class/thermal/thermal_zone0/temp", "51000");
    let expected = [("hwmon.3.sht4x.humidity1", "%", json!(41.5)), ("thermal.0.cpu-thermal", "Cel", json!(51))];
    stage.expect(THIS_MACHINE, &expected).await;
    stage.end().await;
}
