//! Where a vehicle was, thinned to what a line with few bytes can carry, with an account of what was left out.
//!
//! The policy, in order:
//! 1. Events are never left out, and every fix near one in time is kept.
//! 2. The first and the last fix of each [`Track`] are kept, and no gap between two kept fixes is longer than the policy
//!    allows where there were fixes in between.
//! 3. A fix is left out where the line between the kept ones before and after it, travelled at even speed, passes near
//!    enough to it at its time.
//! 4. Where all tracks together are more than the budget, the oldest are thinned again with a larger error, and in the
//!    end joined: then their events, the fix next to each, their first and their last fix remain.
//!
//! Each track says how many fixes there were and how many it kept, so that nothing is left out unsaid.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{bundle::Tracks, geo::Point, time::UtcMs};

/// The error beyond which thinning harder makes no sense any more, in metres: then tracks are joined.
const ERROR_MAX_M: u32 = 2_000;

/// A stretch of where a vehicle was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Track {
    /// Fix time of its first fix or event.
    pub from: UtcMs,
    /// Fix time of its last fix or event.
    pub to: UtcMs,
    /// How many fixes there were.
    pub seen: u32,
    /// How far a fix that was left out may lie from what is kept, in metres.
    pub error_m: u32,
    /// What is kept of them, by fix time.
    pub fixes: Vec<Fix>,
    /// What happened meanwhile, by time. All of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

/// One fix in whole numbers: milliseconds, millionths of a degree, km/h. Written as a list, to be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, i32, i32, Option<u16>)", into = "(i64, i32, i32, Option<u16>)")]
pub struct Fix {
    /// When.
    pub at: UtcMs,
    /// Millionths of a degree north.
    pub lat_e6: i32,
    /// Millionths of a degree east.
    pub lon_e6: i32,
    /// How fast, where known.
    pub kmh: Option<u16>,
}

/// Something that happened on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: UtcMs,
    /// What, in the words of dispatches and readings: `departed`, `arrived`, `stopped`, `went_on`, `seal`, ...
    pub what: String,
}

impl From<(i64, i32, i32, Option<u16>)> for Fix {
    fn from((at, lat_e6, lon_e6, kmh): (i64, i32, i32, Option<u16>)) -> Self {
        Self { at: UtcMs(at), lat_e6, lon_e6, kmh }
    }
}

impl From<Fix> for (i64, i32, i32, Option<u16>) {
    fn from(fix: Fix) -> Self {
        (fix.at.0, fix.lat_e6, fix.lon_e6, fix.kmh)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a valid point and a clamped speed fit")]
impl Fix {
    /// A fix in whole numbers.
    #[must_use]
    pub fn new(at: UtcMs, point: &Point, speed_kmh: Option<f64>) -> Self {
        Self {
            at,
            lat_e6: (point.lat * 1e6).round() as i32,
            lon_e6: (point.lon * 1e6).round() as i32,
            kmh: speed_kmh.map(|v| v.clamp(0.0, 999.0).round() as u16),
        }
    }

    /// Where.
    #[must_use]
    pub fn point(&self) -> Point {
        Point { lat: f64::from(self.lat_e6) / 1e6, lon: f64::from(self.lon_e6) / 1e6 }
    }
}

impl Track {
    /// Takes a fix; one that is not later than the last is not taken.
    pub fn push(&mut self, fix: Fix) {
        if self.fixes.last().is_some_and(|last| last.at >= fix.at) {
            return;
        }
        self.stretch(fix.at);
        self.seen = self.seen.saturating_add(1);
        self.fixes.push(fix);
    }

    /// Takes an event.
    pub fn tell(&mut self, event: Event) {
        self.stretch(event.at);
        let place = self.events.partition_point(|held| held.at <= event.at);
        self.events.insert(place, event);
    }

    fn stretch(&mut self, at: UtcMs) {
        let empty = self.is_empty();
        self.from = if empty { at } else { self.from.min(at) };
        self.to = if empty { at } else { self.to.max(at) };
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen == 0 && self.events.is_empty()
    }

    /// Fixes that were left out.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.seen.saturating_sub(u32::try_from(self.fixes.len()).unwrap_or(u32::MAX))
    }

    /// Its bytes in a message, roughly, and never less.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|event| event.what.len() + 40).sum();
        100 + self.fixes.len() * 44 + events
    }

