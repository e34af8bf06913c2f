//! A tree of files as the kernel shows its sensors in `/sys`.

use std::fs;
use std::path::{Path, PathBuf};

/// The tree, removed when it is dropped.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    /// Files with a line each.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, line) in files {
            tree.write(path, line);
        }
        tree
    }

    /// Its root.
    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// A file in it, as the kernel shows an attribute: one line.
    pub(crate) fn write(&self, path: &str, line: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{line}\n")).unwrap();
    }

    /// The sensor is unplugged.
    pub(crate) fn remove(&self, directory: &str) {
        fs::remove_dir_all(self.path(directory)).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }
}
