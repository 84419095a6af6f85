//! Drills: a source is pretended to be gone, for a while, so that a depot learns how it goes on without it.
//!
//! In: a person's word with a reason and a length, and what the source sends meanwhile. Out: facts that age as if no
//! news came, decisions that name the drill, and the news, kept and taken when the drill ends. It ends by itself: by its
//! length, at a restart of the machine, and when no more news can be kept. Never held back: orders, changes of
//! documents and with them every hold and recall, alarms, and broken seals.

use gatehouse_common::{
    fact::{Fact, FactKey, Report, Source},
    id::ActorName,
    lease::{HeldLease, LeaseUse},
    reading::{Reading, ReadingValue},
    seal::Sealed,
    time::Moment,
};
use serde::{Deserialize, Serialize};

use super::{
    Core,
    decision::{Change, Record, TapDone, TapRefused},
    input::Tap,
};

/// The hub, as the source of a drill: then nobody behind it is heard either.
pub const HUB: &str = "hub";
/// Names of sources that are no devices.
pub const SYSTEMS: [&str; 5] = ["erp", "wms", "tms", "carrier", HUB];
/// Longest drill, in milliseconds.
pub const DRILL_MAX_MS: u64 = 8 * 3_600_000;
/// Shortest drill, in milliseconds.
pub const DRILL_MIN_MS: u64 = 60_000;
/// The key under which leases are kept for the end of a drill.
pub const KEPT_LEASES: &str = "kept_lease";
/// Most readings that are kept for the end of drills; then they end.
const KEPT_MAX: usize = 5_000;
/// Most leases that are kept for the end of drills; then they end. One that was let go of would never be closed.
const KEPT_LEASES_MAX: usize = 32;

/// A drill that is on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// Since when.
    pub since: Moment,
    /// For how long, in milliseconds.
    pub lasts_ms: u64,
    /// Who started it.
    pub by: ActorName,
    /// Why.
    pub reason: String,
}

impl Drill {
    /// Milliseconds that are left; none once it is over. After a restart of the machine it is over.
    fn left_ms(&self, now: &Moment) -> Option<u64> {
        (now.boot == self.since.boot).then_some(())?;
        let passed = now.since(&self.since)?;
        self.lasts_ms.checked_sub(passed).filter(|left| *left > 0)
    }
}

/// What became of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillTurn {
    /// A person started it.
    Started,
    /// A person stopped it.
    Stopped,
    /// Its time was over.
    Ended,
}

impl DrillTurn {
    /// The word for it in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        }
    }
}

/// A reading that waits for the end of a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptNews {
    reading: Reading,
}

/// A lease that waits for the end of a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptLease {
    sealed: Sealed,
    received: Moment,
}

impl KeptLease {
    /// As it would be held.
    pub(super) fn held(&self) -> Option<HeldLease> {
        let (lease, received) = (self.sealed.peek().ok()?, self.received.clone());
        Some(HeldLease { lease, received, used: LeaseUse::default(), left_before_boot: None })
    }
}

/// What is stored under [`KEPT_LEASES`]; an older program kept one alone.
pub(super) fn kept_leases_in(body: &str) -> serde_json::Result<Vec<KeptLease>> {
    serde_json::from_str(body).or_else(|_| serde_json::from_str(body).map(|kept| vec![kept]))
}

/// The leases in what is stored under [`KEPT_LEASES`], as the hub signed them; none where it cannot be read.
#[must_use]
pub fn sealed_in(body: &str) -> Vec<Sealed> {
    kept_leases_in(body).unwrap_or_default().into_iter().map(|kept| kept.sealed).collect()
}

fn word_of(source: Source) -> &'static str {
    match source {
        Source::Erp => "erp",
        Source::Wms => "wms",
        Source::Tms => "tms",
        Source::Depot => "depot",
        Source::Vehicle => "vehicle",
        Source::Hub => HUB,
    }
}

impl Core {
    pub(super) fn tap_start_drill(
        &mut self,
        now: &Moment,
        tap: &Tap,
        source: &str,
        lasts_ms: u64,
        reason: &str,
    ) -> Result<TapDone, TapRefused> {
        self.may_change_rules(tap)?;
        self.needs_reason(reason)?;
        if !(DRILL_MIN_MS..=DRILL_MAX_MS).contains(&lasts_ms) {
            return Err(TapRefused::State("a drill lasts between a minute and 8 hours".to_owned()));
        }
        if source.is_empty() || source.len() > 200 {
            return Err(TapRefused::State("name the source that shall be gone".to_owned()));
        }
        if self.is_drilled(source) {
            return Err(TapRefused::State(format!("a drill without {source} is on already")));
        }
        let (by, reason) = (tap.who.clone(), reason.trim().to_owned());
        let noted = reason.clone();
        let drill = Drill { since: now.clone(), lasts_ms, by, reason };
        let until = now.wall.plus(super::ms(lasts_ms));
        self.drills.edit(source, |held| *held = Some(drill));
        self.note_drill(now, source, DrillTurn::Started, tap.who.as_str(), noted);
        self.feeds_changed(now, now.wall);
        Ok(TapDone { decision: None, message: format!("drill: {source} counts as gone until {until}") })
    }

    pub(super) fn tap_stop_drill(&mut self, now: &Moment, tap: &Tap, source: &str) -> Result<TapDone, TapRefused> {
        self.may_change_rules(tap)?;
        if !self.is_drilled(source) {
            return Err(TapRefused::State(format!("no drill without {source} is on")));
        }
        self.end_drill(now, source, DrillTurn::Stopped, tap.who.as_str());
        Ok(TapDone { decision: None, message: format!("the drill is over; what {source} sent meanwhile is taken") })
    }

