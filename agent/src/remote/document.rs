//! What an operator signs: settings, or a command.
//!
//! Text, in this order, each line ended by a newline:
//!
//! ```text
//! weir config 1                         the kind and the version of the format
//! agent = "edge-*"                      the header, TOML: whom it is for, `*` and `?` match
//! version = 7                           settings only: must rise with every document
//! issued = 1795327200                   seconds since 1970
//! expires = 1797919200                  not begun after this
//! ---
//! [uplink]                              settings only: TOML as in the settings file
//! batch_interval = "1s"
//! ---
//! ed25519:<public key> <signature>      over every byte before this line
//! ```
//!
//! A command begins with `weir command 1`; its header has `id`, `name` and `args` instead of `version`, and it has no
//! settings. What is signed is the bytes as they are, so nothing has to be brought into a canonical form, and the first
//! line keeps a document of one kind from being taken for one of the other.
//!
//! Guarantees: nothing of a document is looked into before its signature is known to be good; a document is at most
//! [`MAX_ORDER`] bytes.

use serde::Deserialize;
use weir_protocol::mqtt::MAX_ORDER;
use weir_protocol::name::Name;
use weir_protocol::settings::Source;

use super::keys::{PublicKey, SecretKey};
use crate::glob;

const CONFIG: &str = "weir config 1\n";
const COMMAND: &str = "weir command 1\n";
const RULER: &str = "---\n";
/// How far ahead of the clock of this machine a document may be issued: two clocks never agree, in seconds.
const AHEAD: i64 = 300;

/// The header of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whom it is for.
    pub agent: String,
    /// When it was signed, in seconds since 1970.
    pub issued: i64,
    /// Not begun after this, in seconds since 1970.
    pub expires: i64,
}

/// Settings that an operator signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedConfig {
    /// For whom and until when.
    pub header: Header,
    /// Rises with every document.
    pub version: u64,
    /// TOML.
    pub settings: String,
}

/// A command that an operator signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCommand {
    /// For whom and until when.
    pub header: Header,
    /// Its own, never used again.
    pub id: Name,
    /// Which command of the allow list.
    pub name: String,
    /// What is handed to it.
    pub args: Vec<String>,
}

/// Either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Settings.
    Config(SignedConfig),
    /// A command.
    Command(SignedCommand),
}

/// Why a document is not obeyed, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Too many bytes.
    #[error("got {0} bytes, expected at most {MAX_ORDER}")]
    TooLarge(usize),
    /// It is not in the form of one.
    #[error("no signed document: {0}")]
    Form(&'static str),
    /// The key is not one of those that are trusted.
    #[error("signed by {0}, which is not in remote.trust")]
    Untrusted(String),
    /// The signature is not of that key and these bytes.
    #[error("the signature is wrong: the document was changed after it was signed")]
    Signature,
    /// The header, which was signed so.
    #[error("{0}")]
    Header(String),
}

impl DocumentError {
    /// Whether somebody who is trusted said it.
    pub fn is_authentic(&self) -> bool {
        matches!(self, Self::Header(_))
    }
}

