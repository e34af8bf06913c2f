//! Patterns of names: `*` is any bytes, `?` is one.

/// Whether `text` fits `pattern`. Takes time linear in both for each star.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Where to go on if what follows the last star does not fit.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether every text that fits `narrow` surely fits `wide` too.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    let is_plain = !narrow.contains(['*', '?']);
    let is_everything = !wide.is_empty() && wide.bytes().all(|byte| byte == b'*');
    wide == narrow || is_everything || is_plain && fits(wide, narrow)
}

#[cfg(test)]
mod tests {
    use super::{covers, fits};

    #[test]
    fn a_star_stands_for_any_bytes_and_a_question_mark_for_one() {
        let cases = [("edge-*", "edge-1", true), ("edge-*", "edge-", true), ("edge-?", "edge-", false)];
        let more = [("*a*b", "xxaxxab", true), ("*a*b", "xxaxxba", false), ("edge", "edge1", false), ("**", "", true)];
        for (pattern, text, fit) in cases.into_iter().chain(more) {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_surely_covers() {
        let cases =
            [("*", "a*", true), ("a*", "abc", true), ("a*", "a*", true), ("a*", "*", false), ("a?", "a*", false)];
        for (wide, narrow, covered) in cases {
            assert_eq!(covers(wide, narrow), covered, "{wide} {narrow}");
        }
    }
}
