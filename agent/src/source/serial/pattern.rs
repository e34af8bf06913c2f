//! Paths of lines: one path, or a pattern in its last part.

use std::path::{Path, PathBuf};

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
        .filter(|entry| entry.file_name().to_str().is_some_and(|found| fits(name.as_bytes(), found.as_bytes())))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.truncate(MAX_MATCHES);
    found
}

/// Whether `text` fits `pattern`: `*` is any bytes, `?` is one.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on if what follows the last star does not fit.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_bytes_and_a_question_mark_for_one() {
        let cases = [("ttyACM*", "ttyACM0", true), ("ttyACM*", "ttyACM", true), ("ttyACM?", "ttyACM", false)];
        let more = [("*a*b", "xxaxxab", true), ("*a*b", "xxaxxba", false), ("tty", "ttyS", false), ("**", "", true)];
        for (pattern, text, fit) in cases.into_iter().chain(more) {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), fit, "{pattern} {text}");
        }
    }
}
