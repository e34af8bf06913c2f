//! The Weir gateway: batches in over MQTT, a durable topic log on disk, readings out over Kafka and HTTP.
//!
//! ```text
//! agent == MQTT ==> front -> ingest -> topics (weir-storage logs) -> kafka, http -> consumers
//!       <- PUBACK -- front <- verdict, after fdatasync |
//! viewer <== MQTT == front <- router <-----------------+
//! ```
//!
//! What it guarantees: PUBACK means that every sequence of the batch is on disk as a reading, a dead letter or
//! a counted loss; a reading is in the log once however often it is sent; whatever a stranger sends is refused
//! with a reason that is counted, and costs bounded memory.
//!
//! Read in this order: [`run`] wires the parts; [`front`] speaks MQTT; [`ingest`] decides and commits;
//! [`sessions`] and [`retained`] are what is kept of MQTT clients, in internal topics ([`keyed_log`]);
//! [`topics`] is the log; [`record`] is what stands in it, [`schemas`] how that is described and may change;
//! [`redrive`] tries dead letters again; [`kafka`] and [`http`] serve the log, [`groups`] says where consumers stand, and
//! [`router`] shows it live; [`lobby`] is where sockets of all ports wait; [`config`] and [`cli`] are what a person sees.

pub mod access;
mod background;
pub mod ca;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod front;
#[doc(hidden)]
pub mod fuzz;
pub mod groups;
pub mod http;
pub mod ingest;
pub mod kafka;
pub mod keyed_log;
pub mod limits;
pub mod lobby;
pub mod lock;
pub mod log_gate;
pub mod model;
pub mod moment;
pub mod mqtt;
mod places;
pub mod record;
pub mod redrive;
pub mod retained;
pub mod router;
pub mod run;
pub mod schemas;
pub mod sessions;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
pub mod tls;
pub mod topics;
