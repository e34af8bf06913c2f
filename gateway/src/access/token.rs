//! Tokens: what somebody shows to act in a role, or a device to get its first certificate.
//!
//! A token is `weir_` and 32 random bytes in URL-safe Base64. It is shown once; what is kept is its SHA-256, from which
//! it cannot be learned, because nobody guesses 256 random bits.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use weir_protocol::Tenant;

use super::role::Role;

/// What every token begins with, so that people and scanners recognise one.
pub const PREFIX: &str = "weir_";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// Random bytes of an id.
const ID_BYTES: usize = 6;
/// The most characters of a name.
pub const MAX_NAME: usize = 128;

/// The SHA-256 of a token.
pub type Hash = [u8; 32];

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The SHA-256 of the token, in Base64.
    pub hash: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(flatten)]
    pub grant: Grant,
    /// The only tenant that it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: i64,
    /// When it ends; never if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
    /// When it was used up, if it is good for once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_ms: Option<i64>,
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// To act in a role.
    Role(Role),
    /// To get one certificate for a name that matches this pattern.
    Enroll(String),
}

/// A new token and its hash.
pub fn make(random: &dyn SecureRandom) -> Option<(String, Hash)> {
    let mut secret = [0; SECRET_BYTES];
    random.fill(&mut secret).ok()?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let hash = hash(&token)?;
    Some((token, hash))
}

/// A new id: what names a token in lists and in the audit.
pub fn id(random: &dyn SecureRandom) -> Option<String> {
    let mut id = [0; ID_BYTES];
    random.fill(&mut id).ok()?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The hash of what may be a token; `None` if it has not the form of one.
pub fn hash(token: &str) -> Option<Hash> {
    let secret = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    (secret.len() == SECRET_BYTES).then_some(())?;
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().ok()
}

/// A hash as it is kept.
pub fn encode(hash: &Hash) -> String {
    URL_SAFE_NO_PAD.encode(hash)
}

/// What [`encode`] wrote.
pub fn decode(text: &str) -> Option<Hash> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl Token {
    /// Whether it has ended by `now_ms`.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }
}
