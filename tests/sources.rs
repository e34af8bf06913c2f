//! The agent's sources, each with the peer that people have: a real agent and gateway as processes, a real Modbus
//! plant, broker, collector, sensor or program on the other side, and what came of it read from the log.
//!
//! The peers are below `tests/sources/peers`; `tests/run sources` installs what they need. What is not installed is
//! skipped by name.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

#[path = "sources/collectd.rs"]
mod collectd;
#[path = "sources/exec.rs"]
mod exec;
#[path = "sources/i2c.rs"]
mod i2c;
#[path = "sources/iio.rs"]
mod iio;
#[path = "sources/influxdb_client.rs"]
mod influxdb_client;
#[path = "sources/lan_broker.rs"]
mod lan_broker;
#[path = "sources/modbus.rs"]
mod modbus;
#[path = "sources/peer.rs"]
mod peer;
#[path = "sources/rules.rs"]
mod rules;
#[path = "sources/stage.rs"]
mod stage;
#[path = "sources/system.rs"]
mod system;
#[path = "sources/telegraf.rs"]
mod telegraf;
#[path = "sources/tree.rs"]
mod tree;
#[path = "sources/uplink.rs"]
mod uplink;
