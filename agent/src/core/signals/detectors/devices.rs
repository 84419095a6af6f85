//! Devices and systems behind the facts: clocks that are off, feeds that have gone silent.

use gatehouse_common::{
    case::CaseType,
    time::{Moment, UtcMs},
};

use crate::core::{
    Core,
    signals::{
        clocks::ClockWord,
        watch::{Condition, MatterKey, Sighting, Watched},
    },
};

/// The line to the hub, among the systems that facts come from.
const HUB: &str = "hub";

impl Core {
    /// Takes note of when a reading came and which time it bears. Call it for readings that came straight away.
    pub(in crate::core) fn compare_clocks(&mut self, now: &Moment, source: &str, at: UtcMs) {
        // Against a clock that nothing has confirmed, no other is wrong.
        if !now.trusted {
            return;
        }
        let rules = self.profile.bundle.rules.detectors.clock_skew.clone();
        let behind_ms = now.wall.since(at).unsigned_abs();
        if behind_ms <= rules.max_ms && self.clocks.get(source).is_none() {
            return;
        }
        self.clocks.edit(source, |clock| clock.reads(&rules, now.wall, at));
        self.to_watch.insert(Watched::Sender(source.to_owned()));
    }

    /// CLOCK_SKEW: its readings bear other times than they should.
    pub(super) fn watch_clock(&mut self, now: &Moment, watched: &Watched, source: &str) {
        let Some(clock) = self.clocks.get(source) else { return };
        let condition = match clock.word(&self.profile.bundle.rules.detectors.clock_skew) {
            ClockWord::Off { behind_ms, since } => {
                let seconds = behind_ms.unsigned_abs() / 1_000;
                let way = if behind_ms > 0 { "slow" } else { "fast" };
                Condition::Holds(Sighting::since(since, format!("the clock of {source} is {seconds} s {way}")))
            }
            ClockWord::Right => Condition::Absent,
            ClockWord::Unknown => Condition::Unknown,
        };
        if condition == Condition::Absent {
            self.clocks.forget(source);
        }
        self.found(now, watched, MatterKey::new(CaseType::ClockSkew, source, "-"), condition);
    }

    /// Has the feeds looked at: the line or the ages of sources have changed. `heard` is the hub's last word before.
    pub(in crate::core) fn feeds_changed(&mut self, now: &Moment, heard: UtcMs) {
        if !self.profile.is_gateway() {
            return;
        }
        // After a silence the hub tells the old ages first: read as late, they open nothing before the new ones come.
        let feeds: Vec<String> = self.sources.keys().cloned().chain([HUB.to_owned()]).collect();
        for feed in feeds {
            self.read_of(now, Watched::Feed(feed), heard);
        }
    }

    /// FEED_STALE: no successful exchange for longer than its budget.
    pub(super) fn watch_feed(&mut self, now: &Moment, watched: &Watched, feed: &str) {
        let drill = self.drill(feed);
        let heard = if let Some(drill) = drill {
            // It was heard until then.
            Some(drill.since.wall)
        } else if feed == HUB {
            self.line.heard.as_ref().map(|heard| heard.wall)
        } else {
            self.sources.get(feed).copied()
        };
        let condition = match heard {
            // Whom we have never heard is not connected.
            None => Condition::Unknown,
            // Cut off from the hub, nothing is known of those behind it; the line has a case of its own.
            Some(_) if feed != HUB && !self.line.up => Condition::Unknown,
            Some(_) if feed == HUB && self.line.up && drill.is_none() => Condition::Absent,
            Some(heard) => {
                let budget_ms = self.profile.bundle.rules.detectors.feed_stale.budget_of_ms(feed);
                let seen = Sighting::since(heard, format!("{feed} has not been heard since {heard}"));
                Condition::Holds(seen.lasting(budget_ms).by_silence())
            }
        };
        let subject = format!("{}/{feed}", self.profile.site);
        self.found(now, watched, MatterKey::new(CaseType::FeedStale, subject, "-"), condition);
    }
}
