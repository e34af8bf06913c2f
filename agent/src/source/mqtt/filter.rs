//! Topic filters (MQTT 5, 4.7): which topics a subscription means, and which subscriptions mean no more than others.

/// The longest filter, in bytes.
const MAX: usize = 1024;
/// What a shared subscription begins with, before the name of a group (MQTT 5, 4.8.2).
const SHARED: &str = "$share/";

/// Why `filter` is none, if it is none.
pub(super) fn fault(filter: &str) -> Option<&'static str> {
    if filter.is_empty() || filter.len() > MAX || filter.contains('\0') {
        return Some("expected 1 to 1024 bytes without a NUL");
    }
    if filter.starts_with(SHARED) && topics(filter).is_none_or(str::is_empty) {
        return Some("a shared subscription is \"$share/group/filter\", as in \"$share/agents/plant/#\"");
    }
    let filter = topics(filter).unwrap_or(filter);
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

/// The filter of a shared subscription. None: it is not shared.
fn topics(filter: &str) -> Option<&str> {
    let (group, filter) = filter.strip_prefix(SHARED)?.split_once('/')?;
    (!group.is_empty() && !group.contains(['+', '#'])).then_some(filter)
}

/// Which of `filters` to subscribe to. A broker may give a message once for each subscription that it fits, so one that
/// means nothing but what another one means is left out.
pub(super) fn needed(filters: &[String]) -> Vec<&str> {
    let covers = |wide: &str, narrow: &str| topics(wide).is_none() && topics(narrow).is_none() && matches(wide, narrow);
    let is_needed = |(at, filter): &(usize, &String)| {
        let mut others = filters.iter().enumerate().filter(|(other, _)| other != at);
        !others.any(|(other, wide)| if wide == *filter { other < *at } else { covers(wide, filter) })
    };
    filters.iter().enumerate().filter(is_needed).map(|(_, filter)| filter.as_str()).collect()
}

/// Whether `filter` means `topic`, or all that `topic` means if that is a filter itself.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let filter = topics(filter).unwrap_or(filter);
    let mut levels = topic.split('/');
    // Wildcards do not see what a broker says of itself (4.7.2).
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    for part in filter.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(level)) if level != "#" => {}
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
            ("$share/agents/sport/+", "sport/tennis"),
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
        for wrong in
            ["", "a+", "a/+b", "a#", "a/#/b", "a\0", "$share/", "$share/g", "$share/g/", "$share/+/a", "$share/g/a#"]
        {
            assert!(fault(wrong).is_some(), "{wrong:?}");
        }
        assert_eq!((fault("a/+/b/#"), fault("$share/g/a/#")), (None, None));
    }

    #[test]
    fn a_subscription_that_means_no_more_than_another_is_not_needed() {
        let needed = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
            super::needed(&filters).join(" ")
        };
        assert_eq!(needed(&["plant/+", "plant/#", "plant/1", "plant", "other"]), "plant/# other");
        assert_eq!(needed(&["a/+/c", "a/+/c", "a/b/c"]), "a/+/c");
        assert_eq!(needed(&["a/+", "a/#"]), "a/#");
        assert_eq!(needed(&["a/+/c", "a/b/+"]), "a/+/c a/b/+", "each means something that the other does not");
        assert_eq!(needed(&["#", "$SYS/#"]), "# $SYS/#");
        assert_eq!(needed(&["a/#", "$share/g/a/1"]), "a/# $share/g/a/1", "others of the group have a part of it");
    }
}
