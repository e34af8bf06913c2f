//! Encryption at rest: what the queue keeps is sealed with a key that lies elsewhere.
//!
//! Guarantees: with a key, no reading, identity or channel name reaches the disk in clear; what was changed on the disk
//! does not open, and is damage; no key and nonce are ever used twice. What was written in clear before there was a key
//! stays readable, beside what is sealed.
//!
//! AEAD is ChaCha20-Poly1305 (RFC 8439): as fast as disks on processors without instructions for AES, which edge boxes
//! have. Each opening of the queue derives a key of its own by HKDF-SHA256 (RFC 5869) from the key of the settings and a
//! random salt, the epoch; the nonce counts from 0 under it.
//!
//! Format of sealed bytes: [`SEALED`], version 1, epoch (16 bytes), counter (u64, big endian), ciphertext, tag (16). The
//! additional data says what the bytes are: of which class, with which record key, or which file.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Neither a version of a file nor the first byte of a section.
const SEALED: u8 = 0xe5;
const VERSION: u8 = 1;
const EPOCH_BYTES: usize = 16;
const HEADER_BYTES: usize = 2 + EPOCH_BYTES + 8;
/// What sealing adds to a record, in bytes, and what its length may add.
pub const SEAL_COST: u64 = HEADER_BYTES as u64 + 16 + 2;
/// Derived keys that are kept; one more replaces all.
const MAX_DERIVED: usize = 64;
const INFO: &[u8] = b"weir-agent queue 1";

/// A key of the settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

type Epoch = [u8; EPOCH_BYTES];

/// Seals and opens.
#[derive(Default)]
pub struct Vault {
    sealing: Option<Sealing>,
    /// The key that seals, and the one before it.
    keys: Vec<Key>,
    derived: Mutex<BTreeMap<Epoch, Vec<LessSafeKey>>>,
}

struct Sealing {
    epoch: Epoch,
    key: LessSafeKey,
    counter: AtomicU64,
}

/// Why sealed bytes do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    /// There is no key.
    #[error("the queue is encrypted, and there is no key: set queue.encryption.key_file or credential as before")]
    NoKey,
    /// None of the keys opens them, or they were changed.
    #[error(
        "the key does not open the queue: set queue.encryption to the key that it was written with, or \
         queue.encryption.previous_key_file to that and key_file to the new one"
    )]
    WrongKey,
}

/// The system gives no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random bytes for the encryption of the queue")]
pub struct NoRandom;

impl Vault {
    /// Seals nothing and opens what is in clear.
    pub fn clear() -> Self {
        Self::default()
    }

    /// Seals with `key`, and opens what that or `previous` sealed.
    pub fn with_key(key: Key, previous: Option<Key>) -> Result<Self, NoRandom> {
        let mut epoch = Epoch::default();
        SystemRandom::new().fill(&mut epoch).map_err(|_| NoRandom)?;
        let derived = derive(&key, &epoch).ok_or(NoRandom)?;
        let sealing = Some(Sealing { epoch, key: derived, counter: AtomicU64::new(0) });
        let keys = [Some(key), previous].into_iter().flatten().collect();
        Ok(Self { sealing, keys, derived: Mutex::default() })
    }

    /// Whether what is written is sealed.
    pub fn seals(&self) -> bool {
        self.sealing.is_some()
    }

    /// Whether bytes are sealed with the key that seals now, and not the one before.
    pub(super) fn is_current(&self, bytes: &[u8], what: &[&[u8]]) -> bool {
        let Some(key) = self.keys.first() else { return !is_sealed(bytes) };
        let Some((epoch, counter, sealed)) = split(bytes) else { return false };
        derive(key, &epoch).is_some_and(|key| open(&key, counter, what, sealed).is_some())
    }

    /// The bytes as they are stored; `what` they are.
    pub fn seal(&self, what: &[&[u8]], bytes: Vec<u8>) -> Vec<u8> {
        let Some(sealing) = &self.sealing else { return bytes };
        let counter = sealing.counter.fetch_add(1, Ordering::Relaxed);
        let mut sealed = Vec::with_capacity(HEADER_BYTES + bytes.len() + 16);
        sealed.extend_from_slice(&[SEALED, VERSION]);
        sealed.extend_from_slice(&sealing.epoch);
        sealed.extend_from_slice(&counter.to_be_bytes());
        let mut body = bytes;
        let whole = sealing.key.seal_in_place_append_tag(nonce(counter), Aad::from(aad(what)), &mut body);
        // It fails above some 256 GiB, which no record is: what is not sealed is not written.
        debug_assert!(whole.is_ok(), "a record larger than any");
        if whole.is_ok() {
            sealed.extend_from_slice(&body);
        }
        sealed
    }

