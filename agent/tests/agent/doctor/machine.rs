//! The machine: its directories, what sources read, its clock, its units, its ports.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use weir_agent::doctor::Verdict;

use super::Machine;
use crate::process::{Place, text};

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_found() {
    let machine = Machine::new();
    machine.says("", "data_dir", Verdict::Ok, &["written and synced in"]).await;
    machine.says("[queue]\ncap = \"1000000 GiB\"\n", "disk space", Verdict::Warning, &["free some space"]).await;
    machine.says("", "disk space", Verdict::Ok, &["needed for a full queue"]).await;
    fs::set_permissions(machine.data(), fs::Permissions::from_mode(0o700)).expect("rights");
    machine.says("", "data_dir", Verdict::Problem, &["keep edge out", "sudo chown -R edge: "]).await;
    fs::remove_dir(machine.data()).expect("a directory");
    machine.says("", "data_dir", Verdict::Problem, &["is not there", "sudo install -d -o edge"]).await;
    fs::set_permissions(machine.dir.path(), fs::Permissions::from_mode(0o777)).expect("rights");
    machine.says("", "data_dir", Verdict::Ok, &["will be made by the first start"]).await;
}

#[tokio::test]
async fn a_serial_line_that_the_agent_may_not_open_names_the_group_to_join() {
    let machine = Machine::new();
    let settings = "[[serial]]\npath = \"/dev/ttyACM*\"\n";
    machine.says(settings, "serial /dev/ttyACM*", Verdict::Problem, &["no such line now", "weir-agent ports"]).await;
    machine.writes("dev/ttyACM0", "");
    fs::set_permissions(machine.path("dev/ttyACM0"), fs::Permissions::from_mode(0o660)).expect("rights");
    let told: &[&str] = match machine.group() {
        0 => &["edge may not open it", "sudo chgrp dialout"],
        _ => &["edge may not open it", "sudo usermod -aG dialout edge"],
    };
    machine.says(settings, "serial /dev/ttyACM*", Verdict::Problem, told).await;
    machine.writes("proc/self/status", &format!("Uid:\t54321\t54321\nGid:\t5\t5\nGroups:\t5 {}\n", machine.group()));
    machine.says(settings, "serial /dev/ttyACM*", Verdict::Ok, &["ttyACM0 is there"]).await;
}

#[tokio::test]
async fn what_other_sources_read_is_looked_for() {
    let machine = Machine::new();
    let i2c = "[[i2c]]\ndevice = \"box\"\nbus = \"/dev/i2c-1\"\nsensor = \"lm75\"\n";
    machine.says(i2c, "i2c /dev/i2c-1", Verdict::Problem, &["is not there", "sudo modprobe i2c-dev"]).await;
    machine.writes("dev/i2c-1", "");
    fs::set_permissions(machine.path("dev/i2c-1"), fs::Permissions::from_mode(0o666)).expect("rights");
    machine.says(i2c, "i2c /dev/i2c-1", Verdict::Ok, &["edge may open it"]).await;
    let iio = "[[iio]]\ndevice = \"box\"\n";
    machine.says(iio, "iio", Verdict::Problem, &["the kernel knows no sensor"]).await;
    machine.writes("sys/bus/iio/devices/iio:device0/name", "bme280\n");
    machine.says(iio, "iio", Verdict::Ok, &["bme280"]).await;
    let register = "[[modbus.register]]\nname = \"power\"\naddress = 0\n";
    let plc = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = plc.local_addr().expect("an address");
    let modbus = format!("[[modbus]]\ndevice = \"plc\"\naddress = \"tcp://{address}\"\n{register}");
    machine.says(&modbus, "modbus", Verdict::Ok, &["answers"]).await;
    drop(plc);
    machine.says(&modbus, "modbus", Verdict::Problem, &["nc -vz 127.0.0.1"]).await;
    let exec = "[[exec]]\ndevice = \"ups\"\ncommand = [\"/nowhere/upsc\"]\n";
    machine.says(exec, "exec ups", Verdict::Problem, &["/nowhere/upsc is not there"]).await;
}

