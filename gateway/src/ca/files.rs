//! The files of the authority.
//!
//! What it guarantees: what is written here is durable when the function returns, and a file that is replaced is whole
//! before and after; keys can be read by their owner alone from the moment that they exist; files that the superuser
//! makes belong to whom the data directory belongs to, so that the gateway can use them. Keys need a mode, which the
//! filesystem of the logs does not have, so this is the system's own.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::CaError;

/// The files of the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The directory.
    pub dir: PathBuf,
    /// The authority's own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The list of what it has revoked.
    pub crl: PathBuf,
    /// What it has given out and revoked.
    pub register: PathBuf,
    /// The certificate that it gave the gateway, with the authority's behind it.
    pub server_certificate: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
}

impl Paths {
    /// Those in the data directory of a gateway.
    pub fn in_data(data: &Path) -> Self {
        let dir = data.join("ca");
        let path = |name| dir.join(name);
        Self {
            certificate: path("ca.pem"),
            key: path("ca.key"),
            crl: path("crl.pem"),
            register: path("issued"),
            server_certificate: path("server.pem"),
            server_key: path("server.key"),
            dir,
        }
    }
}

/// A text file.
pub(super) fn text(path: &Path) -> Result<String, CaError> {
    std::fs::read_to_string(path).map_err(|source| io(path, source))
}

/// The turn of whoever holds it: nobody else changes the files meanwhile.
pub(super) struct Locked {
    dir: File,
    path: PathBuf,
    owner: (u32, u32),
}

const KEY_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

impl Locked {
    /// Waits for the turn; the authority exists.
    pub(super) fn open(paths: &Paths) -> Result<Self, CaError> {
        if !paths.certificate.exists() {
            return Err(CaError::Missing(paths.dir.clone()));
        }
        Self::of(&paths.dir)
    }

    /// The same, and makes the directory, and the data directory if need be.
    pub(super) fn create(paths: &Paths) -> Result<Self, CaError> {
        let on = |path: &Path| {
            let path = path.to_owned();
            move |source| CaError::Io { path, source }
        };
        let data = paths.dir.parent().unwrap_or(&paths.dir);
        std::fs::create_dir_all(data).map_err(on(data))?;
        match std::fs::create_dir(&paths.dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io(&paths.dir, error)),
            _ => (),
        }
        let of_data = std::fs::metadata(data).map_err(on(data))?;
        give(&paths.dir, (of_data.uid(), of_data.gid()))?;
        File::open(data).and_then(|data| data.sync_all()).map_err(on(data))?;
        Self::of(&paths.dir)
    }

    fn of(path: &Path) -> Result<Self, CaError> {
        let on = |source| io(path, source);
        let dir = File::open(path).map_err(on)?;
        // Whoever has it is done in milliseconds, and a killed one lets go.
        dir.lock().map_err(on)?;
        let metadata = dir.metadata().map_err(on)?;
        Ok(Self { dir, path: path.to_owned(), owner: (metadata.uid(), metadata.gid()) })
    }

    /// Replaces a file that everybody may read.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<(), CaError> {
        self.replace(path, content, PUBLIC_MODE)
    }

    /// Replaces a key.
    pub(super) fn write_key(&self, path: &Path, pem: &str) -> Result<(), CaError> {
        self.replace(path, pem.as_bytes(), KEY_MODE)
    }

    fn replace(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), CaError> {
        let temporary = path.with_extension("new");
        let on = |source| io(&temporary, source);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary).map_err(on)?;
        // One that was left behind may have another mode.
        file.set_permissions(Permissions::from_mode(mode)).map_err(on)?;
        file.write_all(content).and_then(|()| file.sync_data()).map_err(on)?;
        give(&temporary, self.owner)?;
        std::fs::rename(&temporary, path).map_err(on)?;
        self.dir.sync_all().map_err(|source| io(&self.path, source))
    }

    /// Appends to a file, which is made if need be.
    pub(super) fn append(&self, path: &Path, bytes: &[u8]) -> Result<(), CaError> {
        let on = |source| io(path, source);
        let is_new = !path.exists();
        let mut file = OpenOptions::new().append(true).create(true).mode(PUBLIC_MODE).open(path).map_err(on)?;
        file.write_all(bytes).and_then(|()| file.sync_data()).map_err(on)?;
        if is_new {
            give(path, self.owner)?;
            self.dir.sync_all().map_err(|source| io(&self.path, source))?;
        }
        Ok(())
    }

    /// Cuts a file off.
    pub(super) fn cut(&self, path: &Path, bytes: u64) -> Result<(), CaError> {
        let on = |source| io(path, source);
        let file = OpenOptions::new().write(true).open(path).map_err(on)?;
        file.set_len(bytes).and_then(|()| file.sync_data()).map_err(on)
    }
}

/// What the superuser makes is the gateway's; nobody else may give files away, or has to.
fn give(path: &Path, (user, group): (u32, u32)) -> Result<(), CaError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    chown(path, Some(user), Some(group)).map_err(|source| io(path, source))
}

fn io(path: &Path, source: std::io::Error) -> CaError {
    CaError::Io { path: path.to_owned(), source }
}
