//! A real directory on which `kill -9` acts as a power cut: unsynced bytes live in this process only.
//!
//! Written bytes wait in memory until `sync_data` writes them to the file; a process that is killed takes
//! them along. What is made, renamed or removed stands at once for everybody, and is undone by the next process
//! unless `sync_dir` came before the kill ([`super::names`]). Lengths are real at once (their loss is what
//! [`super::FaultyFs`] tests), other processes see synced bytes only, and nothing is really synced, so this guards against
//! kills alone. It exists to catch an acknowledgement that came before its sync, and it can lie about syncs ([`Lie`]).

use super::names::Names;
use super::{File, Fs, Lie, Mode, RealFs};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a sync takes before it has kept anything: a disk needs time too, and without it a kill would
/// hardly ever find a sync in progress.
const SYNC: Duration = Duration::from_millis(5);

/// With [`Lie::Sync`], one sync of so many that have something to write fails.
const FAILING: u64 = 20;

/// The forgetful filesystem; clones share what is not synced.
#[derive(Clone, Default)]
pub struct ForgetfulFs {
    /// Files that are open or have unsynced bytes, so that all handles of a file see the same.
    nodes: Arc<Mutex<HashMap<PathBuf, Arc<Node>>>>,
    names: Arc<Names>,
    lie: Option<Lie>,
    syncs: Arc<AtomicU64>,
}

struct Node {
    real: Box<dyn File>,
    unsynced: Mutex<Vec<Write>>,
    lie: Option<Lie>,
    syncs: Arc<AtomicU64>,
}

impl ForgetfulFs {
    /// One that lies.
    pub fn lying(lie: Option<Lie>) -> Self {
        Self { lie, ..Self::default() }
    }
}

struct Write {
    position: u64,
    bytes: Vec<u8>,
    /// Its sync failed: readers see it as long as the process lives, as the kernel's cache does it, and no sync writes it.
    is_doomed: bool,
}

struct Handle(Arc<Node>);

