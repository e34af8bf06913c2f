//! The Kafka port, seen from outside: a client on an independent codec of the protocol, real files and sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod fetch;
mod hostile;
mod offsets;
mod topics;
mod users;
#[path = "../front/world.rs"]
#[allow(dead_code, reason = "what the tests of the MQTT front share; not all of it is needed here")]
mod world;
