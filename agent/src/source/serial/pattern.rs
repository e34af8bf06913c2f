//! Paths of lines: one path, or a pattern in its last part.

use std::path::{Path, PathBuf};

use crate::glob;

/// The most lines that one pattern stands for.
pub(super) const MAX_MATCHES: usize = 64;

/// The paths that exist now, sorted.
pub fn matches(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    if !name.contains(['*', '?']) {
        return if path.exists() { vec![path.to_owned()] } else { Vec::new() };
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|found| glob::fits(name, found)))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.truncate(MAX_MATCHES);
    found
}