/// Typed as root beside no agent, the question is what the user of the unit may do, with the group that the unit adds.
#[tokio::test]
async fn root_asks_for_the_user_of_the_unit() {
    let machine = Machine::new();
    machine.writes("proc/self/status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0\n");
    machine.writes("etc/passwd", "root:x:0:0::/:/bin/sh\nweir-agent:x:54321:54321::/:/bin/false\n");
    machine.writes("dev/ttyACM0", "");
    fs::set_permissions(machine.path("dev/ttyACM0"), fs::Permissions::from_mode(0o660)).expect("rights");
    let settings = "[[serial]]\npath = \"/dev/ttyACM*\"\n";
    machine.says(settings, "serial", Verdict::Ok, &["weir-agent may open it"]).await;
    fs::set_permissions(machine.path("dev/ttyACM0"), fs::Permissions::from_mode(0o600)).expect("rights");
    machine.says(settings, "serial", Verdict::Problem, &["weir-agent may not open it"]).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found() {
    let mut machine = Machine::new();
    machine.says("", "clock", Verdict::Ok, &["synchronised"]).await;
    machine.is_synchronised = false;
    machine.says("", "clock", Verdict::Warning, &["timedatectl set-ntp true"]).await;
    machine.now = 0;
    machine.says("", "clock", Verdict::Problem, &["before 2025"]).await;
}

#[tokio::test]
async fn what_systemd_and_the_kernel_allow_is_looked_at() {
    let machine = Machine::new();
    machine.says("", "open files", Verdict::Ok, &["4096"]).await;
    machine.writes("proc/self/limits", "Max open files            64   4096   files\n");
    machine.says("", "open files", Verdict::Warning, &["at most 64", "LimitNOFILE=4096"]).await;
    fs::create_dir_all(machine.path("run/systemd/system")).expect("a directory");
    machine.says("", "systemd", Verdict::Warning, &["there is no unit"]).await;
    machine.writes("etc/systemd/system/weir-agent.service", "");
    machine.says("", "systemd", Verdict::Warning, &["systemctl enable --now weir-agent"]).await;
    machine.writes("etc/systemd/system/multi-user.target.wants/weir-agent.service", "");
    machine.says("", "systemd", Verdict::Ok, &["started at boot"]).await;
}

#[tokio::test]
async fn a_broker_a_program_or_a_sensor_that_is_not_there_is_named() {
    let machine = Machine::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    let broker = format!(
        "[[mqtt]]\nname = \"hall\"\naddress = \"{address}\"\n[[mqtt.topic]]\nfilter = \"a/b\"\npayload = \"number\"\ndevice = \"a\"\nchannel = \"c\"\n"
    );
    machine.says(&broker, "mqtt hall", Verdict::Ok, &["answers"]).await;
    drop(free);
    machine.says(&broker, "mqtt hall", Verdict::Problem, &["nobody listens on"]).await;
    let exec =
        "[[exec]]\ndevice = \"d\"\ncommand = [\"/opt/read\"]\n[[command]]\nname = \"fix\"\nrun = [\"/opt/fix\"]\n";
    machine.says(exec, "exec d", Verdict::Problem, &["/opt/read is not there"]).await;
    machine.says(exec, "command fix", Verdict::Problem, &["/opt/fix is not there"]).await;
    machine.writes("opt/read", "#!/bin/sh\n");
    fs::set_permissions(machine.path("opt/read"), fs::Permissions::from_mode(0o644)).expect("rights");
    machine.says(exec, "exec d", Verdict::Problem, &["edge may not run it", "sudo chmod a+rx /opt/read"]).await;
    fs::set_permissions(machine.path("opt/read"), fs::Permissions::from_mode(0o755)).expect("rights");
    let checks = machine.examined(exec).await;
    assert!(checks.iter().all(|check| check.subject != "exec d"), "{checks:?}");
    machine.writes("sys/bus/iio/devices/iio:device0/name", "bme280\n");
    let iio = |sensor: &str| format!("[[iio]]\ndevice = \"d\"\nsensors = [\"{sensor}\"]\n");
    machine.says(&iio("bm*"), "iio", Verdict::Ok, &["the kernel knows bme280"]).await;
    machine
        .says(&iio("ina219"), "iio", Verdict::Problem, &["no sensor is called \"ina219\"; the kernel knows bme280"])
        .await;
}

#[tokio::test]
async fn a_port_of_the_agents_own_that_it_could_not_open_is_found() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let settings = format!("[local]\nlisten = \"{address}\"\n");
    machine.says(&settings, "local.listen", Verdict::Problem, &["somebody else listens on", "sudo ss -ltnp"]).await;
    drop(taken);
    machine.says(&settings, "local.listen", Verdict::Ok, &["is free"]).await;
    let run = machine.path("run-weir");
    let settings = format!("[local]\nlisten = \"unix:{}/agent.sock\"\n", run.display());
    machine.says(&settings, "local.listen", Verdict::Problem, &["is not there", "sudo install -d -o edge"]).await;
    fs::create_dir(&run).expect("a directory");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("rights");
    machine.says(&settings, "local.listen", Verdict::Problem, &["edge may make no socket in"]).await;
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).expect("rights");
    machine.says(&settings, "local.listen", Verdict::Ok, &["can be made"]).await;
}

#[test]
fn wrong_settings_are_a_problem_like_others() {
    let place = Place::new("[queue]\ncap = \"64 Mb\"\n");
    let output = place.output(&["doctor", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "1 problem\n");
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((checks.len(), &checks[0]["verdict"]), (1, &"problem".into()));
    assert!(checks[0]["found"].as_str().is_some_and(|found| found.contains(":2:7: got \"64 Mb\"")), "{checks:?}");
    let printed = text(&place.output(&["doctor"]).stdout);
    assert!(printed.starts_with("PROBLEM  settings: ") && printed.contains("-> mend it, then: weir-agent validate"));
}