    /// Leaves out what the policy lets go at an error of `error_m`, or at the error it has if that is larger.
    pub fn thin(&mut self, policy: &Tracks, error_m: u32) {
        self.error_m = self.error_m.max(error_m);
        if self.fixes.len() < 3 {
            return;
        }
        let near =
            |at: UtcMs| self.events.iter().any(|event| at.since(event.at).unsigned_abs() <= policy.event_keeps_ms);
        let last = self.fixes.len() - 1;
        let mut keep: Vec<bool> = self.fixes.iter().map(|fix| near(fix.at)).collect();
        keep[0] = true;
        keep[last] = true;
        let fixed: Vec<usize> = (0..=last).filter(|n| keep[*n]).collect();
        for ends in fixed.windows(2) {
            keep_bends(&self.fixes, ends[0], ends[1], f64::from(self.error_m), policy.gap_max_ms, &mut keep);
        }
        let mut kept = keep.into_iter();
        self.fixes.retain(|_| kept.next().unwrap_or(true));
    }

    /// Takes in the track that follows; what remains of both are their events, the fix next to each, the first and the
    /// last.
    fn join(&mut self, next: Self) {
        self.to = self.to.max(next.to);
        self.from = self.from.min(next.from);
        self.seen = self.seen.saturating_add(next.seen);
        self.error_m = u32::MAX;
        self.fixes.extend(next.fixes);
        self.events.extend(next.events);
        self.events.sort_by_key(|event| event.at);
        let ends = [self.from, self.to].into_iter();
        let wanted: BTreeSet<UtcMs> = ends
            .chain(self.events.iter().map(|event| event.at))
            .filter_map(|at| self.fixes.iter().map(|fix| fix.at).min_by_key(|fix| fix.since(at).unsigned_abs()))
            .collect();
        self.fixes.retain(|fix| wanted.contains(&fix.at));
    }
}

/// Marks the fixes between `first` and `last` that must stay: the one furthest from the line, and so on to both sides.
fn keep_bends(fixes: &[Fix], first: usize, last: usize, error_m: f64, gap_max_ms: u64, keep: &mut [bool]) {
    let mut parts = vec![(first, last)];
    while let Some((first, last)) = parts.pop() {
        let (mut furthest, mut off_m) = (None, error_m);
        for n in first + 1..last {
            let off = off_line_m(&fixes[first], &fixes[last], &fixes[n]);
            if off > off_m {
                (furthest, off_m) = (Some(n), off);
            }
        }
        let gap = fixes[last].at.since(fixes[first].at).unsigned_abs();
        let halfway = || {
            let middle = fixes[first].at.plus(fixes[last].at.since(fixes[first].at) / 2);
            (first + 1..last).min_by_key(|n| fixes[*n].at.since(middle).unsigned_abs())
        };
        let stays = furthest.or_else(|| if gap > gap_max_ms { halfway() } else { None });
        if let Some(n) = stays {
            keep[n] = true;
            parts.extend([(first, n), (n, last)]);
        }
    }
}

/// How far a fix lies from where even travel between two others would be at its time, in metres.
fn off_line_m(first: &Fix, last: &Fix, fix: &Fix) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds within a track fit")]
    let part = fix.at.since(first.at) as f64 / (last.at.since(first.at).max(1)) as f64;
    let (a, b) = (first.point(), last.point());
    let between = Point { lat: a.lat + (b.lat - a.lat) * part, lon: a.lon + (b.lon - a.lon) * part };
    between.near_m(&fix.point())
}

/// Which of `tracks` (oldest first) to thin harder or join, so that they come nearer to the budget; `None` within it.
///
/// The caller writes back the track at the returned place; with `joined` the one after it is gone.
#[must_use]
pub fn relieve(tracks: &[&Track], policy: &Tracks) -> Option<Relief> {
    let total: usize = tracks.iter().map(|track| track.bytes()).sum();
    if total <= policy.kept_bytes as usize {
        return None;
    }
    // The least thinned of the older half, oldest first: what is newest stays whole longest.
    let older = tracks.len().div_ceil(2);
    let thinnable = |track: &Track| track.error_m < ERROR_MAX_M && track.fixes.len() > 2;
    let place = (0..older).filter(|n| thinnable(tracks[*n])).min_by_key(|n| (tracks[*n].error_m, *n));
    if let Some(place) = place {
        let mut track = tracks[place].clone();
        let error_m = track.error_m.max(policy.error_m).max(1).saturating_mul(4).min(ERROR_MAX_M);
        track.thin(policy, error_m);
        return Some(Relief { place, track, joined: false });
    }
    let (first, next) = (tracks.first()?, tracks.get(1)?);
    let mut track = (*first).clone();
    track.join((*next).clone());
    Some(Relief { place: 0, track, joined: true })
}