/// Why a document is not for this agent at this time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// For others.
    #[error("for agent {0:?}, and this one is {1}")]
    Another(String, String),
    /// Too late.
    #[error("expired {0} s ago")]
    Expired(i64),
    /// By the clock of this machine it is signed in the future.
    #[error("issued {0} s ahead of the clock of this machine; is the clock right?")]
    Ahead(i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigHeader {
    agent: String,
    version: u64,
    issued: i64,
    expires: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandHeader {
    agent: String,
    id: Name,
    name: String,
    #[serde(default)]
    args: Vec<String>,
    issued: i64,
    expires: i64,
}

impl Header {
    /// Whether it is for `agent`, and may begin at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`NotNow`].
    pub fn check(&self, agent: &str, now: i64) -> Result<(), NotNow> {
        if !glob::fits(&self.agent, agent) {
            return Err(NotNow::Another(self.agent.clone(), agent.to_owned()));
        }
        if self.issued.saturating_sub(now) > AHEAD {
            return Err(NotNow::Ahead(self.issued.saturating_sub(now)));
        }
        if now > self.expires {
            return Err(NotNow::Expired(now.saturating_sub(self.expires)));
        }
        Ok(())
    }

    fn text(&self) -> String {
        let Self { agent, issued, expires } = self;
        format!("agent = {agent:?}\nissued = {issued}\nexpires = {expires}\n")
    }
}

impl Document {
    /// Reads a document that one of `trusted` signed.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn open(payload: &[u8], trusted: &[PublicKey]) -> Result<Self, DocumentError> {
        let (text, key, signature) = parts(payload)?;
        if !trusted.contains(&key) {
            return Err(DocumentError::Untrusted(key.to_string()));
        }
        if !key.verifies(text.as_bytes(), signature) {
            return Err(DocumentError::Signature);
        }
        Self::parse(text)
    }

    /// Who claims to have signed a document.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn signer(payload: &[u8]) -> Result<PublicKey, DocumentError> {
        parts(payload).map(|(_, key, _)| key)
    }

    fn parse(text: &str) -> Result<Self, DocumentError> {
        let header = |header: &str| Source::new("header", header);
        let refused = |error: weir_protocol::settings::SettingsError| DocumentError::Header(error.to_string());
        if let Some(rest) = text.strip_prefix(CONFIG) {
            let split = rest.split_once(RULER).filter(|(head, _)| are_lines(head));
            let (head, settings) = split.ok_or(DocumentError::Form("no line --- behind the header"))?;
            let settings = settings.strip_suffix(RULER).filter(|settings| are_lines(settings));
            let settings = settings.ok_or(DocumentError::Form("no line --- behind the settings"))?;
            let ConfigHeader { agent, version, issued, expires } = header(head).parse().map_err(refused)?;
            let header = Header { agent, issued, expires };
            return Ok(Self::Config(SignedConfig { header, version, settings: settings.to_owned() }));
        }
        let rest = text.strip_prefix(COMMAND).ok_or(DocumentError::Form("it begins with neither kind"))?;
        let head = rest.strip_suffix(RULER).filter(|head| are_lines(head));
        let head = head.ok_or(DocumentError::Form("no line --- behind the header"))?;
        let CommandHeader { agent, id, name, args, issued, expires } = header(head).parse().map_err(refused)?;
        Ok(Self::Command(SignedCommand { header: Header { agent, issued, expires }, id, name, args }))
    }

    /// Signs.
    ///
    /// # Errors
    /// [`DocumentError::TooLarge`].
    pub fn sign(&self, key: &SecretKey) -> Result<String, DocumentError> {
        let mut text = match self {
            Self::Config(SignedConfig { header, version, settings }) => {
                let newline = if are_lines(settings) { "" } else { "\n" };
                format!("{CONFIG}version = {version}\n{}{RULER}{settings}{newline}{RULER}", header.text())
            }
            Self::Command(SignedCommand { header, id, name, args }) => {
                let header = header.text();
                format!("{COMMAND}id = \"{id}\"\nname = {name:?}\nargs = {args:?}\n{header}{RULER}")
            }
        };
        // What is signed must be what is read.
        Self::parse(&text)?;
        let signature = key.sign(text.as_bytes());
        text.push_str(&format!("{} {signature}\n", key.public()));
        if text.len() > MAX_ORDER { Err(DocumentError::TooLarge(text.len())) } else { Ok(text) }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        match self {
            Self::Config(config) => &config.header,
            Self::Command(command) => &command.header,
        }
    }
}

/// Whether what comes next begins a line.
fn are_lines(text: &str) -> bool {
    text.is_empty() || text.ends_with('\n')
}

