//! Dictionaries: byte strings that mean something to a target, in the format of libFuzzer.
//!
//! A line is `"text"`, with `\xHH`, `\"` and `\\` within; what follows `#` at the start of a line is a comment.

use anyhow::{Result, bail};

/// The words of a dictionary.
pub fn parse(text: &str) -> Result<Vec<Vec<u8>>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(word).collect()
}

fn word(line: &str) -> Result<Vec<u8>> {
    let Some(mut rest) = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')) else {
        bail!("got {line}, expected \"text\"");
    };
    let mut word = Vec::new();
    while let Some(first) = rest.chars().next() {
        let escaped = rest.strip_prefix('\\');
        if let Some(digits) = escaped.and_then(|rest| rest.strip_prefix('x')).and_then(|rest| rest.get(..2)) {
            word.push(u8::from_str_radix(digits, 16)?);
            rest = &rest[4..];
        } else if let Some(quoted) = escaped.and_then(|rest| rest.chars().next()).filter(|c| "\"\\".contains(*c)) {
            word.push(quoted as u8);
            rest = &rest[2..];
        } else {
            word.extend(first.to_string().bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(word)
}
