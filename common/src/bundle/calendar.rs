//! When a depot works, and when its cut-offs are: business minutes are counted by it.

use serde::Deserialize;

use crate::time::UtcMs;

const DAY_MIN: i64 = 24 * 60;
const MINUTE: i64 = 60_000;
/// Days looked ahead before a calendar counts as having no more hours.
const DAYS_MAX: i64 = 400;

/// The hours of a depot. Without any it always works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calendar {
    /// How far the depot's clock is ahead of UTC, in minutes, such as 60. A fixed number: change the bundle when summer
    /// time begins. Default 0.
    pub utc_offset_minutes: i64,
    /// Open hours per day of the week, such as `mon = ["06:00-14:00", "14:30-22:00"]`. A day that is not listed is
    /// closed once any is listed.
    pub hours: std::collections::BTreeMap<Day, Vec<Hours>>,
    /// Days on which it is closed, such as `2026-12-25`.
    pub closed: Vec<Date>,
    /// Cut-offs of each working day, such as `["16:00"]`.
    pub cut_offs: Vec<TimeOfDay>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

/// A time of day in minutes, 0 to 1440.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(i64);

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a time of day such as 06:00");
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let two = |part: &str| (part.len() == 2).then(|| part.parse::<u8>().ok()).flatten().map(i64::from);
        match (two(hour), two(minute)) {
            (Some(h @ 0..=23), Some(m @ 0..=59)) => Ok(Self(h * 60 + m)),
            (Some(24), Some(0)) => Ok(Self(DAY_MIN)),
            _ => Err(wrong()),
        }
    }
}

/// Hours within one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hours {
    from: TimeOfDay,
    to: TimeOfDay,
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a pair of times such as 06:00-22:00");
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (TimeOfDay::try_from(from.trim().to_owned())?, TimeOfDay::try_from(to.trim().to_owned())?);
        if from < to {
            Ok(Self { from, to })
        } else {
            Err(format!("{text:?} ends before it begins; split it at midnight"))
        }
    }
}

/// A date, as days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Date(i64);

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let at: UtcMs =
            format!("{text}T00:00:00Z").parse().map_err(|_| format!("{text:?} is not a date such as 2026-12-25"))?;
        Ok(Self(at.0.div_euclid(DAY_MIN * MINUTE)))
    }
}

impl Calendar {
    fn local(&self, at: UtcMs) -> i64 {
        at.plus(self.utc_offset_minutes.saturating_mul(MINUTE)).0
    }

    fn utc(&self, local_ms: i64) -> UtcMs {
        UtcMs(local_ms).plus(-self.utc_offset_minutes.saturating_mul(MINUTE))
    }

    /// The open hours of a day, in order.
    fn open(&self, day: i64) -> Vec<Hours> {
        if self.closed.contains(&Date(day)) {
            return Vec::new();
        }
        // 1 January 1970 was a Thursday.
        let week_day = DAYS[usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)];
        let mut hours = self.hours.get(&week_day).cloned().unwrap_or_default();
        hours.sort_by_key(|h| h.from);
        hours
    }

    /// The moment at which `minutes` of working time have passed since `from`.
    #[must_use]
    pub fn after(&self, from: UtcMs, minutes: i64) -> UtcMs {
        let mut left_ms = minutes.max(0).saturating_mul(MINUTE);
        if self.hours.is_empty() {
            return from.plus(left_ms);
        }
        let start = self.local(from);
        let first_day = start.div_euclid(DAY_MIN * MINUTE);
        for day in first_day..first_day.saturating_add(DAYS_MAX) {
            let midnight = day.saturating_mul(DAY_MIN * MINUTE);
            for hours in self.open(day) {
                let opens = (midnight + hours.from.0 * MINUTE).max(start);
                let closes = midnight + hours.to.0 * MINUTE;
                if closes - opens >= left_ms && closes > opens {
                    return self.utc(opens + left_ms);
                }
                left_ms -= (closes - opens).max(0);
            }
        }
        // No hours for more than a year: count the time on the wall instead of never being due.
        from.plus(minutes.max(0).saturating_mul(MINUTE))
    }

    /// The next cut-off after `from`, on a working day.
    #[must_use]
    pub fn next_cut_off(&self, from: UtcMs) -> Option<UtcMs> {
        let start = self.local(from);
        let first_day = start.div_euclid(DAY_MIN * MINUTE);
        (first_day..first_day.saturating_add(DAYS_MAX))
            .filter(|day| self.hours.is_empty() || !self.open(*day).is_empty())
            .find_map(|day| {
                let at = |cut_off: &TimeOfDay| day.saturating_mul(DAY_MIN * MINUTE) + cut_off.0 * MINUTE;
                self.cut_offs.iter().map(at).filter(|at| *at > start).min().map(|at| self.utc(at))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMs {
        text.parse().unwrap()
    }

    fn depot() -> Calendar {
        toml::from_str(
            "utc_offset_minutes = 60\nclosed = ['2026-03-12']\ncut_offs = ['16:00']\n[hours]\nmon = ['06:00-14:00']\ntue = \
             ['06:00-14:00']\nwed = ['06:00-10:00', '12:00-14:00']\nthu = ['06:00-14:00']\nfri = ['06:00-14:00']",
        )
        .unwrap()
    }

    #[test]
    fn a_depot_that_always_works_counts_every_minute() {
        assert_eq!(Calendar::default().after(at("2026-03-10T23:00:00Z"), 90), at("2026-03-11T00:30:00Z"));
        assert_eq!(Calendar::default().next_cut_off(at("2026-03-10T23:00:00Z")), None);
    }

    #[test]
    fn the_clock_stands_over_night_over_lunch_and_on_closed_days() {
        // Tuesday 13:30 local: half an hour is left that day.
        assert_eq!(depot().after(at("2026-03-10T12:30:00Z"), 60), at("2026-03-11T05:30:00Z"));
        // Wednesday from 09:00 local: one hour, lunch, two hours, Thursday closed, then Friday.
        assert_eq!(depot().after(at("2026-03-11T08:00:00Z"), 4 * 60), at("2026-03-13T06:00:00Z"));
        // Saturday: Monday's first minutes.
        assert_eq!(depot().after(at("2026-03-14T10:00:00Z"), 5), at("2026-03-16T05:05:00Z"));
    }

    #[test]
    fn the_next_cut_off_is_on_a_working_day() {
        assert_eq!(depot().next_cut_off(at("2026-03-11T14:59:00Z")), Some(at("2026-03-11T15:00:00Z")));
        assert_eq!(depot().next_cut_off(at("2026-03-11T15:00:00Z")), Some(at("2026-03-13T15:00:00Z")));
    }

    #[test]
    fn hours_that_make_no_sense_are_refused() {
        for wrong in
            ["hours.mon = ['22:00-06:00']", "hours.mon = ['6-22']", "cut_offs = ['25:00']", "closed = ['soon']"]
        {
            assert!(toml::from_str::<Calendar>(wrong).is_err(), "{wrong}");
        }
    }
}
