//! Every decoder that reads from outside, as plain functions over bytes.
//!
//! A [`Target`] takes any bytes and returns; a panic is a finding, and so is an input that makes it hold more memory than
//! the target's bound. Where a checksum would refuse almost every mutated input, the target also puts the checksum right
//! and goes on, because an attacker can do that too.
//!
//! Two fuzzers drive the same targets: [`mutate`], deterministic and on stable, in `tests/run`; and libFuzzer, guided by
//! coverage, by `tests/fuzz/guided/run TARGET` where a nightly is present. Both start from `corpus/<target>/` and
//! `dictionary/<target>.txt`. The corpus is made by [`seeds`](target::Target::seeds): `weir-fuzz seeds`.

pub mod dictionary;
pub mod mutate;
pub mod target;
mod targets;

pub use target::{Target, find};
pub use targets::ALL;
