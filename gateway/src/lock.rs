//! The claim of one gateway on its data directory, and how the commands find that gateway.
//!
//! `<data>/gateway.json` holds `{"pid": 1, "http": "127.0.0.1:8080", "kafka": "127.0.0.1:9092", "instance": "..."}`,
//! and `mqtt_tls` where there is that port. The running gateway
//! holds an exclusive lock on it, so two never write the same logs. The file stays behind after a kill: a
//! command believes it only if `/version` at that address answers with the same instance.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use weir_storage::{File, Fs, IoError, Mode};

const NAME: &str = "gateway.json";
/// The file is this small; a larger one is none of ours, in bytes.
const MAX_BYTES: usize = 1024;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// Its HTTP port.
    pub http: SocketAddr,
    /// Its Kafka port; `None` of a build that had none.
    pub kafka: Option<SocketAddr>,
    /// Its port of MQTT over TLS, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt_tls: Option<SocketAddr>,
    /// Tells one start from every other.
    pub instance: String,
}

/// Why the data directory could not be claimed.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// Another gateway has it.
    #[error("{} is in use by another gateway{}: stop that one, or set another `data`", .data.display(), by(.running))]
    InUse {
        /// The data directory.
        data: PathBuf,
        /// That gateway, if its file can be read.
        running: Option<Box<Running>>,
    },
    /// The filesystem refused.
    #[error(transparent)]
    Io(#[from] IoError),
}

fn by(running: &Option<Box<Running>>) -> String {
    running.as_ref().map_or_else(String::new, |running| format!(" (process {}, HTTP {})", running.pid, running.http))
}

/// The claim, held for as long as this lives.
pub struct Claim {
    _locked: Box<dyn File>,
}

impl Claim {
    /// Claims `data`, which exists, for the gateway that `running` describes.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn new(fs: &dyn Fs, data: &Path, running: &Running) -> Result<Self, ClaimError> {
        let path = data.join(NAME);
        let file = fs.open(&path, Mode::Create).map_err(IoError::on("create", &path))?;
        if !file.try_lock().map_err(IoError::on("lock", &path))? {
            return Err(ClaimError::InUse { data: data.to_owned(), running: read(&*file).map(Box::new) });
        }
        let text = serde_json::to_vec(running).unwrap_or_default();
        let written = file.set_len(0).and_then(|()| file.write_at(&text, 0)).and_then(|()| file.sync_data());
        written.map_err(IoError::on("write", &path))?;
        Ok(Self { _locked: file })
    }
}

/// The gateway that claimed `data` last, whether or not it still runs.
pub fn last_claim(fs: &dyn Fs, data: &Path) -> Option<Running> {
    read(&*fs.open(&data.join(NAME), Mode::Read).ok()?)
}

fn read(file: &dyn File) -> Option<Running> {
    let mut bytes = [0; MAX_BYTES];
    let length = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(bytes.get(..length)?).ok()
}