/// What [`relieve`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relief {
    /// Which track.
    pub place: usize,
    /// What becomes of it.
    pub track: Track,
    /// Whether it took in the one after it.
    pub joined: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(s: i64, north_m: i32, east_m: i32) -> Fix {
        Fix { at: UtcMs(s * 1_000), lat_e6: 30_000_000 + north_m * 9, lon_e6: -97_000_000 + east_m * 10, kmh: Some(40) }
    }

    fn track(fixes: impl IntoIterator<Item = Fix>) -> Track {
        let mut track = Track::default();
        fixes.into_iter().for_each(|fix| track.push(fix));
        track
    }

    fn event(s: i64) -> Event {
        Event { at: UtcMs(s * 1_000), what: "seal".into() }
    }

    #[test]
    fn on_a_straight_road_two_fixes_tell_it_all_and_a_bend_stays() {
        let policy = Tracks::default();
        let mut straight = track((0..50).map(|n| fix(n * 10, i32::try_from(n).unwrap() * 100, 0)));
        straight.thin(&policy, 15);
        assert_eq!((straight.seen, straight.fixes.len(), straight.dropped()), (50, 2, 48));
        let bent = |n: i32| if n < 25 { (n * 100, 0) } else { (2_500, (n - 25) * 100) };
        let mut bent = track((0..50).map(|n| fix(i64::from(n) * 10, bent(n).0, bent(n).1)));
        bent.thin(&policy, 15);
        assert!(bent.fixes.iter().any(|f| f.at == UtcMs(250_000)), "{bent:?}");
        assert!(bent.fixes.len() <= 4, "{bent:?}");
    }

    #[test]
    fn a_stop_keeps_its_beginning_and_its_end() {
        let place = |n: i64| if n < 20 { n * 100 } else { 2_000 + (n - 40).max(0) * 100 };
        let mut stopped = track((0..60).map(|n| fix(n * 10, i32::try_from(place(n)).unwrap(), 0)));
        stopped.thin(&Tracks::default(), 15);
        let at: Vec<i64> = stopped.fixes.iter().map(|f| f.at.0 / 1_000).collect();
        assert_eq!(at, [0, 200, 400, 590]);
    }

    #[test]
    fn fixes_near_an_event_and_after_a_long_gap_stay_however_straight_the_road() {
        let mut near = track((0..200).map(|n| fix(n * 10, i32::try_from(n).unwrap() * 100, 0)));
        near.tell(event(305));
        near.thin(&Tracks::default(), 15);
        let at: Vec<i64> = near.fixes.iter().map(|f| f.at.0 / 1_000).collect();
        assert!((250..=360).step_by(10).all(|s| at.contains(&s)), "{at:?}");
        assert!(at.windows(2).all(|w| w[1] - w[0] <= 600), "{at:?}");
    }

    #[test]
    fn under_any_budget_events_and_the_count_of_what_was_seen_stay() {
        let policy = Tracks { kept_bytes: 10_000, ..Tracks::default() };
        let wiggle = |n: i64| i32::try_from((n * 7_919) % 4_001).unwrap();
        let mut tracks: Vec<Track> = (0..40)
            .map(|k| {
                let mut t = track((0..60).map(|n| fix(k * 3_600 + n * 20, wiggle(n + k), wiggle(n * 3 + k))));
                t.tell(event(k * 3_600 + 300));
                t.thin(&policy, policy.error_m);
                t
            })
            .collect();
        let mut steps = 0;
        while let Some(relief) = relieve(&tracks.iter().collect::<Vec<_>>(), &policy) {
            tracks[relief.place] = relief.track;
            if relief.joined {
                tracks.remove(relief.place + 1);
            }
            steps += 1;
            assert!(steps < 1_000, "it does not end");
        }
        let bytes: usize = tracks.iter().map(Track::bytes).sum();
        assert!(bytes <= 10_000, "{bytes}");
        assert_eq!(tracks.iter().map(|t| t.seen).sum::<u32>(), 2_400);
        assert_eq!(tracks.iter().map(|t| t.events.len()).sum::<usize>(), 40);
        assert!(tracks.last().unwrap().error_m <= tracks[0].error_m, "the oldest are thinned first");
    }

    #[test]
    fn a_track_is_written_short_and_read_as_it_was() {
        let mut written = track([fix(1, 0, 0), fix(2, 5, 5)]);
        written.tell(event(1));
        let text = serde_json::to_string(&written).unwrap();
        assert!(text.contains("[[1000,30000000,-97000000,40],"), "{text}");
        assert!(text.len() <= written.bytes(), "{} {}", text.len(), written.bytes());
        assert_eq!(serde_json::from_str::<Track>(&text).unwrap(), written);
    }
}
