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

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_bytes_and_a_question_mark_for_one() {
        let cases = [("edge-*", "edge-1", true), ("edge-*", "edge-", true), ("edge-?", "edge-", false)];
        let more = [("*a*b", "xxaxxab", true), ("*a*b", "xxaxxba", false), ("edge", "edge1", false), ("**", "", true)];
        for (pattern, text, fit) in cases.into_iter().chain(more) {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }
}
