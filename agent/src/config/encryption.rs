//! `[queue.encryption]`: where the key of the queue is.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use weir_protocol::settings::{SettingsError, Source, Spanned};

use crate::queue::vault::Key;

/// The largest file that is read for a key, in bytes.
const MAX_FILE: u64 = 4096;
/// Where systemd puts the credentials of a unit (systemd.exec(5), LoadCredential=).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where the key of the queue is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncryptionConfig {
    /// A file with 32 bytes, as they are, in base64 or in hexadecimal.
    pub key_file: Option<Spanned<PathBuf>>,
    /// The same as a credential of the systemd unit, by its name.
    pub credential: Option<Spanned<String>>,
    /// The key before this one, which still opens what it sealed.
    pub previous_key_file: Option<PathBuf>,
}

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("{}: {source}; a key is made with: head -c 32 /dev/urandom | base64 > FILE", path.display())]
    Read {
        /// Of the key.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no key.
    #[error("{}: got {got} bytes that are no key, expected 32 bytes, as they are, in base64 or in hexadecimal", path.display())]
    NoKey {
        /// Of the key.
        path: PathBuf,
        /// Its length.
        got: usize,
    },
    /// The section names none.
    #[error("[queue.encryption] names no key: set key_file or credential")]
    NotNamed,
    /// systemd gave none.
    #[error("there is no credential {0}: add LoadCredential={0}:/path/of/the/key to the unit, or set key_file instead")]
    NoCredential(String),
}

impl EncryptionConfig {
    /// The key that seals, and the one before it.
    ///
    /// # Errors
    /// [`KeyError`]. A section that names no key never means that nothing is sealed.
    pub fn keys(&self) -> Result<(Key, Option<Key>), KeyError> {
        let path = match (&self.key_file, &self.credential) {
            (Some(path), _) => path.get_ref().clone(),
            (None, Some(name)) => {
                let dir =
                    std::env::var_os(CREDENTIALS).ok_or_else(|| KeyError::NoCredential(name.get_ref().clone()))?;
                Path::new(&dir).join(name.get_ref())
            }
            (None, None) => return Err(KeyError::NotNamed),
        };
        let previous = self.previous_key_file.as_deref().map(read).transpose()?;
        Ok((read(&path)?, previous))
    }

    /// Whether it makes sense.
    pub(super) fn check(section: &Spanned<Self>, source: &Source) -> Result<(), SettingsError> {
        let this = section.get_ref();
        if this.key_file.is_none() && this.credential.is_none() {
            // Whoever wrote the section believes that the queue is sealed.
            let message = "got no key, expected key_file or credential";
            let help =
                "set key_file = \"/etc/weir/queue.key\", or remove [queue.encryption]: nothing is encrypted then";
            return Err(source.error(section.span(), message).with_help(help));
        }
        if let (Some(_), Some(credential)) = (&this.key_file, &this.credential) {
            let message = "got a credential beside key_file, expected one of them";
            return Err(source.error(credential.span(), message).with_help("remove one"));
        }
        match &this.credential {
            Some(name) if name.get_ref().is_empty() || name.get_ref().contains('/') => {
                let help = "write the name in LoadCredential=NAME:PATH of the unit";
                Err(source.error(name.span(), format!("got {:?}, expected a name", name.get_ref())).with_help(help))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Key, KeyError> {
    use std::io::Read;
    let unreadable = |source| KeyError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(unreadable)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    key(&bytes).ok_or_else(|| KeyError::NoKey { path: path.to_owned(), got: bytes.len() })
}

/// 32 bytes as they are, in base64 or in hexadecimal.
fn key(bytes: &[u8]) -> Option<Key> {
    if let Ok(raw) = bytes.try_into() {
        return Some(Key(raw));
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let pairs = text.as_bytes().as_chunks::<2>().0.iter();
    let hex = || pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let decoded: Option<Vec<u8>> = if text.len() == 64 { hex() } else { BASE64_STANDARD.decode(text).ok() };
    Some(Key(decoded?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_three_forms_and_nothing_else_is_a_key() {
        let raw: Vec<u8> = (0..32).collect();
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = BASE64_STANDARD.encode(&raw);
        for form in [raw.clone(), hex.into_bytes(), format!("{base64}\n").into_bytes()] {
            assert!(key(&form).is_some_and(|key| key.0[..] == raw[..]));
        }
        for wrong in [&b""[..], b"secret", &raw[..31], b"AAAA"] {
            assert!(key(wrong).is_none());
        }
    }
}
