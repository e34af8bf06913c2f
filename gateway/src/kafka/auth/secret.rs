//! What is kept of a password.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Deserializer, de};

/// How often a password may be hashed: below, it is guessed too fast; above, a login costs seconds.
pub const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;
/// The most bytes of a password.
pub const MOST_PASSWORD: usize = 1024;

const NAME: &str = "SCRAM-SHA-256";
const SALT_BYTES: RangeInclusive<usize> = 8..=64;
pub(super) const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// A key of SCRAM-SHA-256.
pub(super) type Key = [u8; KEY_BYTES];

/// What verifies a password and cannot be turned back into it: salt, iterations, StoredKey and ServerKey of RFC 5802,
/// section 3, in the text form that PostgreSQL gives them:
/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the last three in Base64.
///
/// The password is hashed as the bytes that it is typed as, without SASLprep: so do Kafka's own clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

/// A text is no [`Secret`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected {NAME}$<iterations>:<salt>$<StoredKey>:<ServerKey> with {} to {} iterations; \
     `weir-gateway user add NAME` prints it",
    ITERATIONS.start(),
    ITERATIONS.end()
)]
pub struct NotASecret;

impl Secret {
    /// Derives the secret of a password; it takes as long as `iterations` say.
    pub fn of(password: &[u8], iterations: NonZeroU32, salt: Vec<u8>) -> Self {
        let mut salted: Key = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut salted);
        let client_key = sign(&salted, b"Client Key");
        Self { iterations, salt, stored_key: hash(&client_key), server_key: sign(&salted, b"Server Key") }
    }

    /// Whether this is the password; it takes as long as making the secret did.
    pub fn verifies(&self, password: &[u8]) -> bool {
        let given = Self::of(password, self.iterations, self.salt.clone());
        equal(&given.stored_key, &self.stored_key)
    }
}

impl FromStr for Secret {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let parts = || {
            let (iterations, rest) = text.strip_prefix(NAME)?.strip_prefix('$')?.split_once(':')?;
            let (salt, keys) = rest.split_once('$')?;
            let (stored_key, server_key) = keys.split_once(':')?;
            let salt = STANDARD.decode(salt).ok().filter(|salt| SALT_BYTES.contains(&salt.len()))?;
            Some(Self {
                iterations: iterations.parse().ok().filter(|count: &NonZeroU32| ITERATIONS.contains(&count.get()))?,
                salt,
                stored_key: STANDARD.decode(stored_key).ok()?.try_into().ok()?,
                server_key: STANDARD.decode(server_key).ok()?.try_into().ok()?,
            })
        };
        parts().ok_or(NotASecret)
    }
}

impl fmt::Display for Secret {
    /// The text for the settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        write!(f, "{NAME}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for Secret {
    /// Without the keys: settings are printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// HMAC-SHA-256.
pub(super) fn sign(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    copied(tag.as_ref())
}

/// SHA-256.
pub(super) fn hash(message: &[u8]) -> Key {
    copied(digest::digest(&digest::SHA256, message).as_ref())
}

/// Compares keys in constant time, by the verification of their digests that the library makes so.
pub(super) fn equal(one: &Key, other: &Key) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"compare");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

fn copied(bytes: &[u8]) -> Key {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(bytes);
    key
}
