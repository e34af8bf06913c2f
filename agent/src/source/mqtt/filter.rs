//! Topic filters (MQTT 5, 4.7): which topics a subscription means.

/// The longest filter, in bytes.
const MAX: usize = 1024;

/// Why `filter` is none, if it is none.
pub(super) fn fault(filter: &str) -> Option<&'static str> {
    if filter.is_empty() || filter.len() > MAX || filter.contains('\0') {
        return Some("expected 1 to 1024 bytes without a NUL");
    }
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    for (at, level) in levels.iter().enumerate() {
        if level.contains('+') && *level != "+" {
            return Some("`+` is a whole level, as in \"plant/+/temperature\"");
        }
        if level.contains('#') && (*level != "#" || at != last) {
            return Some("`#` is the last level, as in \"plant/#\"");
        }
    }
    None
}

/// Whether `filter` means `topic`.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    // Wildcards do not see what a broker says of itself (4.7.2).
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    for part in filter.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (part, Some(level)) if part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "a/b"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/broker"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/broker"),
            ("+/broker", "$SYS/broker"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn what_is_no_filter_is_named() {
        for wrong in ["", "a+", "a/+b", "a#", "a/#/b", "a\0"] {
            assert!(fault(wrong).is_some(), "{wrong:?}");
        }
        assert_eq!(fault("a/+/b/#"), None);
    }
}
