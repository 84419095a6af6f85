//! How much each program may send in a minute.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use axum::http::StatusCode;
use gatehouse_common::id::ActorName;

use super::Problem;

/// What is left to each program. Tokens are few and configured, so this does not grow.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<ActorName, (f64, Instant)>>);

impl Quotas {
    /// Takes `count` of `name`'s budget, which holds `per_minute` and fills evenly.
    /// # Errors
    /// 429 with the seconds after which so much is left.
    pub(super) fn take(&self, name: &ActorName, count: u32, per_minute: u32) -> Result<(), Problem> {
        let now = Instant::now();
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = f64::from(per_minute.max(1));
        let (tokens, at) = left.entry(name.clone()).or_insert((whole, now));
        *tokens = (*tokens + now.duration_since(*at).as_secs_f64() * whole / 60.0).min(whole);
        *at = now;
        // One batch may be larger than a minute's budget: it is let in when the budget is full, and paid back after.
        let needed = f64::from(count).min(whole);
        if *tokens >= needed {
            *tokens -= f64::from(count);
            return Ok(());
        }
        let wait = ((needed - *tokens) * 60.0 / whole).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0, and clamped")]
        let wait = (wait as u64).clamp(1, 3_600);
        let detail = format!("{name} may send {per_minute} in a minute; come back in {wait} s");
        Err(Problem {
            retry_after: Some(wait),
            ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "quota", "Too many at once", detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_that_sends_too_much_waits_and_others_do_not() {
        let quotas = Quotas::default();
        let (wms, tms) = ("wms".parse().unwrap(), "tms".parse().unwrap());
        for _ in 0..60 {
            quotas.take(&wms, 1, 60).unwrap();
        }
        let problem = quotas.take(&wms, 1, 60).unwrap_err();
        assert_eq!((problem.status, problem.retry_after), (429, Some(1)));
        quotas.take(&tms, 1, 60).unwrap();
        quotas.take(&tms, 500, 60).unwrap_err();
    }
}