impl Fs for ForgetfulFs {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let mut nodes = lock(&self.nodes);
        nodes.retain(|_, node| Arc::strong_count(node) > 1 || !lock(&node.unsynced).is_empty());
        if mode != Mode::CreateNew
            && let Some(node) = nodes.get(path)
        {
            return Ok(Box::new(Handle(Arc::clone(node))));
        }
        self.names.settle(path)?;
        if matches!(mode, Mode::Create | Mode::CreateNew) && !RealFs.exists(path)? {
            self.names.made(path)?;
        }
        // Later handles of this path may write, so the first one can too.
        let mode = if mode == Mode::Read { Mode::ReadWrite } else { mode };
        let (lie, syncs) = (self.lie, Arc::clone(&self.syncs));
        let node = Arc::new(Node { real: RealFs.open(path, mode)?, unsynced: Mutex::default(), lie, syncs });
        nodes.insert(path.to_owned(), Arc::clone(&node));
        Ok(Box::new(Handle(node)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.names.settle(path)?;
        if !RealFs.exists(path)? {
            self.names.made(path)?;
        }
        RealFs.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.names.settle_in(dir)?;
        let mut names = RealFs.list(dir)?;
        names.retain(|name| !Names::is_own(name));
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.names.settle(path)?;
        RealFs.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut nodes = lock(&self.nodes);
        self.names.settle(from)?;
        self.names.renamed(from, to)?;
        RealFs.rename(from, to)?;
        nodes.remove(to);
        if let Some(node) = nodes.remove(from) {
            nodes.insert(to.to_owned(), node);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut nodes = lock(&self.nodes);
        self.names.settle(path)?;
        self.names.removed(path)?;
        RealFs.remove(path)?;
        nodes.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.lie == Some(Lie::Directories) { Ok(()) } else { self.names.synced(dir) }
    }
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let unsynced = lock(&self.0.unsynced);
        let end = size(&*self.0.real, &unsynced)?;
        let read = end.saturating_sub(position).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..read];
        let mut filled = 0;
        while filled < read {
            match self.0.real.read_at(&mut buffer[filled..], position + filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        buffer[filled..].fill(0);
        for write in unsynced.iter() {
            write.show_in(buffer, position);
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        lock(&self.0.unsynced).push(Write { position, bytes: bytes.to_vec(), is_doomed: false });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if !lock(&self.0.unsynced).is_empty() {
            std::thread::sleep(SYNC);
        }
        let mut unsynced = lock(&self.0.unsynced);
        let is_new = unsynced.iter().any(|write| !write.is_doomed);
        if is_new
            && self.0.lie == Some(Lie::Sync)
            && self.0.syncs.fetch_add(1, Ordering::Relaxed) % FAILING == FAILING - 1
        {
            unsynced.iter_mut().for_each(|write| write.is_doomed = true);
        }
        for write in unsynced.iter().filter(|write| !write.is_doomed) {
            self.0.real.write_at(&write.bytes, write.position)?;
        }
        // What was written over since may not show through.
        match unsynced.iter().any(|write| write.is_doomed) {
            true => unsynced.iter_mut().for_each(|write| write.is_doomed = true),
            false => unsynced.clear(),
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut unsynced = lock(&self.0.unsynced);
        unsynced.retain(|write| write.position < bytes);
        for write in unsynced.iter_mut() {
            write.bytes.truncate((bytes - write.position) as usize);
        }
        self.0.real.set_len(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        size(&*self.0.real, &lock(&self.0.unsynced))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.0.real.allocated()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.real.try_lock()
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Write {
    fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }

    /// Copies what of this write lies in `buffer`, whose first byte is at `position`.
    fn show_in(&self, buffer: &mut [u8], position: u64) {
        let start = self.position.max(position);
        let end = self.end().min(position + buffer.len() as u64);
        if start < end {
            let ours = (start - self.position) as usize..(end - self.position) as usize;
            let theirs = (start - position) as usize..(end - position) as usize;
            buffer[theirs].copy_from_slice(&self.bytes[ours]);
        }
    }
}

fn size(real: &dyn File, unsynced: &[Write]) -> io::Result<u64> {
    Ok(unsynced.iter().map(Write::end).fold(real.size()?, u64::max))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Log, LogOptions};

    fn value(text: &str) -> Batch {
        let mut batch = Batch::new();
        batch.push(0, None, Some(text.as_bytes()), &[]).unwrap();
        batch
    }

    #[test]
    fn a_process_that_is_killed_takes_unsynced_bytes_along() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let alive = ForgetfulFs::default();
        let file = alive.open(&path, Mode::CreateNew).unwrap();
        alive.sync_dir(dir.path()).unwrap();
        file.write_at(b"synced", 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(b"UNSYNCED", 3).unwrap();
        drop(file);

        let mut seen = [0; 20];
        let read = alive.open(&path, Mode::Read).unwrap().read_at(&mut seen, 0).unwrap();
        assert_eq!(&seen[..read], b"synUNSYNCED", "the process itself sees what it wrote");
        let next_process = ForgetfulFs::default();
        let read = next_process.open(&path, Mode::Read).unwrap().read_at(&mut seen, 0).unwrap();
        assert_eq!(&seen[..read], b"synced");
    }

    /// What the next process reads in a file, if there is one.
    fn read(path: &Path) -> Option<String> {
        let next_process = ForgetfulFs::default();
        let file = next_process.exists(path).unwrap().then(|| next_process.open(path, Mode::Read).unwrap())?;
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    }

    fn write(fs: &ForgetfulFs, path: &Path, text: &str) {
        let file = fs.open(path, Mode::Create).unwrap();
        file.write_at(text.as_bytes(), 0).unwrap();
        file.sync_data().unwrap();
    }

    #[test]
    fn a_process_that_is_killed_takes_names_along_that_no_sync_of_their_directory_covered() {
        let dir = tempfile::tempdir().unwrap();
        let [kept, lost, state, fresh, old] =
            ["kept", "lost", "state", "fresh", "old"].map(|name| dir.path().join(name));
        let alive = ForgetfulFs::default();
        for (path, text) in [(&kept, "kept"), (&state, "1"), (&old, "old")] {
            write(&alive, path, text);
        }
        alive.sync_dir(dir.path()).unwrap();
        write(&alive, &lost, "lost");
        write(&alive, &fresh, "2");
        alive.rename(&fresh, &state).unwrap();
        alive.remove(&old).unwrap();
        alive.create_dir(&dir.path().join("directory")).unwrap();
        assert_eq!(alive.list(dir.path()).unwrap().len(), 4, "the process itself sees what it did, and no notes");

        let next_process = ForgetfulFs::default();
        let mut names = next_process.list(dir.path()).unwrap();
        names.sort();
        assert_eq!(names, ["kept", "old", "state"]);
        assert_eq!([&kept, &state, &old].map(|path| read(path).unwrap()), ["kept", "1", "old"]);
    }

    #[test]
    fn names_that_a_sync_of_their_directory_covered_stay() {
        let dir = tempfile::tempdir().unwrap();
        let [state, fresh, old] = ["state", "fresh", "old"].map(|name| dir.path().join(name));
        let alive = ForgetfulFs::default();
        write(&alive, &state, "1");
        write(&alive, &old, "old");
        write(&alive, &fresh, "2");
        alive.rename(&fresh, &state).unwrap();
        alive.remove(&old).unwrap();
        alive.sync_dir(dir.path()).unwrap();
        assert_eq!([&state, &fresh, &old].map(|path| read(path)), [Some("2".to_owned()), None, None]);
    }

    #[test]
    fn a_filesystem_that_lies_about_directories_keeps_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let alive = ForgetfulFs::lying(Some(Lie::Directories));
        write(&alive, &path, "synced");
        alive.sync_dir(dir.path()).unwrap();
        assert_eq!(read(&path), None);
    }

    #[test]
    fn a_filesystem_that_lies_about_syncs_shows_what_it_will_not_keep() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let alive = ForgetfulFs::lying(Some(Lie::Sync));
        let file = alive.open(&path, Mode::CreateNew).unwrap();
        alive.sync_dir(dir.path()).unwrap();
        for number in 0..FAILING {
            file.write_at(b"x", number).unwrap();
            file.sync_data().unwrap();
        }
        assert_eq!(file.size().unwrap(), FAILING);
        assert_eq!(read(&path).unwrap().len() as u64, FAILING - 1, "the last sync failed, and nobody was told");
    }

    #[test]
    fn cutting_a_file_cuts_what_is_not_synced_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = ForgetfulFs::default().open(&dir.path().join("file"), Mode::CreateNew).unwrap();
        file.write_at(b"abc", 0).unwrap();
        file.write_at(b"defghi", 3).unwrap();
        file.set_len(5).unwrap();
        file.sync_data().unwrap();
        let mut seen = [0; 20];
        let read = file.read_at(&mut seen, 1).unwrap();
        assert_eq!(&seen[..read], b"bcde");
    }

    #[test]
    fn a_log_on_it_keeps_its_commits_over_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Log::open(Arc::new(ForgetfulFs::default()), dir.path(), LogOptions::default()).unwrap();
        let (mut log, _) = open();
        log.commit(&mut value("a")).unwrap();
        log.commit(&mut value("b")).unwrap();
        drop(log);
        let (log, recovery) = open();
        assert_eq!((log.next_offset(), recovery.damage_count, recovery.truncated_bytes), (2, 0, 0));
    }
}
