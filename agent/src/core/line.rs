//! Whether the hub can be heard, and what that lets leave.
//!
//! A recall that waits at the hub must win against a release here. So nothing leaves while the hub may still
//! tell of one: after a start until the first exchange has ended, and while the line is up until every recall is known.
//! A hub that cannot be reached holds nothing up: after a while of silence the lease decides.

use gatehouse_common::time::Moment;

use super::{
    Core,
    decision::{Change, Effect, Record},
    drills,
    input::Line,
    state::LineSeen,
};

/// How often this device tells the hub how it is, in milliseconds.
pub(super) const STATUS_EVERY_MS: u64 = 300_000;

impl Core {
    pub(super) fn take_line(&mut self, now: &Moment, line: Line) {
        let heard = self.line.heard.take();
        let heard_before = heard.as_ref().map(|heard| heard.wall);
        let was_up = self.line.up;
        self.line = match line {
            Line::Starting => LineSeen { starting: true, heard, ..LineSeen::default() },
            // An answer that leaves recalls out is not yet word of the hub that a release may rest on.
            Line::Up { recalls_known: false } => LineSeen { up: true, heard, ..LineSeen::default() },
            Line::Up { recalls_known: true } => {
                LineSeen { up: true, recalls_known: true, heard: Some(now.clone()), ..LineSeen::default() }
            }
            Line::Lost => LineSeen { heard, ..LineSeen::default() },
        };
        if line == Line::Starting {
            self.started = Some(now.clone());
            self.write_rule("started", &self.started.clone());
            self.watch_all(now);
        }
        self.line.cut_off = self.is_cut_off(now);
        self.write_line();
        let came_up = self.line.up && !was_up;
        self.feeds_changed(now, heard_before.filter(|_| came_up).unwrap_or(now.wall));
        self.look_at_all = true;
    }

    /// What comes from the hub proves that the line is up, before the exchange itself is reported. More recalls
    /// may wait behind this page.
    pub(super) fn hub_speaks(&mut self, now: &Moment) {
        if !self.line.up {
            self.line = LineSeen { up: true, heard: self.line.heard.take(), ..LineSeen::default() };
            self.write_line();
            let heard = self.line.heard.as_ref().map_or(now.wall, |heard| heard.wall);
            self.feeds_changed(now, heard);
        }
    }

    pub(super) fn write_line(&mut self) {
        self.write_rule("line", &self.line.clone());
        self.changed(Change::Status);
    }

    /// Whether the hub has been silent for too long.
    pub(super) fn is_cut_off(&self, now: &Moment) -> bool {
        if self.is_drilled(drills::HUB) {
            return true;
        }
        let silence = self.line.heard.as_ref().and_then(|heard| now.since(heard));
        !self.line.up && silence.is_none_or(|s| s > self.profile.bundle.rules.hub_silence_max_ms)
    }

    /// Whether a release may leave as far as recalls go: those that the hub could tell are all known.
    pub(super) fn recalls_allow(&self) -> bool {
        let could_hear = self.line.up || self.line.starting;
        self.line.recalls_known || !could_hear
    }

    pub(super) fn tell_status(&mut self, now: &Moment) {
        let cut_off = self.is_cut_off(now);
        if cut_off != self.line.cut_off {
            self.line.cut_off = cut_off;
            self.write_line();
        }
        let told_ms = self.status_told.as_ref().and_then(|told| now.since(told));
        let due = told_ms.is_none_or(|ms| ms >= STATUS_EVERY_MS);
        let has_hub = self.line.up || self.line.heard.is_some();
        if !has_hub || !due {
            return;
        }
        self.status_told = Some(now.clone());
        self.write_rule("status_told", &self.status_told.clone());
        self.out.records.push(Record::Status { at: now.wall, position: self.own_position() });
        self.out.effects.push(Effect::PushNow);
    }

    /// Where the own vehicle was last.
    pub(super) fn own_position(&self) -> Option<gatehouse_common::geo::Point> {
        let vehicle = self.profile.vehicle.as_ref()?;
        self.vehicles.get(vehicle.as_str())?.fix.map(|(_, point)| point)
    }
}
