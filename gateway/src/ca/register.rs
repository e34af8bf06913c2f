//! What the authority has given out, and what it has revoked.
//!
//! What it guarantees: what was appended is durable; an append that was cut off is as if it had never begun, and nobody
//! has its certificate. A register that is damaged elsewhere is not believed at all: who is missing in it could not be
//! revoked, and who is forgotten as revoked would come back.
//!
//! Format: text, one line for each event, appended: CRC-32C of the rest of the line in 8 hexadecimal digits, a space, and
//! a JSON object with `"version": 1` and either `issued` (serial, tenant, name, not_after in seconds since 1970) or
//! `revoked` (serial, at).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use weir_protocol::Tenant;

use super::files::Locked;
use super::{CaError, Certificate, Owner};
use crate::access::ClientId;
use crate::tls::Serial;

/// The most certificates that are good at a time.
pub const MOST_ISSUED: usize = 1_000_000;
/// The longest line, in bytes: the longest client id, every byte of it escaped, has room.
const MAX_LINE: usize = 4096;
const VERSION: u8 = 1;

/// Why the register is not believed, or takes no more.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not as it was written.
    #[error("{}: line {line} is damaged: {why}. Nothing is issued or revoked with it: put the file back from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// There are as many as there may be.
    #[error("{MOST_ISSUED} certificates are good now, which is the most")]
    Full,
}

/// A certificate that was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its number.
    pub serial: Serial,
    /// Whose it is.
    pub tenant: Tenant,
    /// The name there.
    pub name: ClientId,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// When it was revoked, in seconds since 1970.
    pub revoked_at: Option<i64>,
}

impl Issued {
    pub(super) fn of(owner: &Owner, certificate: &Certificate) -> Self {
        let Certificate { serial, not_after, .. } = certificate;
        let (tenant, name) = (owner.tenant, owner.name.clone());
        Self { serial: serial.clone(), tenant, name, not_after: *not_after, revoked_at: None }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    version: u8,
    #[serde(flatten)]
    event: Event,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Issued { serial: String, tenant: String, name: String, not_after: i64 },
    Revoked { serial: String, at: i64 },
}

/// What was read of the file so far.
pub struct Register {
    path: PathBuf,
    read: u64,
    lines: usize,
    good: BTreeMap<Serial, Issued>,
}

impl Register {
    /// The register at `path`, of which nothing is read yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0, lines: 0, good: BTreeMap::new() }
    }

    /// Every certificate that is not over, revoked ones too, by serial number.
    pub(super) fn all(&self) -> impl Iterator<Item = &Issued> {
        self.good.values()
    }

    /// Whether a certificate is `owner`'s, not over and not revoked.
    pub(super) fn is_of(&self, serial: &[u8], owner: &Owner) -> bool {
        let is_of = |issued: &Issued| (issued.tenant, &issued.name) == (owner.tenant, &owner.name);
        self.good.get(serial).is_some_and(|issued| issued.revoked_at.is_none() && is_of(issued))
    }

    /// Reads what was appended since, by whomever, and forgets what is over at `now`.
    pub(super) fn read_on(&mut self, now: i64) -> Result<(), RegisterError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| RegisterError::Io { path, source }
        };
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(self.read)).map_err(io(&self.path))?;
                file.read_to_end(&mut bytes).map_err(io(&self.path))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound && self.read == 0 => (),
            Err(error) => return Err(io(&self.path)(error)),
        }
        // What follows the last line's end was never finished; the next append cuts it off.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            let event = parse(line).map_err(|why| self.damaged(why))?;
            self.apply(event).map_err(|why| self.damaged(why))?;
            self.lines += 1;
        }
        self.read += whole as u64;
        self.good.retain(|_, issued| issued.not_after >= now);
        Ok(())
    }

    /// Appends that a certificate is given out.
    pub(super) fn issue(&mut self, lock: &Locked, issued: Issued) -> Result<(), CaError> {
        if self.good.len() >= MOST_ISSUED {
            return Err(RegisterError::Full.into());
        }
        let Issued { serial, tenant, name, not_after, .. } = &issued;
        let (tenant, name) = (tenant.to_string(), name.to_string());
        self.append(lock, Event::Issued { serial: serial.to_string(), tenant, name, not_after: *not_after })?;
        self.good.insert(issued.serial.clone(), issued);
        Ok(())
    }

    /// Appends that a certificate is revoked.
    pub(super) fn revoke(&mut self, lock: &Locked, serial: &Serial, at: i64) -> Result<(), CaError> {
        self.append(lock, Event::Revoked { serial: serial.to_string(), at })?;
        if let Some(issued) = self.good.get_mut(serial) {
            issued.revoked_at.get_or_insert(at);
        }
        Ok(())
    }

    fn append(&mut self, lock: &Locked, event: Event) -> Result<(), CaError> {
        let line = written(&Line { version: VERSION, event });
        if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > self.read) {
            lock.cut(&self.path, self.read)?;
        }
        lock.append(&self.path, &line)?;
        self.read += line.len() as u64;
        self.lines += 1;
        Ok(())
    }

    fn apply(&mut self, event: Event) -> Result<(), String> {
        let number = |text: &str| Serial::parse(text).ok_or_else(|| format!("{text:?} is no serial number"));
        match event {
            Event::Issued { serial, tenant, name, not_after } => {
                let serial = number(&serial)?;
                let tenant = tenant.parse().map_err(|_| format!("{tenant:?} is no tenant"))?;
                let name = ClientId::new(&name).map_err(|error| error.to_string())?;
                let issued = Issued { serial: serial.clone(), tenant, name, not_after, revoked_at: None };
                self.good.insert(serial, issued);
            }
            Event::Revoked { serial, at } => {
                if let Some(issued) = self.good.get_mut(&number(&serial)?) {
                    issued.revoked_at.get_or_insert(at);
                }
            }
        }
        Ok(())
    }

    fn damaged(&self, why: String) -> RegisterError {
        RegisterError::Damaged { path: self.path.clone(), line: self.lines + 1, why }
    }
}

fn written(line: &Line) -> Vec<u8> {
    // Strings and numbers always serialise.
    let json = serde_json::to_string(line).unwrap_or_default();
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes()
}

fn parse(line: &[u8]) -> Result<Event, String> {
    if line.len() > MAX_LINE {
        return Err(format!("got {} bytes, expected at most {MAX_LINE}", line.len()));
    }
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let (sum, json) = text.trim_end().split_once(' ').ok_or("no checksum")?;
    let expected = crc32c::crc32c(json.as_bytes());
    if u32::from_str_radix(sum, 16) != Ok(expected) {
        return Err(format!("got checksum {sum}, expected {expected:08x}"));
    }
    let line: Line = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if line.version != VERSION {
        return Err(format!("got version {}, expected {VERSION}", line.version));
    }
    Ok(line.event)
}
