//! What agents are told by what stands around them: programs, senders of line protocol and of collectd, brokers, devices
//! behind Modbus, and the files of the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use weir_agent::config::Config;
use weir_agent::source::modbus::{RegisterConfig, blocks};
use weir_agent::source::{exec, iio, line_protocol, mqtt, system};
use weir_protocol::Value;
use weir_protocol::settings::Source;

use crate::target::Target;

pub(super) const EXEC: Target = Target {
    name: "exec",
    run: exec::fuzz::printed,
    max_len: 4096,
    memory: 256 << 10,
    inputs: 200_000,
    seeds: || vec![("lines", PRINTED.to_vec()), ("long", [&[b'x'; 1100], "\na 1".as_bytes()].concat())],
};
/// A body is unpacked to 64 KiB at most, and a value of JSON takes some thirty times its text.
pub(super) const LINE_PROTOCOL: Target = Target {
    name: "line-protocol",
    run: line_protocol::fuzz::push,
    max_len: 4096,
    memory: 4 << 20,
    inputs: 30_000,
    seeds: || {
        vec![
            ("telegraf", PUSHED.to_vec()),
            ("escapes", ESCAPED.to_vec()),
            ("collectd", COLLECTD.to_vec()),
            ("gzip", super::bytes(GZIP)),
        ]
    },
};
pub(super) const MQTT: Target = Target {
    name: "mqtt-source",
    run: |bytes| mqtt::fuzz::message(&broker().topic.get_ref()[..], bytes),
    max_len: 4096,
    memory: 1 << 20,
    inputs: 100_000,
    seeds: || {
        vec![
            (
                "zigbee",
                br#"plant/kitchen/state
{"temperature":21.5,"battery":{"level":97,"low":false},"log":[1,2,{"a":null}]}"#
                    .to_vec(),
            ),
            ("number", b"plant/1/flow\n12.5e3".to_vec()),
            ("switch", b"plant/1/pump/on\nON".to_vec()),
        ]
    },
};
/// The map is read from settings with the first input, which takes most of it.
pub(super) const MODBUS: Target = Target {
    name: "modbus",
    run: answers,
    max_len: 1024,
    memory: 1 << 20,
    inputs: 200_000,
    seeds: || vec![("words", (0..=255).cycle().take(600).collect()), ("nan", [0x7f, 0xc0, 0, 0].repeat(100))],
};
/// Every input is files on a disk, so there are few; a tree may be as large as what it says.
pub(super) const SYSFS: Target = Target {
    name: "sysfs",
    run: tree,
    max_len: 4096,
    memory: 1 << 20,
    inputs: 1_500,
    seeds: || vec![("iio", IIO.to_vec()), ("hwmon", HWMON.to_vec()), ("proc", PROC.to_vec())],
};

const PRINTED: &[u8] = br#"# what a program prints
temperature 21.5 Cel
load	1e-2
door true
{"name": "state", "value": "on \"line\"", "unit": "1", "time": 1795262400.25}
{"value": -1e308, "name": "flow"}
"#;

const PUSHED: &[u8] =
    br#"cpu,host=edge-1,cpu=cpu0 usage_idle=98.5,usage_user=1i,on=true,state="running" 1795262400000000000
# a remark
mem,host=edge-1 used=18446744073709551615u,free=-1i

disk\ io,host=a\,b,path=/var\ log read=1.5e3 -1
"#;

const ESCAPED: &[u8] = b"m\\,1\\ 2,t\\==v\\,\\  f\\ 1=\"a\\\"b\\\\c\nsecond line\",g=t,h=F 9223372036854775807\nm x=1";

const COLLECTD: &[u8] = br#"[{"values":[197141504,175136768],"dstypes":["derive","counter"],"dsnames":["read","write"],
"time":1251533299.265,"interval":10.0,"host":"leeloo.lan","plugin":"disk","plugin_instance":"sda","type":"disk_octets",
"type_instance":""},{"values":[null,1e300],"dstypes":["gauge","gauge"],"dsnames":["value","x"],"plugin":"sensors","type":"t"}]"#;

/// `m x=1` in gzip (RFC 1952).
const GZIP: &str = "1f8b0800000000000203cb55a8b0350400b39a666605000000";

/// A subscription for each kind of payload and each kind of name.
const BROKER: &str = r##"
    [[mqtt]]
    name = "lan"
    address = "127.0.0.1:1883"
    [[mqtt.topic]]
    filter = "plant/+/#"
    payload = "json"
    device = "{2}"
    [[mqtt.topic]]
    filter = "plant/+/state"
    payload = "json"
    device = "line-{2}"
    channel = "{topic}"
    fields = ["temperature", "battery.level", "log.2.a", "log.1"]
    [[mqtt.topic]]
    filter = "#"
    payload = "number"
    device = "boiler"
    [[mqtt.topic]]
    filter = "+/+/text"
    payload = "text"
    device = "boiler"
    channel = "{3}.{1}"
"##;

/// A register of every type and order, and bits.
fn map() -> String {
    let mut map = String::from("[[modbus]]\ndevice = \"plc\"\naddress = \"tcp://127.0.0.1:502\"\n");
    let mut address = 0;
    let mut add = |text: String, registers: u16| {
        map.push_str(&format!("[[modbus.register]]\nname = \"r{address}\"\naddress = {address}\n{text}\n"));
        address += registers;
    };
    for (kind, registers) in
        [("u16", 1), ("i16", 1), ("u32", 2), ("i32", 2), ("u64", 4), ("i64", 4), ("f32", 2), ("f64", 4)]
    {
        for order in ["abcd", "cdab", "badc", "dcba"] {
            add(format!("type = \"{kind}\"\nbyte_order = \"{order}\""), registers);
            add(format!("type = \"{kind}\"\nbyte_order = \"{order}\"\nscale = 1e300\noffset = -0.5"), registers);
        }
    }
    for order in ["abcd", "badc"] {
        add(format!("type = \"string\"\nlength = 8\nbyte_order = \"{order}\""), 8);
    }
    add("type = \"bit\"\nbit = 15".to_owned(), 1);
    map
}

