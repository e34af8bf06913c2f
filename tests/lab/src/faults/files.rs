//! What is in a data directory, seen from outside.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// All files below `directory`, in the order of their paths.
fn files(directory: &Path) -> Result<Vec<(PathBuf, fs::Metadata)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry.context("an entry of a directory")?.path();
        // A segment may be removed meanwhile.
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => found.extend(files(&path)?),
            Ok(metadata) if metadata.is_file() => found.push((path, metadata)),
            // The socket of a local port holds nothing.
            Ok(_) | Err(_) => {}
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

/// Bytes that the files below `directory` take on disk; st_blocks counts 512 bytes (stat(2)).
pub(crate) fn allocated(directory: &Path) -> Result<u64> {
    Ok(files(directory)?.iter().map(|(_, metadata)| metadata.blocks() * 512).sum())
}

/// Segments below `directory` and their lengths. Their names are offsets of equal width, so in one log the last is
/// the newest.
pub(crate) fn segments(directory: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let files = files(directory)?.into_iter();
    let segments = files.filter(|(path, _)| path.extension().is_some_and(|extension| extension == "log"));
    Ok(segments.map(|(path, metadata)| (path, metadata.len())).collect())
}

/// Makes the kernel forget a file that is on disk, so that reading it is counted.
pub(crate) fn forget_cache(path: &Path) -> Result<()> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.sync_all().context("cannot sync a segment")?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).context("the kernel keeps its cache")
}

/// Copies a directory that nobody uses.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    for (path, _) in files(from)? {
        let copy = to.join(path.strip_prefix(from).context("a path outside of its directory")?);
        fs::create_dir_all(copy.parent().unwrap_or(to)).with_context(|| format!("cannot make {}", to.display()))?;
        fs::copy(&path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

/// Bytes that are damaged in one place. One would not always be damage: nobody reads the four bytes of the leader epoch that
/// stand in front of each frame.
const FLIPPED: usize = 8;

/// Flips a bit in each of a few bytes of a file, from `at` on or the last that there is room for; says where.
pub(crate) fn flip(path: &Path, at: usize) -> Result<String> {
    let mut bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let at = at.min(bytes.len().saturating_sub(FLIPPED));
    bytes.get_mut(at..at + FLIPPED).context("a segment too short")?.iter_mut().for_each(|byte| *byte ^= 0x10);
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("{FLIPPED} bytes from {at} of {}", path.display()))
}
