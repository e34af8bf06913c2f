//! What travels over MQTT: envelopes of sections, and the small messages beside them.
//!
//! A [`section`] is a run of readings of one device, a claim, the end of a restart, or what rules made of readings ([`processed`]). The agent's disk queue
//! stores sections as they are sent, so forming a batch is copying bytes; an [`envelope`] holds sections and
//! an uncompressed manifest of their identities, so that even a batch whose body cannot be read is accounted for.

pub mod command;
pub mod describe;
pub mod envelope;
pub mod processed;
pub mod section;

pub use envelope::{Envelope, EnvelopeBuilder, EnvelopeError, MAX_BODY, MAX_PAYLOAD, MAX_READINGS, Span};
pub use processed::{MAX_DETAIL, Refusal, SetAside, Summary};
pub use section::{Claim, Held, LossKind, MAX_HELD, Position, ReadingRun, RestartEnd, RunBuilder, Section};
