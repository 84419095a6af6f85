//! Where the own vehicle was, for the hub: thinned as it comes in, kept while the line is down, told within a budget,
//! the newest first. The policy stands in [`gatehouse_common::telemetry`].
//!
//! Each piece is rule state: written in the transaction of the fix that changed it, gone in the one that puts it into
//! the outbox.

use gatehouse_common::{
    bundle::Tracks,
    reading::{Reading, ReadingValue},
    telemetry::{Event, Fix, Track, relieve},
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use super::Seen;
use crate::core::{
    Core,
    decision::{Effect, Record},
};

/// The row of the track that still grows.
const OPEN: &str = "open";
/// Most fixes of a track.
const FIXES_MAX: usize = 60;
/// Longest track, in milliseconds.
const LONGEST_MS: i64 = 900_000;
/// Most bytes of tracks in one message.
const MESSAGE_BYTES: u64 = 32 * 1024;
const HOUR_MS: u64 = 3_600_000;

/// What is remembered of the tracks as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackBook {
    /// Number of the next track.
    next: u32,
    /// Bytes that may be told now.
    allowance: u64,
    /// Until when the allowance was reckoned.
    reckoned: Option<Moment>,
}

/// Row of a numbered track: they sort as they were closed.
fn row(number: u32) -> String {
    format!("{number:010}")
}

impl Core {
    pub(super) fn track_fix(&mut self, seen: &Seen) {
        let fix = Fix::new(seen.at, &seen.point, seen.speed_kmh);
        let full = self.tracks.edit(OPEN, |track| {
            track.push(fix);
            track.fixes.len() >= FIXES_MAX || track.to.since(track.from) >= LONGEST_MS
        });
        if full {
            self.close_track();
        }
    }

    /// Notes an event of the own vehicle. It is never left out.
    pub(in crate::core) fn track_event(&mut self, at: UtcMs, what: &str) {
        self.tracks.edit(OPEN, |track| track.tell(Event { at, what: what.to_owned() }));
    }

    /// Notes what a reading says of the own vehicle, if that is an event.
    pub(in crate::core) fn track_reading(&mut self, reading: &Reading) {
        let own = self.profile.vehicle.as_ref();
        let (vehicle, what) = match &reading.value {
            ReadingValue::Seal { vehicle, intact, .. } => {
                (vehicle, if *intact { "seal whole" } else { "seal broken" }.to_owned())
            }
            ReadingValue::CargoDoor { vehicle, open } => {
                (vehicle, if *open { "cargo door open" } else { "cargo door closed" }.to_owned())
            }
            ReadingValue::Alarm { vehicle, alarm, on } => {
                (vehicle, format!("alarm {alarm:?} {}", if *on { "on" } else { "off" }).to_lowercase())
            }
            _ => return,
        };
        if own == Some(vehicle) {
            self.track_event(reading.at, &what);
        }
    }

    /// Thins the track that grew, gives it a number, and keeps all within the budget.
    fn close_track(&mut self) {
        let policy = self.profile.bundle.rules.trips.tracks.clone();
        let Some(mut track) = self.tracks.get(OPEN).filter(|track| !track.is_empty()).cloned() else { return };
        self.tracks.forget(OPEN);
        track.thin(&policy, policy.error_m);
        let number = self.track_book.next;
        self.track_book.next = number.saturating_add(1);
        self.write_rule("tracks", &self.track_book.clone());
        self.tracks.edit(&row(number), |held| *held = track);
        self.relieve_tracks(&policy);
    }

    fn relieve_tracks(&mut self, policy: &Tracks) {
        loop {
            let kept: Vec<(&String, &Track)> = self.tracks.iter().filter(|(row, _)| *row != OPEN).collect();
            let tracks: Vec<&Track> = kept.iter().map(|(_, track)| *track).collect();
            let Some(relief) = relieve(&tracks, policy) else { return };
            let place = kept[relief.place].0.clone();
            let next = kept.get(relief.place + 1).map(|(row, _)| (*row).clone());
            self.tracks.edit(&place, |held| *held = relief.track);
            if let Some(next) = next.filter(|_| relief.joined) {
                self.tracks.forget(&next);
            }
        }
    }

    /// Tells the hub where the vehicle was, as much as the budget allows, the newest first.
    pub(in crate::core) fn tell_tracks(&mut self, now: &Moment) {
        if self.profile.is_gateway() || !self.line.up {
            return;
        }
        let hourly = u64::from(self.profile.bundle.rules.trips.tracks.told_bytes_per_hour);
        // How long it has been cannot be known after a restart of the machine: then nothing has been saved up.
        let passed_ms = self.track_book.reckoned.as_ref().and_then(|at| now.since(at)).unwrap_or(0).min(HOUR_MS);
        let allowance = (self.track_book.allowance + hourly * passed_ms / HOUR_MS).min(hourly);
        let newest =
            self.tracks.iter().filter(|(row, _)| *row != OPEN).map(|(row, track)| (row.clone(), track.bytes()));
        let mut rows: Vec<(String, usize)> = newest.collect();
        rows.reverse();
        let (mut spent, mut told) = (0_u64, Vec::new());
        for (row, bytes) in rows {
            let with = spent + bytes as u64;
            // One that is larger than an hour's budget waits until the hour is whole, and goes then.
            let fits = with <= allowance || (told.is_empty() && allowance == hourly);
            if !fits || (with > MESSAGE_BYTES && !told.is_empty()) {
                break;
            }
            spent = with;
            told.push(row);
        }
        let waits = told.is_empty() && self.tracks.iter().all(|(row, _)| row == OPEN);
        if told.is_empty() && (waits || passed_ms < 60_000) && self.track_book.reckoned.is_some() {
            return;
        }
        self.track_book.allowance = allowance.saturating_sub(spent);
        self.track_book.reckoned = Some(now.clone());
        self.write_rule("tracks", &self.track_book.clone());
        if told.is_empty() {
            return;
        }
        let tracks: Vec<Track> = told.iter().filter_map(|row| self.tracks.get(row).cloned()).collect();
        for row in told {
            self.tracks.forget(&row);
        }
        let position = self.own_position();
        self.out.records.push(Record::Tracks { at: now.wall, position, tracks });
        self.out.effects.push(Effect::PushNow);
    }
}
