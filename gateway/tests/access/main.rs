//! Who comes in and what he may do, seen from outside: certificates over plain HTTP calls, tokens on every path and over
//! Kafka, what the audit says of it all, the operator's socket, and settings and files that change while the gateway runs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
#[path = "../kafka/client.rs"]
#[allow(dead_code, reason = "what the tests of the Kafka port share; not all of it is needed here")]
mod client;
mod enrolment;
mod kafka;
mod program;
mod reload;
mod renewal;
mod roles;
mod secure;
mod socket;
#[path = "../front/world.rs"]
#[allow(dead_code, reason = "what the tests of the MQTT front share; not all of it is needed here")]
mod world;