/// What is signed, by whom it says it is, and the signature.
fn parts(payload: &[u8]) -> Result<(&str, PublicKey, &str), DocumentError> {
    if payload.len() > MAX_ORDER {
        return Err(DocumentError::TooLarge(payload.len()));
    }
    let text = std::str::from_utf8(payload).map_err(|_| DocumentError::Form("it is no text"))?;
    let whole = text.strip_suffix('\n').unwrap_or(text);
    let start = whole.rfind('\n').ok_or(DocumentError::Form("it has one line"))? + 1;
    let (key, signature) =
        whole[start..].split_once(' ').ok_or(DocumentError::Form("the last line is no signature"))?;
    let key = key.parse().map_err(|_| DocumentError::Form("the last line is no signature"))?;
    Ok((&text[..start], key, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (tempfile::TempDir, SecretKey) {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::generate(&dir.path().join("key")).unwrap();
        (dir, key)
    }

    fn config(settings: &str) -> Document {
        let header = Header { agent: "edge-*".to_owned(), issued: 100, expires: 200 };
        Document::Config(SignedConfig { header, version: 7, settings: settings.to_owned() })
    }

    #[test]
    fn what_is_signed_is_read_as_it_was_and_every_changed_byte_is_seen() {
        let (_dir, key) = key();
        let header = Header { agent: "edge-\"1\"".to_owned(), issued: 100, expires: 200 };
        let args = vec!["wlan0".to_owned(), "a \"b\" \\ c".to_owned()];
        let command = SignedCommand { header, id: Name::new("c-1").unwrap(), name: "restart".to_owned(), args };
        for document in [config("drain = \"3s\"\n# ---\n"), config(""), Document::Command(command)] {
            let signed = document.sign(&key).unwrap().into_bytes();
            let opened = Document::open(&signed, &[key.public()]);
            assert_eq!(opened, Ok(document));
            for at in 0..signed.len() - 1 {
                let mut changed = signed.clone();
                changed[at] ^= 1;
                assert!(Document::open(&changed, &[key.public()]).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn settings_of_another_key_are_not_looked_into() {
        let ((_dir, key), (_other_dir, other)) = (key(), self::key());
        let signed = config("no settings at all").sign(&other).unwrap();
        let refused = Document::open(signed.as_bytes(), &[key.public()]).unwrap_err();
        assert_eq!(refused, DocumentError::Untrusted(other.public().to_string()));
        assert!(!refused.is_authentic());
        // Signed by one, and said to be by the other.
        let forged = signed.replace(&other.public().to_string(), &key.public().to_string());
        assert_eq!(Document::open(forged.as_bytes(), &[key.public()]), Err(DocumentError::Signature));
    }

    /// `----` was taken for a dash of the settings and the line that ends them.
    #[test]
    fn only_a_line_of_its_own_ends_a_part() {
        let (_dir, key) = key();
        for text in [
            "weir config 1\nagent = \"a\"\nversion = 1\nissued = 1\nexpires = 2\n---\n----\n",
            "weir config 1\nagent = \"a\"\nversion = 1\nissued = 1\nexpires = 2 ---\n---\n",
            "weir command 1\nagent = \"a\"\nid = \"c\"\nname = \"n\"\nissued = 1\nexpires = 2 ---\n",
        ] {
            let signed = format!("{text}{} {}\n", key.public(), key.sign(text.as_bytes()));
            let refused = Document::open(signed.as_bytes(), &[key.public()]);
            assert!(matches!(refused, Err(DocumentError::Form(_))), "{text}: {refused:?}");
        }
    }

    #[test]
    fn a_document_that_is_too_large_is_neither_signed_nor_read() {
        let (_dir, key) = key();
        let settings = "#\n".repeat(MAX_ORDER / 2);
        assert!(matches!(config(&settings).sign(&key), Err(DocumentError::TooLarge(_))));
        let too_large = vec![b'\n'; MAX_ORDER + 1];
        assert_eq!(Document::open(&too_large, &[key.public()]), Err(DocumentError::TooLarge(MAX_ORDER + 1)));
    }

    #[test]
    fn a_header_is_for_some_agents_and_for_some_time() {
        let header = Header { agent: "edge-?".to_owned(), issued: 1000, expires: 2000 };
        assert_eq!(header.check("edge-1", 1000), Ok(()));
        assert_eq!(header.check("edge-1", 2000), Ok(()));
        assert_eq!(header.check("edge-1", 2001), Err(NotNow::Expired(1)));
        assert_eq!(header.check("edge-1", 699), Err(NotNow::Ahead(301)));
        assert!(matches!(header.check("edge-12", 1500), Err(NotNow::Another(..))));
    }
}