    /// Ends the drills whose time is over.
    pub(super) fn end_drills(&mut self, now: &Moment) {
        let full = self.kept_readings.iter().nth(KEPT_MAX).is_some() || self.kept_leases.len() >= KEPT_LEASES_MAX;
        let over = |(source, drill): (&String, &Option<Drill>)| {
            let goes_on = drill.as_ref().is_some_and(|drill| drill.left_ms(now).is_some());
            (!goes_on || full).then(|| source.clone())
        };
        for source in self.drills.iter().filter_map(over).collect::<Vec<_>>() {
            self.end_drill(now, &source, DrillTurn::Ended, "rule drill");
        }
    }

    fn end_drill(&mut self, now: &Moment, source: &str, turn: DrillTurn, by: &str) {
        self.drills.forget(source);
        self.note_drill(now, source, turn, by, String::new());
        let facts: Vec<(String, Fact)> = self
            .kept_facts
            .iter()
            .filter_map(|(key, fact)| Some((key.clone(), fact.clone()?)))
            .filter(|(_, fact)| !self.withholds_report(&fact.report))
            .collect();
        for (key, fact) in facts {
            self.kept_facts.forget(&key);
            if self.facts.take(fact.clone()) {
                self.out.records.push(Record::Fact(fact));
            }
        }
        if source == HUB {
            self.take_kept_leases(now);
        }
        let readings: Vec<(String, Reading)> = self
            .kept_readings
            .iter()
            .filter_map(|(key, kept)| Some((key.clone(), kept.as_ref()?.reading.clone())))
            .filter(|(_, reading)| reading.source == source)
            .collect();
        for (key, reading) in readings {
            self.kept_readings.forget(&key);
            self.follow_reading(now, &reading);
        }
        self.feeds_changed(now, now.wall);
    }

    /// Takes the leases that came meanwhile, in their order: each closes the one before it, as without the drill, since
    /// one that is not closed weighs at the hub for ever.
    fn take_kept_leases(&mut self, now: &Moment) {
        let kept = std::mem::take(&mut self.kept_leases);
        if !kept.is_empty() {
            self.out.records.push(Record::RuleGone { key: KEPT_LEASES.to_owned() });
        }
        for KeptLease { sealed, received } in &kept {
            self.take_lease(now, received, sealed);
        }
    }

    fn note_drill(&mut self, now: &Moment, source: &str, turn: DrillTurn, by: &str, reason: String) {
        let (source, by) = (source.to_owned(), by.to_owned());
        tracing::warn!(source, by, reason, "drill without {source}: {}", turn.as_str());
        self.out.records.push(Record::Drill { source, turn, at: now.wall, by, reason });
        self.look_at_all = true;
        self.changed(Change::Status);
    }

    /// Whether a source is pretended to be gone.
    pub(super) fn is_drilled(&self, source: &str) -> bool {
        self.drills.get(source).is_some()
    }

    /// The drill without a source.
    pub(super) fn drill(&self, source: &str) -> Option<&Drill> {
        self.drills.get(source)?.as_ref()
    }

    /// The sources that are pretended to be gone.
    pub(super) fn drilled(&self) -> Vec<String> {
        self.drills.iter().map(|(source, _)| source.clone()).collect()
    }

    fn withholds_report(&self, report: &Report) -> bool {
        let by_carrier = matches!(report.key, FactKey::Carrier { .. }) && self.is_drilled("carrier");
        self.is_drilled(HUB) || by_carrier || self.is_drilled(word_of(report.source))
    }

    /// Keeps a report for the end of a drill; gives it back where there is none.
    pub(super) fn withhold_report(&mut self, now: &Moment, report: Report) -> Option<Report> {
        if !self.withholds_report(&report) {
            return Some(report);
        }
        let Ok(key) = serde_json::to_string(&report.key) else { return Some(report) };
        // As the facts themselves: a late report never undoes a newer one.
        self.kept_facts.edit(&key, |kept| {
            if !kept.as_ref().is_some_and(|held| held.keeps_out(&report, now)) {
                *kept = Some(Fact { report, received: now.clone() });
            }
        });
        None
    }

    /// Keeps a lease for the end of a drill; says whether it did.
    pub(super) fn withhold_lease(&mut self, now: &Moment, sealed: &Sealed) -> bool {
        if !self.is_drilled(HUB) {
            return false;
        }
        // The feed may bring one again; it counts from when it first came.
        if !self.kept_leases.iter().any(|kept| kept.sealed == *sealed) {
            self.kept_leases.push(KeptLease { sealed: sealed.clone(), received: now.clone() });
            self.write_rule(KEPT_LEASES, &self.kept_leases.clone());
        }
        true
    }

    /// Keeps a reading for the end of a drill; says whether it did.
    pub(super) fn withhold_reading(&mut self, reading: &Reading) -> bool {
        let urgent = matches!(
            reading.value,
            ReadingValue::Alarm { .. }
                | ReadingValue::Seal { intact: false, .. }
                | ReadingValue::CargoDoor { open: true, .. }
        );
        if urgent || !self.is_drilled(&reading.source) {
            return false;
        }
        let last = self.kept_readings.iter().next_back().and_then(|(key, _)| key.parse::<u64>().ok());
        // Digits to the full length: their order is that of the numbers.
        let key = format!("{:020}", last.unwrap_or(0) + 1);
        let kept = KeptNews { reading: reading.clone() };
        self.kept_readings.edit(&key, |held| *held = Some(kept));
        true
    }

    /// When a drill ends, in milliseconds from now.
    pub(super) fn drills_due<'a>(&'a self, now: &'a Moment) -> impl Iterator<Item = u64> + 'a {
        self.drills.iter().filter_map(|(_, drill)| drill.as_ref()?.left_ms(now))
    }
}
