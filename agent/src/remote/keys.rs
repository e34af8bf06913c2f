//! Ed25519 keys of operators (RFC 8032): whose word this agent takes.
//!
//! As text, a public key is `ed25519:` and its 32 bytes in base64, a signature the 64 bytes in base64, and a secret key
//! `ed25519-secret:` and its PKCS #8 form (RFC 8410) in base64, on the first line of a file that its owner alone may read.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, de};

const PUBLIC: &str = "ed25519:";
const SECRET: &str = "ed25519-secret:";
const PUBLIC_BYTES: usize = 32;

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

/// A secret key. It has no text of its own, so that no log shows it.
pub struct SecretKey(Ed25519KeyPair);

/// Why a key is none.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text of a public key.
    #[error("got {0:?}, expected a public key as `weir-agent config keygen` prints it, \"ed25519:\" and 44 characters")]
    Public(String),
    /// The file of a secret key.
    #[error("{0}: holds no secret key; make one with `weir-agent config keygen --key FILE`")]
    Secret(String),
    /// It cannot be read or written.
    #[error("{0}: {1}")]
    File(String, #[source] std::io::Error),
    /// The system gives no randomness.
    #[error("no randomness to make a key of")]
    Randomness,
}

impl PublicKey {
    /// Whether this key signed `bytes`.
    pub fn verifies(&self, bytes: &[u8], signature: &str) -> bool {
        let signature = STANDARD.decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, &signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = text.strip_prefix(PUBLIC).and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| KeyError::Public(text.to_owned()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl SecretKey {
    /// Makes a key and keeps it in a new file, readable by its owner.
    ///
    /// # Errors
    /// [`KeyError`]; a file that is there stays as it is.
    pub fn generate(path: &Path) -> Result<Self, KeyError> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;

        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Randomness)?;
        let on = |error| KeyError::File(path.display().to_string(), error);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path).map_err(on)?;
        writeln!(file, "{SECRET}{}", STANDARD.encode(pkcs8.as_ref())).map_err(on)?;
        file.sync_all().map_err(on)?;
        Self::read(path)
    }

    /// Reads a key from its file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| KeyError::File(name.clone(), error))?;
        let line = text.lines().next().unwrap_or_default();
        let pkcs8 = line.strip_prefix(SECRET).and_then(|text| STANDARD.decode(text).ok());
        let pair = pkcs8.and_then(|pkcs8| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok());
        pair.map(Self).ok_or(KeyError::Secret(name))
    }

    /// The key that others know it by.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; PUBLIC_BYTES];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs.
    pub fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.0.sign(bytes))
    }
}
