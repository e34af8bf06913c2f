//! What serde says of a setting, in the words of a settings file, and what to type.

/// Types of Rust, and what a person writes for them.
const TYPES: [(&str, &str); 9] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number, 0 or more"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    ("path string", "a path in quotes"),
    ("a sequence", "a list"),
];

/// `message` of serde about `place`, the text that it is about: what to say, and what to type if that is known.
pub(super) fn explain(message: &str, place: &str) -> (String, Option<String>) {
    let message = message.trim_end();
    if let Some(rest) = message.strip_prefix("missing field ") {
        return (format!("missing key {rest}"), None);
    }
    if let Some(names) = message.strip_prefix("unknown field ") {
        return unknown_key(names);
    }
    let wrong = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        Some((got, expected)) => wrong_type(got, expected, place),
        None => (message.replace('\n', ", "), None),
    }
}

/// The key that was probably meant.
fn unknown_key(names: &str) -> (String, Option<String>) {
    let mut names = names.split('`').skip(1).step_by(2);
    let got = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let meant = known.iter().map(|name| (distance(got, name), *name)).min().filter(|(far, _)| *far <= 2);
    let help = match meant {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "no key may stand here".to_owned(),
        None => format!("known keys here: {}", known.join(", ")),
    };
    (format!("unknown key `{got}`"), Some(help))
}

/// A value of another type than is wanted: brackets and quotes are what is mostly wrong.
fn wrong_type(got: &str, expected: &str, place: &str) -> (String, Option<String>) {
    // `string "x"`, `integer `5``: the value stands behind its type.
    let shown = got.split_once(' ').filter(|(kind, _)| ["string", "integer", "boolean"].contains(kind));
    let shown = shown.or_else(|| got.strip_prefix("floating point").map(|rest| ("float", rest)));
    let shown = shown.map_or(got, |(_, value)| value.trim()).trim_matches('`');
    let table = place.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]"));
    let single = place.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let (true, Some(name)) = (got == "map", table) {
        let message = format!("[[{name}]] may stand here once only");
        return (message, Some(format!("write it with single brackets: [{name}]")));
    }
    if let (true, "a sequence", Some(name)) = (got == "map", expected, single) {
        let message = format!("[{name}] may be repeated");
        return (message, Some(format!("write it with double brackets, also if there is but one: [[{name}]]")));
    }
    let is_text = got.starts_with("string ");
    let help = match expected {
        "a sequence" if is_text => Some(format!("write a list: [{}]", listed(shown))),
        "u8" | "u16" | "u32" | "u64" | "i64" | "f64" | "a boolean" if is_text => {
            Some("write it without quotes".to_owned())
        }
        _ => None,
    };
    let words = TYPES.iter().find(|(name, _)| *name == expected).map(|(_, words)| *words);
    let words = words.unwrap_or(if expected.starts_with("struct ") { "a table of keys" } else { expected });
    let shown = match got {
        "map" => "a table",
        "sequence" => "a list",
        _ => shown,
    };
    (format!("got {shown}, expected {words}"), help)
}

/// A text in quotes as the items of a list. One of several words is a command as a shell takes it, or names with commas.
fn listed(text: &str) -> String {
    let bare = text.trim_matches('"');
    // A quote or a bracket within it says that words are not all there is to it.
    if bare.contains(['"', '\'', '\\', '[']) {
        return text.to_owned();
    }
    let words = bare.split(|between: char| between.is_whitespace() || between == ',').filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    if words.len() > 1 { words.join(", ") } else { text.to_owned() }
}

/// Levenshtein's distance: how many letters to add, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `message: help`.
    fn said(message: &str, place: &str) -> String {
        let (message, help) = explain(message, place);
        help.map_or_else(|| message.clone(), |help| format!("{message}: {help}"))
    }

    #[test]
    fn the_words_are_those_of_a_settings_file() {
        let table = [
            ("missing field `path`", "", "missing key `path`"),
            ("unknown field `nam`, expected `name` or `drain`", "nam", "unknown key `nam`: did you mean `name`?"),
            ("invalid value: integer `300`, expected u8", "300", "got 300, expected a whole number from 0 to 255"),
            (
                "invalid type: floating point `16.5`, expected u16",
                "16.5",
                "got 16.5, expected a whole number from 0 to 65535",
            ),
            ("invalid type: integer `1`, expected a boolean", "1", "got 1, expected true or false"),
            (
                "invalid type: string \"2\", expected f64",
                "\"2\"",
                "got \"2\", expected a number: write it without quotes",
            ),
            (
                "invalid type: string \"a\", expected a sequence",
                "\"a\"",
                "got \"a\", expected a list: write a list: [\"a\"]",
            ),
            (
                "invalid type: string \"/bin/echo load 1\", expected a sequence",
                "\"/bin/echo load 1\"",
                "got \"/bin/echo load 1\", expected a list: write a list: [\"/bin/echo\", \"load\", \"1\"]",
            ),
            (
                "invalid type: string \"a:1\", expected struct Uplink",
                "\"a:1\"",
                "got \"a:1\", expected a table of keys",
            ),
            (
                "invalid length 1, expected an array of length 2",
                "[5]",
                "invalid length 1, expected an array of length 2",
            ),
        ];
        for (message, place, expected) in table {
            assert_eq!(said(message, place), expected);
        }
    }

    #[test]
    fn who_writes_too_few_or_too_many_brackets_is_told_how_many() {
        let once = said("invalid type: map, expected a string", "[[line_protocol]]");
        assert_eq!(once, "[[line_protocol]] may stand here once only: write it with single brackets: [line_protocol]");
        let repeated = said("invalid type: map, expected a sequence", "[serial]");
        assert!(repeated.ends_with("also if there is but one: [[serial]]"), "{repeated}");
    }
}
