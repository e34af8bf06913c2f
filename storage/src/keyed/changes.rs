//! What one commit of keyed state changes.

use super::store;
use super::{MAX_CHANGES, MAX_KEY_BYTES, MAX_SPACE_BYTES, MAX_VALUE_BYTES};
use std::collections::BTreeMap;
use thiserror::Error;

/// Keys to put and to delete together. Of several changes of a key the last one counts.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// By whole key; none deletes.
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A change above a bound; the changes are as before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: got {got}, expected at most {most}")]
pub struct TooLarge {
    /// What is too large.
    pub what: &'static str,
    /// How large it is.
    pub got: usize,
    /// How large it may be.
    pub most: usize,
}

impl Changes {
    /// No changes.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// Gives `key` in `space` a value. The name of a space has no zero byte.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn put(&mut self, space: &str, key: &[u8], value: &[u8]) -> Result<(), TooLarge> {
        check("bytes of value", value.len(), MAX_VALUE_BYTES)?;
        self.write(space, key, Some(value.to_vec()))
    }

    /// Deletes `key` in `space`, if it is there.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn delete(&mut self, space: &str, key: &[u8]) -> Result<(), TooLarge> {
        self.write(space, key, None)
    }

    /// Says that with this commit the state covers all of `log` below `offset`, so that after a restart the caller
    /// goes on from there.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn stamp(&mut self, log: &str, offset: u64) -> Result<(), TooLarge> {
        check("bytes of the name of a log", log.len(), MAX_KEY_BYTES)?;
        self.insert(store::stamp_key(log), Some(offset.to_be_bytes().to_vec()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Keys that change.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.writes.clear();
    }

    pub(super) fn writes(&self) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.writes
    }

    fn write(&mut self, space: &str, key: &[u8], value: Option<Vec<u8>>) -> Result<(), TooLarge> {
        check("bytes of the name of a space", space.len(), MAX_SPACE_BYTES)?;
        check("zero bytes in the name of a space", space.matches('\0').count(), 0)?;
        check("bytes of key", key.len(), MAX_KEY_BYTES)?;
        self.insert(store::whole_key(space, key), value)
    }

    fn insert(&mut self, whole_key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), TooLarge> {
        if !self.writes.contains_key(&whole_key) {
            check("changes in one commit", self.writes.len() + 1, MAX_CHANGES)?;
        }
        self.writes.insert(whole_key, value);
        Ok(())
    }
}

fn check(what: &'static str, got: usize, most: usize) -> Result<(), TooLarge> {
    if got <= most { Ok(()) } else { Err(TooLarge { what, got, most }) }
}
