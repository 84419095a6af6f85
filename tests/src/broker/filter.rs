//! Which topic filter takes which topic.
//!
//! In: topics and filters as the client sent them. Out: yes or no.
//! Ours rather than the client library's: that one cuts the topic after its first byte and panics
//! when a device begins a topic with a letter of more than one byte.

/// Whether a message may be published to `topic`: not empty, no wildcard, no zero character.
pub(super) fn topic_is_valid(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

/// Whether `filter` may be subscribed to: `+` fills a whole level, `#` a whole last level.
pub(super) fn filter_is_valid(filter: &str) -> bool {
    if filter.is_empty() || filter.contains('\0') {
        return false;
    }
    let last = filter.split('/').count() - 1;
    filter.split('/').enumerate().all(|(place, level)| match level {
        "#" => place == last,
        "+" => true,
        _ => !level.contains(['+', '#']),
    })
}

/// Whether a valid `filter` takes a valid `topic`. A leading wildcard never takes a topic that
/// begins with `$`; those belong to brokers and are asked for by name.
pub(super) fn takes(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_the_topics_the_standard_says_it_takes() {
        for (filter, topic, expected) in [
            ("dock/3/door", "dock/3/door", true),
            ("dock/+/door", "dock/3/door", true),
            ("dock/+/door", "dock/3/4/door", false),
            ("dock/#", "dock", true),
            ("dock/#", "dock/3/door", true),
            ("dock/+", "dock", false),
            ("dock/+", "dock/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("#", "öl/temperatur", true),
        ] {
            assert_eq!(takes(filter, topic), expected, "filter {filter} on topic {topic}");
        }
    }

    #[test]
    fn a_wildcard_that_does_not_fill_its_level_is_refused() {
        for filter in ["", "a/b#", "a/#/b", "a+/b", "a/++"] {
            assert!(!filter_is_valid(filter), "{filter} was let through");
        }
        for filter in ["#", "+", "a/+/b", "a/#", "/", "+/+/#"] {
            assert!(filter_is_valid(filter), "{filter} was refused");
        }
        assert!(!topic_is_valid("a/+") && !topic_is_valid("") && topic_is_valid("/a"));
    }
}
