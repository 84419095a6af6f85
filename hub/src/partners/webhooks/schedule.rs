//! When a delivery is tried again, and when no more; decided without I/O.

/// Milliseconds before each try: at once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, the schedule that the
/// specification of Standard Webhooks gives as its example.
pub const WAITS_MS: [i64; 10] =
    [0, 5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000, 86_400_000];
/// The longest wait that a receiver may ask for, in milliseconds.
const ASKED_MAX_MS: i64 = 86_400_000;
/// Up to how much of a wait is added by chance, so that what failed together does not come back together.
const JITTER_PERMILLE: i64 = 100;

/// What a receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// 2xx.
    Taken,
    /// 410: it wants nothing more.
    Gone,
    /// Anything else, with how long it asks to be left alone, in milliseconds.
    Refused {
        /// What it said, in few words.
        why: String,
        /// From `retry-after`.
        wait_ms: Option<i64>,
    },
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It is done.
    Done,
    /// The subscription is ended.
    Disable,
    /// It is tried again after so many milliseconds.
    Again(i64),
    /// It is parked for a person.
    Park,
}

/// What follows from an answer to try number `attempts`, from 1. `chance` is 0 to 999.
#[must_use]
pub fn next(answered: &Answered, attempts: u32, chance: u16) -> Next {
    match answered {
        Answered::Taken => Next::Done,
        Answered::Gone => Next::Disable,
        Answered::Refused { wait_ms, .. } => {
            let Some(wait) = WAITS_MS.get(usize::try_from(attempts).unwrap_or(usize::MAX)) else { return Next::Park };
            let asked = wait_ms.unwrap_or_default().clamp(0, ASKED_MAX_MS);
            let wait = (*wait).max(asked);
            let jitter = wait / 1000 * JITTER_PERMILLE / 1000 * i64::from(chance.min(999));
            Next::Again(wait.saturating_add(jitter))
        }
    }
}

/// Milliseconds of a `retry-after` header: seconds, or a date, which is `now_ms` since 1970 away.
#[must_use]
pub fn retry_after(value: &str, now_ms: i64) -> Option<i64> {
    if let Ok(seconds) = value.trim().parse::<i64>() {
        return (seconds >= 0).then(|| seconds.saturating_mul(1000));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?;
    Some(date.timestamp().as_millisecond().saturating_sub(now_ms).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wait_ms: Option<i64>) -> Answered {
        Answered::Refused { why: "503".into(), wait_ms }
    }

    #[test]
    fn it_is_tried_ten_times_on_the_published_schedule_and_then_parked() {
        let waits: Vec<Next> = (1..=10).map(|n| next(&refused(None), n, 0)).collect();
        let expected = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400].map(|s| Next::Again(s * 1000));
        assert_eq!(waits[..9], expected);
        assert_eq!(waits[9], Next::Park);
    }

    #[test]
    fn chance_makes_it_later_by_a_tenth_at_most_and_never_sooner() {
        for chance in [0, 1, 500, 999, u16::MAX] {
            let Next::Again(wait) = next(&refused(None), 2, chance) else { panic!("parked") };
            assert!((300_000..=330_000).contains(&wait), "{wait}");
        }
        assert_ne!(next(&refused(None), 2, 0), next(&refused(None), 2, 900));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_and_for_a_day_at_most() {
        assert_eq!(next(&refused(Some(600_000)), 1, 0), Next::Again(600_000));
        assert_eq!(next(&refused(Some(1)), 1, 0), Next::Again(5_000), "never sooner than the schedule");
        assert_eq!(next(&refused(Some(i64::MAX)), 1, 0), Next::Again(86_400_000));
        assert_eq!(next(&refused(Some(-5)), 1, 0), Next::Again(5_000));
        assert_eq!(next(&Answered::Gone, 1, 0), Next::Disable);
        assert_eq!(retry_after("120", 0), Some(120_000));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10_000), Some(50_000));
        assert_eq!(retry_after("soon", 0), None);
    }
}