    /// Stored bytes as they were.
    pub fn open(&self, what: &[&[u8]], bytes: &[u8]) -> Result<Option<Vec<u8>>, Locked> {
        if !is_sealed(bytes) {
            return Ok(None);
        }
        if self.keys.is_empty() {
            return Err(Locked::NoKey);
        }
        let (epoch, counter, sealed) = split(bytes).ok_or(Locked::WrongKey)?;
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if derived.len() >= MAX_DERIVED && !derived.contains_key(&epoch) {
            derived.clear();
        }
        let keys =
            derived.entry(epoch).or_insert_with(|| self.keys.iter().filter_map(|key| derive(key, &epoch)).collect());
        let opened = keys.iter().find_map(|key| open(key, counter, what, sealed));
        opened.map(Some).ok_or(Locked::WrongKey)
    }
}

/// Whether bytes are sealed.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SEALED)
}

/// Epoch, counter, and ciphertext with its tag.
fn split(bytes: &[u8]) -> Option<(Epoch, u64, &[u8])> {
    let (header, sealed) = bytes.split_at_checked(HEADER_BYTES)?;
    let (version, rest) = header.split_at(2);
    let epoch = rest.first_chunk::<EPOCH_BYTES>()?;
    let counter = rest.last_chunk::<8>()?;
    (version == [SEALED, VERSION]).then(|| (*epoch, u64::from_be_bytes(*counter), sealed))
}

fn open(key: &LessSafeKey, counter: u64, what: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = sealed.to_vec();
    let length = key.open_in_place(nonce(counter), Aad::from(aad(what)), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Each part with its length before it, so that no two lists are the same bytes.
fn aad(what: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in what {
        bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// The length of a derived key, as `ring` wants to be told.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn derive(key: &Key, epoch: &Epoch) -> Option<LessSafeKey> {
    let mut bytes = [0; 32];
    Salt::new(HKDF_SHA256, epoch).extract(&key.0).expand(&[INFO], Length).ok()?.fill(&mut bytes).ok()?;
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[&[u8]] = &[b"record", b"alarm"];

    fn vault(key: u8, previous: Option<u8>) -> Vault {
        Vault::with_key(Key([key; 32]), previous.map(|key| Key([key; 32]))).expect("random bytes")
    }

    #[test]
    fn only_the_key_opens_it_and_only_as_what_it_was() {
        let one = vault(1, None);
        let sealed = one.seal(RECORD, b"21.5".to_vec());
        assert!(sealed.windows(4).all(|window| window != b"21.5"));
        assert_eq!(one.open(RECORD, &sealed), Ok(Some(b"21.5".to_vec())));
        assert_eq!(one.open(&[b"record", b"default"], &sealed), Err(Locked::WrongKey));
        assert_eq!(one.open(&[b"recordalarm"], &sealed), Err(Locked::WrongKey));
        assert_eq!(vault(2, None).open(RECORD, &sealed), Err(Locked::WrongKey));
        assert_eq!(Vault::clear().open(RECORD, &sealed), Err(Locked::NoKey));
        assert_eq!(vault(2, Some(1)).open(RECORD, &sealed), Ok(Some(b"21.5".to_vec())));
        assert!(one.is_current(&sealed, RECORD) && !vault(2, Some(1)).is_current(&sealed, RECORD));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_ne!(one.open(RECORD, &changed), Ok(Some(b"21.5".to_vec())), "byte {at}");
        }
        for length in 1..sealed.len() {
            assert_eq!(one.open(RECORD, &sealed[..length]), Err(Locked::WrongKey));
        }
    }

    #[test]
    fn nothing_is_sealed_twice_alike() {
        let one = vault(1, None);
        let sealed: std::collections::BTreeSet<_> = (0..100).map(|_| one.seal(RECORD, b"21.5".to_vec())).collect();
        assert_eq!(sealed.len(), 100);
        assert_ne!(
            vault(1, None).seal(RECORD, b"x".to_vec())[2..18],
            vault(1, None).seal(RECORD, b"x".to_vec())[2..18]
        );
    }

    /// A known answer, so that another build opens what this one sealed.
    #[test]
    fn the_format_is_as_ever() {
        let epoch = [7; EPOCH_BYTES];
        let key = derive(&Key([1; 32]), &epoch).expect("a key");
        let vault = Vault { sealing: Some(Sealing { epoch, key, counter: AtomicU64::new(5) }), ..vault(1, None) };
        let hex: String = vault.seal(RECORD, b"21.5".to_vec()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "e50107070707070707070707070707070707000000000000000558d6ed3662a9f3f9670bb85450192f3109daa119");
    }
}
