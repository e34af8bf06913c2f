//! Topic names and filters (section 4.7).
//!
//! What it guarantees: a name has no wildcards and is not empty; a filter has them as whole levels, `#` as the last; no
//! wildcard in front matches a name that begins with `$`. Names and filters are compared byte by byte, never normalised.

/// What parts levels.
const SEPARATOR: char = '/';
/// The part of a shared subscription's filter in front of its group.
const SHARE: &str = "$share";

/// Whether `byte` stands for other levels in a filter.
pub const fn is_wildcard(byte: u8) -> bool {
    matches!(byte, b'+' | b'#')
}

/// Whether messages may be published on `name` ([MQTT-4.7.3-1] to [MQTT-4.7.3-3], [MQTT-4.7.1-1]).
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX && !name.bytes().any(|byte| is_wildcard(byte) || byte == 0)
}

/// Whether `filter` may be subscribed to ([MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1] to [MQTT-4.7.3-3]). What is behind
/// the group of a shared subscription is not looked at.
pub fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > MAX || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split(SEPARATOR);
    while let Some(level) = levels.next() {
        match level {
            "+" => (),
            "#" => return levels.next().is_none(),
            _ if level.bytes().any(is_wildcard) => return false,
            _ => (),
        }
    }
    true
}

/// The longest name or filter, in bytes ([MQTT-4.7.3-3]).
const MAX: usize = u16::MAX as usize;

/// Whether `filter` asks for a shared subscription (section 4.8.2).
pub fn is_shared(filter: &str) -> bool {
    filter.split(SEPARATOR).next() == Some(SHARE)
}

/// How many levels a name or a filter has.
pub fn levels(topic: &str) -> usize {
    1 + topic.bytes().filter(|byte| *byte == b'/').count()
}

/// Whether the first level of a filter keeps away from a name that begins with `$` ([MQTT-4.7.2-1]).
fn keeps_away(filter: &str, name: &str) -> bool {
    name.starts_with('$') && filter.bytes().next().is_some_and(is_wildcard)
}

/// Whether messages on `name` are for `filter`; both are valid.
pub fn matches(name: &str, filter: &str) -> bool {
    if keeps_away(filter, name) {
        return false;
    }
    let mut names = name.split(SEPARATOR);
    for level in filter.split(SEPARATOR) {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => (),
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Whether there is a name that is for both filters, which are valid.
pub fn intersects(one: &str, other: &str) -> bool {
    if keeps_away(one, other) || keeps_away(other, one) {
        return false;
    }
    let (mut ones, mut others) = (one.split(SEPARATOR), other.split(SEPARATOR));
    loop {
        match (ones.next(), others.next()) {
            // The parent level is for a `#` too, so whatever is left of the other may be matched.
            (Some("#"), _) | (_, Some("#")) => return true,
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || one == "+" || other == "+" => (),
            _ => return false,
        }
    }
}

/// Whether every name that is for `inner` is for `outer` too; both are valid.
pub fn covers(outer: &str, inner: &str) -> bool {
    if keeps_away(outer, inner) {
        return false;
    }
    // Every name has a first level.
    let outer = if outer == "+/#" { "#" } else { outer };
    let mut inners = inner.split(SEPARATOR);
    for level in outer.split(SEPARATOR) {
        match (level, inners.next()) {
            ("#", _) => return true,
            ("+", Some(inner)) if inner != "#" => (),
            (level, Some(inner)) if level == inner => (),
            _ => return false,
        }
    }
    inners.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every topic of up to `depth` levels from `alphabet`.
    fn all(alphabet: &[&str], depth: usize) -> Vec<String> {
        let mut all: Vec<String> = alphabet.iter().map(|level| (*level).to_owned()).collect();
        let mut last = all.clone();
        for _ in 1..depth {
            last = last.iter().flat_map(|front| alphabet.iter().map(move |level| format!("{front}/{level}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn names_and_filters_are_told_from_what_is_none() {
        for name in ["a", "/", "//", "a//b", "$SYS/x", "a b", "\u{feff}a", "ü/ß"] {
            assert!(is_name(name) && is_filter(name), "{name}");
        }
        for filter in ["+", "#", "+/#", "/+", "+/+", "a/+/b/#", "/#"] {
            assert!(is_filter(filter) && !is_name(filter), "{filter}");
        }
        let long = "a".repeat(MAX + 1);
        for neither in ["", "a+", "a/b#", "#/a", "a/#/b", "+a/b", "##", "a\0b", &long] {
            assert!(!is_filter(neither) && !is_name(neither), "{neither}");
        }
        assert_eq!((levels("a"), levels("/"), levels("a/b/c")), (1, 2, 3));
        assert!(
            is_shared("$share/group/a") && is_shared("$share") && !is_shared("$shared/a") && !is_shared("a/$share")
        );
    }

    /// The examples of sections 4.7.1.2, 4.7.1.3 and 4.7.2.
    #[test]
    fn filters_match_as_the_examples_of_the_standard_say() {
        let tennis = "sport/tennis/player1/#";
        for (name, filter, expected) in [
            ("sport/tennis/player1", tennis, true),
            ("sport/tennis/player1/ranking", tennis, true),
            ("sport/tennis/player1/score/wimbledon", tennis, true),
            ("sport/tennis/player2", tennis, false),
            ("sport", "sport/#", true),
            ("anything/at/all", "#", true),
            ("sport/tennis/player1", "sport/tennis/+", true),
            ("sport/tennis/player1/ranking", "sport/tennis/+", false),
            ("sport", "sport/+", false),
            ("sport/", "sport/+", true),
            ("/finance", "+/+", true),
            ("/finance", "/+", true),
            ("/finance", "+", false),
            ("$SYS/monitor/Clients", "#", false),
            ("$SYS/monitor/Clients", "+/monitor/Clients", false),
            ("$SYS/monitor/Clients", "$SYS/#", true),
            ("$SYS/monitor/Clients", "$SYS/monitor/+", true),
            ("ACCOUNTS", "Accounts", false),
        ] {
            assert_eq!(matches(name, filter), expected, "{name} for {filter}");
        }
    }

    #[test]
    fn two_filters_intersect_if_and_only_if_a_name_is_for_both() {
        let filters: Vec<String> =
            all(&["a", "$b", "", "+", "#"], 3).into_iter().filter(|filter| is_filter(filter)).collect();
        // A level more and a letter more than filters have, so that what only a wildcard reaches is reached.
        let names = all(&["a", "$b", "", "c"], 4);
        for one in &filters {
            for other in &filters {
                let both = names.iter().any(|name| matches(name, one) && matches(name, other));
                assert_eq!(intersects(one, other), both, "{one} and {other}");
                let within = names.iter().all(|name| !matches(name, other) || matches(name, one));
                assert_eq!(covers(one, other), within, "{one} over {other}");
            }
        }
    }

    #[test]
    fn filters_match_as_in_another_implementation() {
        for filter in all(&["a", "", "+", "#"], 3).iter().filter(|filter| is_filter(filter)) {
            for name in all(&["a", "", "b"], 4) {
                assert_eq!(matches(&name, filter), rumqttc::mqttbytes::matches(&name, filter), "{name} for {filter}");
            }
        }
    }
}
