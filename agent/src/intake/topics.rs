//! Which rule of the topic map a topic falls under.

use crate::config::TopicConfig;

/// The first rule whose filter matches `topic`.
#[must_use]
pub fn rule_for<'a>(rules: &'a [TopicConfig], topic: &str) -> Option<&'a TopicConfig> {
    rules.iter().find(|rule| matches(&rule.filter, topic))
}

/// Whether `filter` matches `topic`, by the rules of MQTT 3.1.1 section 4.7.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let mut levels = topic.split('/');
    let mut parts = filter.split('/');
    loop {
        match (parts.next(), levels.next()) {
            // `a/#` matches `a` too.
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(part), Some(level)) if part == level => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether `filter` is a topic filter.
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    if filter.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut parts = filter.split('/').peekable();
    while let Some(part) = parts.next() {
        match part {
            "#" if parts.peek().is_some() => return Err("has levels after #".to_owned()),
            "#" | "+" => {}
            _ if part.contains(['#', '+']) => return Err(format!("has a wildcard inside the level {part:?}")),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_mqtt_standard_says() {
        for (filter, topic, expected) in [
            ("depot/+/door/+", "depot/D1/door/3", true),
            ("depot/+/door/+", "depot/D1/door", false),
            ("depot/#", "depot", true),
            ("depot/#", "depot/D1/door/3", true),
            ("#", "$SYS/broker/load", false),
            ("depot/D1", "depot/D1/", false),
            ("depot/+", "depot/", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} on {topic}");
        }
    }

    #[test]
    fn a_filter_with_a_wildcard_in_the_wrong_place_is_refused() {
        assert!(check_filter("depot/#/door").is_err());
        assert!(check_filter("depot/D+").is_err());
        assert!(check_filter("depot/+/door/#").is_ok());
    }
}
