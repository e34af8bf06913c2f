//! `[[i2c]]`: the unmodified agent on a bus that `peers/i2c_bus.c` plays, with a TMP105 and an SHT4x.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use weir_lab::deployment::Scratch;
use weir_tests::{binaries, skip};

use crate::stage::Stage;

const SENSORS: &str = r#"
[[i2c]]
device = "cabinet"
bus = "/dev/i2c-7"
sensor = "lm75"
address = 0x48
interval = "100ms"

[[i2c]]
device = "hall"
bus = "/dev/i2c-7"
sensor = "sht4x"
address = 0x44
interval = "100ms"
"#;

/// The bus, and what the world around its sensors is like.
struct Bus {
    directory: Scratch,
    library: PathBuf,
}

impl Bus {
    /// `None`, said loudly, if nothing can build it.
    fn new() -> Option<Self> {
        let directory = Scratch::new().unwrap();
        let library = directory.join("i2c_bus.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library);
        match cc.arg(binaries().root.join("tests/sources/peers/i2c_bus.c")).status() {
            Ok(status) => assert!(status.success(), "cc cannot build the bus; its messages are above"),
            Err(_) => {
                skip("a C compiler is needed; type: apt-get install gcc");
                directory.remove().unwrap();
                return None;
            }
        }
        fs::write(directory.join("bus"), "").unwrap();
        Some(Self { directory, library })
    }

    /// What a sensor feels.
    fn set(&self, address: &str, world: &str) {
        // In one piece: it may be read at this moment.
        fs::write(self.directory.join("next"), world).unwrap();
        fs::rename(self.directory.join("next"), self.directory.join(address)).unwrap();
    }

    /// The sensor falls off.
    fn remove(&self, address: &str) {
        fs::remove_file(self.directory.join(address)).unwrap();
    }

    async fn stage(&self) -> Stage {
        let mut stage = Stage::prepare(|plan| plan.sources = SENSORS.to_owned()).await;
        stage.set("LD_PRELOAD", &self.library);
        stage.set("WEIR_TESTS_I2C", self.directory.path());
        stage.launch().await;
        stage
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sensors_on_a_bus_are_in_the_log_with_their_units() {
    let Some(bus) = Bus::new() else { return };
    bus.set("48", "-12.5");
    bus.set("44", "21.7 45.2");
    let stage = bus.stage().await;
    stage.expect("cabinet", &[("temperature", "Cel", json!(-12.5))]).await;
    let near =
        |value: &serde_json::Value, expected: f64| value.as_f64().is_some_and(|got| (got - expected).abs() < 0.01);
    stage
        .until("hall with 21.7 Cel and 45.2 %", "hall", |readings| {
            let has = |channel: &str, unit: &str, value: f64| {
                readings.iter().any(|r| r.channel == channel && r.unit == unit && near(&r.value, value))
            };
            has("temperature", "Cel", 21.7) && has("humidity", "%", 45.2)
        })
        .await;
    stage.end().await;
    bus.directory.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_falls_off_the_bus_is_named_and_comes_back() {
    let Some(bus) = Bus::new() else { return };
    bus.set("48", "20");
    let stage = bus.stage().await;
    stage.expect("cabinet", &[("temperature", "Cel", json!(20))]).await;
    stage.until_health("i2c.hall", |health| health["last_error"].is_string()).await;

    bus.remove("48");
    bus.set("44", "21 40");
    stage.until_health("i2c.cabinet", |health| health["last_error"].is_string()).await;
    stage.until("the other sensor is read", "hall", |readings| !readings.is_empty()).await;

    bus.set("48", "30.5");
    stage.expect("cabinet", &[("temperature", "Cel", json!(30.5))]).await;
    stage.end().await;
    bus.directory.remove().unwrap();
}
