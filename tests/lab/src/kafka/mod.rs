//! A Kafka consumer that shares no code with the gateway: what it understands is what the crate kafka-protocol, and so
//! Kafka, means. It is for checks, not for speed.

pub mod client;
pub mod compare;
pub mod consumer;
pub mod log;
pub mod member;
