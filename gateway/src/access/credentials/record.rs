//! The records of `weir.access`, version 1.
//!
//! ```text
//! key    version u8 = 1, kind u8 (1 user, 2 token), name (UTF-8): the user's, or the token's id
//! value  version u8 = 1, JSON: of a user {"tenant", "clients", "password", "version", "at_ms"},
//!        of a token {"hash", "name", "role" or "enroll", "tenant"?, "made_ms", "expires_ms"?, "used_ms"?}
//!        none: it was removed
//! ```
//!
//! A reader leaves alone what is of another version or kind; compaction keeps it by its key like any other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use weir_protocol::Tenant;

use crate::access::password::Phc;
use crate::access::token::Token;
use crate::topics::rules::Pattern;

const VERSION: u8 = 1;
const USER: u8 = 1;
const TOKEN: u8 = 2;

/// A change of what is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A user of MQTT is this; `None`: it is no more.
    User(Arc<str>, Option<Arc<User>>),
    /// A token, by its id.
    Token(Arc<str>, Option<Arc<Token>>),
}

/// A device that proves itself with a password.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Whose it is.
    pub tenant: Tenant,
    /// The client ids that it may take; `None`: its own name.
    pub clients: Option<Pattern>,
    /// What verifies its password.
    pub password: Arc<Phc>,
    /// Tells this password from those before it.
    pub version: u64,
    /// When it was set, in milliseconds since 1970.
    pub at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredUser {
    tenant: Tenant,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<String>,
    password: String,
    // A JavaScript number does not hold it.
    version: String,
    at_ms: i64,
}

/// A record that is none of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a record of another version or kind, or none at all")]
pub struct Foreign;

impl Change {
    /// Key and value.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let (kind, name, value) = match self {
            Self::User(name, user) => (USER, name, user.as_ref().map(|user| user.stored())),
            Self::Token(id, token) => (TOKEN, id, token.as_ref().and_then(|token| serde_json::to_vec(&**token).ok())),
        };
        let key = [&[VERSION, kind], name.as_bytes()].concat();
        (key, value.map(|json| [&[VERSION], &json[..]].concat()))
    }

    /// What [`Change::encode`] wrote.
    ///
    /// # Errors
    /// [`Foreign`].
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, Foreign> {
        let [VERSION, kind, name @ ..] = key else { return Err(Foreign) };
        let name: Arc<str> = std::str::from_utf8(name).map_err(|_| Foreign)?.into();
        let json = match value {
            None => None,
            Some([VERSION, json @ ..]) => Some(json),
            Some(_) => return Err(Foreign),
        };
        match *kind {
            USER => Ok(Self::User(name, json.map(User::of_stored).transpose()?.map(Arc::new))),
            TOKEN => {
                let token = json.map(|json| serde_json::from_slice(json).map_err(|_| Foreign)).transpose()?;
                Ok(Self::Token(name, token.map(Arc::new)))
            }
            _ => Err(Foreign),
        }
    }
}

impl User {
    fn stored(&self) -> Vec<u8> {
        let stored = StoredUser {
            tenant: self.tenant,
            clients: self.clients.as_ref().map(ToString::to_string),
            password: self.password.as_str().to_owned(),
            version: self.version.to_string(),
            at_ms: self.at_ms,
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    fn of_stored(json: &[u8]) -> Result<Self, Foreign> {
        let stored: StoredUser = serde_json::from_slice(json).map_err(|_| Foreign)?;
        Ok(Self {
            tenant: stored.tenant,
            clients: stored.clients.map(|text| Pattern::new(&text).map_err(|_| Foreign)).transpose()?,
            password: Arc::new(Phc::new(&stored.password).map_err(|_| Foreign)?),
            version: stored.version.parse().map_err(|_| Foreign)?,
            at_ms: stored.at_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::role::Role;
    use crate::access::token::Grant;

    /// Version 1 is frozen: these bytes are read and written for ever.
    #[test]
    fn the_bytes_of_version_1() {
        let password = "$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHRzYWx0$ZmFrZWZha2VmYWtlZmFrZWZha2VmYWtlZmFrZWZha2U";
        let user = User {
            tenant: Tenant::new("acme").unwrap(),
            clients: Some(Pattern::new("pump-*").unwrap()),
            password: Arc::new(Phc::new(password).unwrap()),
            version: u64::MAX,
            at_ms: 1_795_230_000_000,
        };
        let token = |grant, tenant, expires_ms, used_ms| Token {
            hash: "aGFzaA".to_owned(),
            name: "lake".to_owned(),
            grant,
            tenant,
            made_ms: 1,
            expires_ms,
            used_ms,
        };
        let user_json = format!(
            "\u{1}{{\"tenant\":\"acme\",\"clients\":\"pump-*\",\"password\":\"{password}\",\
             \"version\":\"18446744073709551615\",\"at_ms\":1795230000000}}"
        );
        for (change, key, value) in [
            (Change::User("p".into(), Some(Arc::new(user))), "\u{1}\u{1}p", Some(user_json.as_str())),
            (
                Change::Token("7f".into(), Some(Arc::new(token(Grant::Role(Role::Viewer), None, None, None)))),
                "\u{1}\u{2}7f",
                Some("\u{1}{\"hash\":\"aGFzaA\",\"name\":\"lake\",\"role\":\"viewer\",\"made_ms\":1}"),
            ),
            (
                Change::Token(
                    "7f".into(),
                    Some(Arc::new(token(Grant::Enroll("p*".into()), Some(Tenant::DEFAULT), Some(2), Some(3)))),
                ),
                "\u{1}\u{2}7f",
                Some(
                    "\u{1}{\"hash\":\"aGFzaA\",\"name\":\"lake\",\"enroll\":\"p*\",\"tenant\":\"default\",\
                     \"made_ms\":1,\"expires_ms\":2,\"used_ms\":3}",
                ),
            ),
            (Change::User("p".into(), None), "\u{1}\u{1}p", None),
        ] {
            let encoded = change.encode();
            assert_eq!(encoded.0, key.as_bytes());
            assert_eq!(encoded.1.as_deref().map(String::from_utf8_lossy).as_deref(), value);
            assert_eq!(Change::decode(key.as_bytes(), value.map(str::as_bytes)), Ok(change));
        }
    }

    #[test]
    fn what_another_build_wrote_is_left_alone() {
        for (key, value) in [
            (&b""[..], None),
            (b"\x02\x01p", None),
            (b"\x01\x09p", None),
            (b"\x01\x01\xff", None),
            (b"\x01\x01p", Some(&b"\x02{}"[..])),
            (b"\x01\x01p", Some(b"\x01{}")),
            (b"\x01\x02p", Some(b"\x01{\"hash\":1}")),
            (b"\x01\x02p", Some(b"")),
        ] {
            assert_eq!(Change::decode(key, value), Err(Foreign), "{key:?} {value:?}");
        }
    }
}
