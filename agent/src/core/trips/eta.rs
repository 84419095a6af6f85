//! When a vehicle will come, with how uncertain that is. A plain model in whole numbers.
//!
//! By a timetable: it keeps its delay, and half of a lead. By distance: the pace table of the bundle, corrected by how
//! the own trip has gone so far. What earlier trips of the same vehicle showed shifts the estimate and widens or
//! narrows the distance to the 80th percentile: after each trip a little, so that in the long run four of five arrive
//! before it.

use gatehouse_common::{bundle::Pace, time::UtcMs};
use serde::{Deserialize, Serialize};

use super::way::by_table;

/// An estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eta {
    /// The fix it was made from.
    pub at: UtcMs,
    /// Half of the arrivals are before this.
    pub p50: UtcMs,
    /// Four of five arrivals are before this.
    pub p80: UtcMs,
}

/// What is left of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// By a timetable.
    Timetable {
        /// How much later it is than planned; below 0 for a lead.
        late_ms: i64,
        /// What the timetable allows for the rest.
        left_ms: i64,
    },
    /// By distance.
    Distance {
        /// Metres to the end.
        left_m: u32,
        /// Metres of the whole way.
        whole_m: u32,
        /// How long it has been under way.
        elapsed_ms: i64,
    },
}

/// What earlier trips of a vehicle showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// Trips so far.
    pub trips: u32,
    /// How much longer the rest of a way takes than estimated, in thousandths.
    pub shift_permille: i64,
    /// How much wider the spread is than the bundle says, in thousandths.
    pub spread_permille: i64,
}

impl Default for Learnt {
    fn default() -> Self {
        Self { trips: 0, shift_permille: 0, spread_permille: 1_000 }
    }
}

/// How far one estimate moves the shift, in thousandths.
const SHIFT_STEP: i64 = 4;
/// How far an arrival before the 80th percentile narrows the spread, in thousandths; one after it widens four times that.
const SPREAD_STEP: i64 = 20;

impl Learnt {
    /// Learns from a trip that has arrived.
    pub fn takes(&mut self, asked: &[Eta], arrived: UtcMs) {
        if asked.is_empty() {
            return;
        }
        self.trips = self.trips.saturating_add(1);
        for eta in asked {
            let shift = if arrived > eta.p50 { SHIFT_STEP } else { -SHIFT_STEP };
            self.shift_permille = (self.shift_permille + shift).clamp(-300, 300);
            let spread = if arrived > eta.p80 { 4 * SPREAD_STEP } else { -SPREAD_STEP };
            self.spread_permille = (self.spread_permille + spread).clamp(300, 5_000);
        }
    }
}

/// How long a way of so many metres to its end takes by the pace table, in milliseconds.
pub fn table_ms(pace: &Pace, metres: u32) -> i64 {
    let mut sum_ms = 0;
    for (n, row) in pace.table.iter().enumerate() {
        let from_m = i64::from(row.from_km) * 1_000;
        let to_m = pace.table.get(n + 1).map_or(i64::MAX, |next| i64::from(next.from_km) * 1_000);
        let within_m = i64::from(metres).min(to_m).saturating_sub(from_m).max(0);
        sum_ms += within_m * i64::from(row.s_per_km);
    }
    sum_ms
}

/// When it will come, from what is left at `at`.
pub fn estimate(pace: &Pace, learnt: &Learnt, at: UtcMs, left: &Left) -> Eta {
    let (rest_ms, spread_permille) = match *left {
        Left::Timetable { late_ms, left_ms } => {
            let given_up = 1_000 - i64::from(pace.lead_kept_permille.min(1_000));
            let waits_ms = (-late_ms).max(0) * given_up / 1_000;
            (left_ms + waits_ms, pace.spread_timetable_permille)
        }
        Left::Distance { left_m, whole_m, elapsed_ms } => {
            let (whole_ms, table_left_ms) = by_table(pace, whole_m, left_m);
            let prior_ms = i64::from(pace.prior_s) * 1_000;
            let done_ms = (whole_ms - table_left_ms).max(0);
            let own = ((elapsed_ms.max(0) + prior_ms) * 1_000 / (done_ms + prior_ms).max(1)).clamp(500, 2_000);
            (table_left_ms * own / 1_000, pace.spread_distance_permille)
        }
    };
    let rest_ms = (rest_ms + rest_ms * learnt.shift_permille / 1_000).max(0);
    let spread_ms = i64::from(pace.spread_s) * 1_000 + rest_ms * i64::from(spread_permille) / 1_000;
    let p50 = at.plus(rest_ms);
    Eta { at, p50, p80: p50.plus(spread_ms * learnt.spread_permille / 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn eta(left: Left) -> (i64, i64) {
        let eta = estimate(&Pace::default(), &Learnt::default(), UtcMs(0), &left);
        (eta.p50.0, eta.p80.0)
    }

    #[test]
    fn by_a_timetable_a_delay_stays_and_half_of_a_lead_is_given_up() {
        assert_eq!(eta(Left::Timetable { late_ms: 600_000, left_ms: HOUR_MS }).0, HOUR_MS);
        assert_eq!(eta(Left::Timetable { late_ms: -600_000, left_ms: HOUR_MS }).0, HOUR_MS + 300_000);
        assert_eq!(eta(Left::Timetable { late_ms: 0, left_ms: HOUR_MS }).1, HOUR_MS + 75_000 + 180_000);
    }

    #[test]
    fn by_distance_the_table_speaks_first_and_the_own_trip_more_and_more() {
        let at_once = eta(Left::Distance { left_m: 50_000, whole_m: 50_000, elapsed_ms: 0 }).0;
        assert_eq!(at_once, (5 * 150 + 25 * 100 + 20 * 65) * 1_000);
        let half = |elapsed_ms| eta(Left::Distance { left_m: 25_000, whole_m: 50_000, elapsed_ms }).0;
        let usual = half((5 * 100 + 20 * 65) * 1_000);
        assert_eq!(usual, (5 * 150 + 20 * 100) * 1_000);
        assert!(half(4 * 1_800_000) > usual * 3 / 2 && half(900_000) < usual);
    }

    #[test]
    fn in_the_long_run_four_of_five_arrive_before_the_80th_percentile() {
        let (pace, mut learnt) = (Pace::default(), Learnt::default());
        let left = Left::Timetable { late_ms: 0, left_ms: HOUR_MS };
        let (mut before, mut asked) = (0, 0);
        for n in 0..4_000_i64 {
            // Evenly between 10 minutes early and 30 minutes late.
            let arrived = UtcMs(HOUR_MS + ((n * 7_919) % 2_400 - 600) * 1_000);
            let eta = estimate(&pace, &learnt, UtcMs(0), &left);
            if n >= 2_000 {
                asked += 1;
                before += i32::from(arrived <= eta.p80);
            }
            learnt.takes(&[eta], arrived);
        }
        let share = before * 100 / asked;
        assert!((75..=85).contains(&share), "{share}");
    }
}
