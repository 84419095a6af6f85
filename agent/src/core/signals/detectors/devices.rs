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
    /// Takes note that something of `source` came at `received` and bears the time `at` of its clock: when it was
    /// sent, or what it says was measured.
    pub(in crate::core) fn compare_clocks(&mut self, now: &Moment, source: &str, received: UtcMs, at: UtcMs) {
        // Against a clock that nothing has confirmed, no other is wrong.
        if !now.trusted {
            return;
        }
        let rules = self.profile.bundle.rules.detectors.clock_skew.clone();
        let looks_right = received.since(at).unsigned_abs() <= rules.max_ms;
        if looks_right && self.senders.get(source).is_none_or(|sender| sender.times.is_empty()) {
            return;
        }
        if !self.has_room_for_sender(source) {
            return;
        }
        self.senders.edit(source, |sender| {
            sender.times.came(&rules, received, at);
            sender.heard = received;
        });
        self.to_watch.insert(Watched::Sender(source.to_owned()));
    }

    /// CLOCK_SKEW: its messages bear other times than they should.
    pub(super) fn watch_clock(&mut self, now: &Moment, watched: &Watched, source: &str) {
        let Some(sender) = self.senders.get(source) else { return };
        let condition = match sender.times.word(&self.profile.bundle.rules.detectors.clock_skew) {
            ClockWord::Off { behind_ms, since } => {
                let seconds = behind_ms.unsigned_abs() / 1_000;
                let way = if behind_ms > 0 { "slow" } else { "fast" };
                Condition::Holds(Sighting::since(since, format!("the clock of {source} is {seconds} s {way}")))
            }
            ClockWord::Right => Condition::Absent,
            ClockWord::Unknown => Condition::Unknown,
        };
        if sender.says_nothing() {
            self.senders.forget(source);
        }
        // Senders of two depots may have one name.
        self.found(now, watched, MatterKey::new(CaseType::ClockSkew, source, &self.profile.site), condition);
        // The key of an older program did not name the depot; what is still open under it comes to rest.
        self.clear(now, CaseType::ClockSkew, source, "-");
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