fn config(settings: &str) -> Config {
    match Config::of(&Source::new("settings.toml", settings)) {
        Ok(config) => config,
        Err(error) => panic!("settings of this target: {error}"),
    }
}

fn broker() -> &'static mqtt::MqttConfig {
    static BROKERS: OnceLock<Config> = OnceLock::new();
    &BROKERS.get_or_init(|| config(BROKER)).mqtt[0]
}

/// The words that a device answers with, laid over a register map: each request is answered with what follows.
fn answers(bytes: &[u8]) {
    static DEVICES: OnceLock<Config> = OnceLock::new();
    let device = &DEVICES.get_or_init(|| config(&map())).modbus[0];
    let registers = device.register.get_ref();
    let places: Vec<_> = registers.iter().map(RegisterConfig::place).collect();
    let words: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word)).collect();
    let mut text = String::new();
    // The first byte says which gap: other requests, the same values.
    for block in blocks(&places, u16::from(bytes.first().copied().unwrap_or_default())) {
        let from = usize::from(block.place.start).min(words.len());
        let answer = &words[from..];
        for value in &block.values {
            let part = block.part(&places[*value]);
            let Some(own) = answer.get(part) else { continue };
            match registers[*value].layout().decode(own, &mut text) {
                Ok(Value::Float(value)) => assert!(value.is_finite()),
                Ok(Value::Double(value)) => assert!(value.is_finite()),
                Ok(_) => {}
                Err(why) => assert!(!why.is_empty(), "a refusal says why"),
            }
        }
    }
}

/// Files below a root: a line with the path, then what is in it, up to a zero byte.
fn tree(bytes: &[u8]) {
    let root = root();
    let _ = fs::remove_dir_all(&root);
    let mut written = BTreeMap::new();
    for file in bytes.split(|byte| *byte == 0) {
        let line = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let (path, content) = file.split_at(line);
        let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
        // Below the root, and nowhere else.
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
        if is_below && (1..12).contains(&path.components().count()) {
            written.insert(path, content.get(1..).unwrap_or_default());
        }
    }
    for (path, content) in &written {
        let path = root.join(path);
        // A name may be too long, or that of a file and of a directory.
        if path.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok()) {
            let _ = fs::write(&path, content);
        }
    }
    let sampled = iio::sample(&root, &["*".to_owned()]);
    assert!(sampled.measured.iter().all(|measured| !measured.name.is_empty()));
    let mut sampler = system::Sampler::new(root.clone(), vec![PathBuf::from("/")]);
    drop((sampler.sample(), sampler.sample()));
    let _ = fs::remove_dir_all(&root);
}

/// A directory in memory, if there is such a place.
fn root() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let base = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    base.join(format!("weir-fuzz-{}", std::process::id()))
}

const IIO: &[u8] = b"sys/bus/iio/devices/iio:device0/name\nbme280\n\0sys/bus/iio/devices/iio:device0/in_temp_input\n21500\n\0\
sys/bus/iio/devices/iio:device0/in_pressure_raw\n1013\n\0sys/bus/iio/devices/iio:device0/in_pressure_scale\n0.1\n\0\
sys/bus/iio/devices/iio:device0/in_pressure_offset\n-3\n\0sys/bus/iio/devices/iio:device1/name\nads1015\n\0\
sys/bus/iio/devices/iio:device1/label\nsupply\n\0sys/bus/iio/devices/iio:device1/in_voltage0-voltage1_raw\n7\n\0\
sys/bus/iio/devices/iio:device1/in_voltage-voltage_scale\n3.0\n\0sys/bus/iio/devices/iio:device1/in_voltage0_label\nbattery\n\0\
sys/bus/iio/devices/iio:device1/in_accel_x_raw\n-12\n\0sys/bus/iio/devices/iio:device1/in_accel_scale\n0.000598\n";

const HWMON: &[u8] = b"sys/class/hwmon/hwmon0/name\ncoretemp\n\0sys/class/hwmon/hwmon0/temp1_input\n45000\n\0\
sys/class/hwmon/hwmon0/temp1_label\nPackage id 0\n\0sys/class/hwmon/hwmon0/fan2_input\n1200\n\0\
sys/class/hwmon/hwmon1/name\nnct6775\n\0sys/class/hwmon/hwmon1/in0_input\n864\n\0sys/class/thermal/thermal_zone0/type\ncpu\n\0\
sys/class/thermal/thermal_zone0/temp\n47000\n\0sys/class/net/eth0/statistics/rx_bytes\n12345\n\0\
sys/class/net/eth0/operstate\nup\n";

const PROC: &[u8] = b"proc/stat\ncpu  100 0 50 800 10 0 5 0 0 0\ncpu0 100 0 50 800 10 0 5 0 0 0\n\0\
proc/meminfo\nMemTotal: 1000 kB\nMemAvailable: 500 kB\n\0proc/loadavg\n0.50 0.40 0.30 1/100 1234\n\0\
proc/uptime\n1234.56 4321.00\n\0proc/net/dev\nInter-|   Receive\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
