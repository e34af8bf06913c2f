//! A small file that is replaced as a whole: cursors and the like.
//!
//! Guarantees: after a crash at any moment [`StateFile::load`] finds the payload of the last replace that
//! returned, or of the one that was interrupted. Missing, good and damaged are three different answers. A
//! full disk does not stop a replace: a reserve beside the file is given back for it, because what a
//! cursor unlocks (removing acknowledged segments) is what makes room again.
//!
//! Format (big endian): magic `WEIR`, version u16 = 1, zero u16, payload length u32, CRC-32C of the payload
//! u32, payload. Beside it may lie `<name>.tmp` (harmless at any time) and `<name>.reserve`.

use crate::durable;
use crate::error::IoError;
use crate::fs::{Fs, Mode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 4] = *b"WEIR";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
/// The largest payload.
pub const MAX_STATE_BYTES: usize = 16 * 1024 * 1024;
/// Room kept for a replace on a full disk; grows with the payload.
const RESERVE_BYTES: usize = 16 * 1024;

/// What a state file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// There is none: a fresh start.
    Missing,
    /// The payload last replaced.
    Good(Vec<u8>),
    /// There is one, but it cannot be believed.
    Damaged {
        /// Got and expected, for the log.
        reason: String,
    },
}

/// A small durable file.
pub struct StateFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl StateFile {
    /// Names the file; nothing is touched until [`load`](Self::load) or [`replace`](Self::replace). Its
    /// directory exists.
    pub fn new(fs: Arc<dyn Fs>, path: &Path) -> StateFile {
        StateFile { fs, path: path.to_owned() }
    }

    /// What is in the file.
    ///
    /// # Errors
    /// [`IoError`] when the system cannot say; damage is not an error but an answer.
    pub fn load(&self) -> Result<Loaded, IoError> {
        let on = |action| IoError::on(action, &self.path);
        if !self.fs.exists(&self.path).map_err(on("look at"))? {
            return Ok(Loaded::Missing);
        }
        let file = self.fs.open(&self.path, Mode::Read).map_err(on("open"))?;
        let size = file.size().map_err(on("measure"))?;
        if size > (HEADER_BYTES + MAX_STATE_BYTES) as u64 {
            let reason = format!("got {size} bytes, expected at most {}", HEADER_BYTES + MAX_STATE_BYTES);
            return Ok(Loaded::Damaged { reason });
        }
        let mut bytes = vec![0; size as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64).map_err(on("read"))? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(match payload(&bytes) {
            Ok(payload) => Loaded::Good(payload.to_vec()),
            Err(reason) => Loaded::Damaged { reason },
        })
    }

    /// Replaces the payload; durable when this returns.
    ///
    /// # Errors
    /// [`IoError`]; the file then holds the old payload or the new one.
    pub fn replace(&self, payload: &[u8]) -> Result<(), IoError> {
        if payload.len() > MAX_STATE_BYTES {
            let message = format!("got {} bytes, expected at most {MAX_STATE_BYTES}", payload.len());
            return Err(IoError::on("write", &self.path)(std::io::Error::other(message)));
        }
        let mut content = Vec::with_capacity(HEADER_BYTES + payload.len());
        content.extend_from_slice(&MAGIC);
        content.extend_from_slice(&VERSION.to_be_bytes());
        content.extend_from_slice(&[0; 2]);
        content.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        content.extend_from_slice(&crc32c::crc32c(payload).to_be_bytes());
        content.extend_from_slice(payload);

        let temporary = self.beside("tmp");
        match durable::replace(&*self.fs, &self.path, &temporary, &content) {
            Err(full) if full.is_no_space() && self.give_back_reserve()? => {
                durable::replace(&*self.fs, &self.path, &temporary, &content)?;
            }
            result => result?,
        }
        self.keep_reserve(content.len());
        Ok(())
    }

    /// Gives the reserved bytes back to the filesystem; false when there were none.
    fn give_back_reserve(&self) -> Result<bool, IoError> {
        let reserve = self.beside("reserve");
        if !self.fs.exists(&reserve).map_err(IoError::on("look at", &reserve))? {
            return Ok(false);
        }
        durable::remove(&*self.fs, &reserve)?;
        Ok(true)
    }

    /// Sets room aside again. Best effort: on a disk that is still full the next replace tries again.
    fn keep_reserve(&self, content_bytes: usize) {
        let reserve = self.beside("reserve");
        let wanted = (2 * content_bytes).max(RESERVE_BYTES).next_multiple_of(RESERVE_BYTES);
        let kept = || -> std::io::Result<()> {
            let file = self.fs.open(&reserve, Mode::Create)?;
            let size = file.size()?;
            if size < wanted as u64 {
                // Zeros are written, not skipped over: a hole reserves nothing.
                file.write_at(&vec![0; wanted - size as usize], size)?;
                file.sync_data()?;
            }
            Ok(())
        };
        if kept().is_err() && self.fs.exists(&reserve).unwrap_or(false) {
            // A partial reserve is worth less than the room it takes from the log.
            let _ = self.fs.remove(&reserve);
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        PathBuf::from(name)
    }
}

pub(crate) fn payload(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((header, payload)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(format!("got {} bytes, expected at least {HEADER_BYTES}", bytes.len()));
    };
    if header[..4] != MAGIC {
        return Err(format!("got magic {:02x?}, expected {MAGIC:02x?}", &header[..4]));
    }
    let version = u16::from_be_bytes([header[4], header[5]]);
    if version != VERSION {
        return Err(format!("got version {version}, expected {VERSION}"));
    }
    let length = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if payload.len() as u64 != u64::from(length) {
        return Err(format!("got {} bytes of payload, expected {length}", payload.len()));
    }
    let expected = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
    let got = crc32c::crc32c(payload);
    if got != expected {
        return Err(format!("got checksum {got:#010x}, expected {expected:#010x}"));
    }
    Ok(payload)
}
