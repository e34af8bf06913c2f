//! The agent's sources: a real agent and gateway as processes, on the other side of each source what people have there,
//! and what came of it read from the log.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

#[path = "sources/stage.rs"]
mod stage;
#[path = "sources/system.rs"]
mod system;
#[path = "sources/tree.rs"]
mod tree;
