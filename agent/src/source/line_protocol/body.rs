//! The body of a request: undone if it is packed, never larger than its bound.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// Why a body is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It is larger than allowed, or would be once it is undone.
    #[error("the body has more than {0} bytes; send smaller batches, or raise line_protocol.body")]
    TooLarge(usize),
    /// It is packed in a way that nobody knows here.
    #[error("Content-Encoding {0:?} is not known here; send gzip or none")]
    Encoding(String),
    /// It is not what it says.
    #[error("the body is no gzip: {0}")]
    Gzip(String),
    /// It is no text.
    #[error("the body is no UTF-8 from byte {0} on")]
    Text(usize),
}

/// The text of a body whose `Content-Encoding` is `encoding`, of at most `most` bytes.
///
/// # Errors
/// [`BodyError`]
pub(super) fn text(body: Bytes, encoding: Option<&str>, most: usize) -> Result<String, BodyError> {
    let bytes = match encoding {
        None | Some("" | "identity") => body.to_vec(),
        Some(name) if name.eq_ignore_ascii_case("gzip") => gunzip(&body, most)?,
        Some(other) => return Err(BodyError::Encoding(other.chars().take(40).collect())),
    };
    if bytes.len() > most {
        return Err(BodyError::TooLarge(most));
    }
    String::from_utf8(bytes).map_err(|error| BodyError::Text(error.utf8_error().valid_up_to()))
}

/// Stops one byte past the bound, whatever the header promises.
fn gunzip(packed: &[u8], most: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    let mut reader = MultiGzDecoder::new(packed).take(most as u64 + 1);
    reader.read_to_end(&mut bytes).map_err(|error| BodyError::Gzip(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn packed_or_not_a_body_is_the_same_text() {
        assert_eq!(text(Bytes::from("m x=1"), None, 100).unwrap(), "m x=1");
        assert_eq!(text(gzip(b"m x=1"), Some("gzip"), 100).unwrap(), "m x=1");
    }

    #[test]
    fn a_small_body_that_unpacks_to_a_large_one_is_stopped_at_the_bound() {
        let bomb = gzip(&vec![b'x'; 10 << 20]);
        assert!(bomb.len() < 32 << 10);
        assert_eq!(text(bomb, Some("gzip"), 64 << 10), Err(BodyError::TooLarge(64 << 10)));
    }

    #[test]
    fn what_is_not_what_it_says_is_told_so() {
        assert!(matches!(text(Bytes::from("m x=1"), Some("gzip"), 100), Err(BodyError::Gzip(_))));
        assert!(matches!(text(Bytes::from("m x=1"), Some("br"), 100), Err(BodyError::Encoding(_))));
        assert_eq!(text(Bytes::from_static(b"m \xff"), None, 100), Err(BodyError::Text(2)));
        let mut torn = gzip(b"m x=1").to_vec();
        torn.truncate(12);
        assert!(matches!(text(torn.into(), Some("gzip"), 100), Err(BodyError::Gzip(_))));
    }
}
