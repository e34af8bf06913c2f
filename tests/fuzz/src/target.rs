//! What is fuzzed.

use std::path::PathBuf;

use crate::targets::ALL;

/// One decoder, or one chain of them.
pub struct Target {
    /// Names its corpus and its dictionary.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// The longest input that is tried, in bytes.
    pub max_len: usize,
    /// The most memory that one input may make it hold, in bytes, whatever lengths the input claims.
    pub memory: usize,
    /// How many inputs one round makes: some seconds' worth.
    pub inputs: u64,
    /// Good inputs to begin with, by name.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
}

impl Target {
    /// Where its seeds lie.
    pub fn corpus(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// Where its dictionary lies.
    pub fn dictionary(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dictionary").join(format!("{}.txt", self.name))
    }
}

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
