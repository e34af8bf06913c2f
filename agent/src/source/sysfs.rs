//! Small files of the kernel, one value each.

use std::fs;
use std::io;
use std::path::Path;

/// Names in a directory that begin with `prefix`, in the order of the numbers behind it; none if it is not there.
pub(super) fn entries(dir: &Path, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names
}

/// The text of a file without the line's end.
pub(super) fn text(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

/// The number in a file.
pub(super) fn number(path: &Path) -> io::Result<f64> {
    let text = text(path)?;
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("got {:.20?}, expected a number", text)))
}

/// Whether a sensor says that it has no value now, which is no failure: it sleeps, or it is still measuring.
pub(super) fn has_no_value_now(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENODATA | libc::EBUSY))
}
