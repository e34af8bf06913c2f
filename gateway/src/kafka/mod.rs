//! The Kafka port: the log served to the clients that people already have.
//!
//! The rest of the gateway knows none of the request types in here.

pub mod auth;
pub mod handlers;
pub mod messages;
pub mod tls;
pub mod wire;
