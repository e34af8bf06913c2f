//! The entries of a keyed state in their database: keys, digest, stamps.
//!
//! Format of the keys (values in brackets, numbers big endian):
//!
//! ```text
//! space, 0, key               [value]
//! 0 "generation"              [u64] as the file `generation` says it
//! 0 "digest"                  [u64] of every entry but this one, see `digest`
//! 0 "stamp" 0 log             [u64] the offset up to which the state covers that log
//! ```

use super::changes::Changes;
use super::digest::Digest;
use super::engine::Engine;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const GENERATION_KEY: &[u8] = b"\0generation";
const DIGEST_KEY: &[u8] = b"\0digest";
const STAMP_PREFIX: &[u8] = b"\0stamp\0";

/// Errors are texts: whatever they are, the answer is to rebuild.
pub(super) struct Store {
    engine: Engine,
    /// Of what the database holds; held during a commit.
    digest: Mutex<Digest>,
}

pub(super) fn whole_key(space: &str, key: &[u8]) -> Vec<u8> {
    [space.as_bytes(), &[0], key].concat()
}

pub(super) fn stamp_key(log: &str) -> Vec<u8> {
    [STAMP_PREFIX, log.as_bytes()].concat()
}

impl Store {
    /// An empty one.
    pub(super) fn create(path: &Path, generation: u64) -> Result<Store, String> {
        let store = Store { engine: Engine::create(path)?, digest: Mutex::default() };
        store.write(vec![(GENERATION_KEY.to_vec(), Some(generation.to_be_bytes().to_vec()))])?;
        Ok(store)
    }

    /// The one that is there; not checked yet.
    pub(super) fn open(path: &Path) -> Result<Store, String> {
        Ok(Store { engine: Engine::open(path)?, digest: Mutex::default() })
    }

    /// Reads all of it: only what a commit left is believed.
    pub(super) fn checked(self, generation: u64) -> Result<Store, String> {
        let mut digest = Digest::default();
        let mut found_generation = None;
        let mut found_digest = None;
        self.engine.each(|key, value| match key {
            DIGEST_KEY => found_digest = value.try_into().ok().map(Digest::from_be_bytes),
            _ => {
                if key == GENERATION_KEY {
                    found_generation = value.try_into().ok().map(u64::from_be_bytes);
                }
                digest.add(key, value);
            }
        })?;
        match (found_generation, found_digest) {
            (None, _) | (_, None) => Err("it was populated and opens empty".into()),
            (Some(got), _) if got != generation => Err(format!("got generation {got}, expected {generation}")),
            (_, Some(expected)) if expected != digest => {
                Err(format!("got digest {digest:?} of its entries, expected {expected:?}"))
            }
            _ => Ok(Store { digest: Mutex::new(digest), ..self }),
        }
    }

    pub(super) fn get(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.engine.get(&whole_key(space, key))
    }

    #[allow(clippy::type_complexity)] // a list of keys and values
    pub(super) fn range(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let after = after.map(|after| whole_key(space, after));
        let mut entries = self.engine.range(&whole_key(space, prefix), after.as_deref(), limit)?;
        for (key, _) in &mut entries {
            key.drain(..=space.len());
        }
        Ok(entries)
    }

    pub(super) fn stamp(&self, log: &str) -> Result<Option<u64>, String> {
        let value = self.engine.get(&stamp_key(log))?;
        Ok(value.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes))
    }

    pub(super) fn commit(&self, changes: &Changes) -> Result<(), String> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write(changes.writes().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    pub(super) fn bytes_on_disk(&self) -> Result<u64, String> {
        self.engine.bytes_on_disk()
    }

    fn write(&self, mut writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), String> {
        let mut current = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut digest = *current;
        for (key, value) in &writes {
            if let Some(old) = self.engine.get(key)? {
                digest.remove(key, &old);
            }
            if let Some(new) = value {
                digest.add(key, new);
            }
        }
        writes.push((DIGEST_KEY.to_vec(), Some(digest.to_be_bytes().to_vec())));
        self.engine.apply(writes)?;
        *current = digest;
        Ok(())
    }
}
