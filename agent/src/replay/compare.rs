//! What came out otherwise, why, and how true the replay is.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    bundle::Bundle,
    case::{CaseType, CaseView},
    decision::{DecisionKind, DecisionRecord, Mode},
    gate::{GateResult, GateState},
    id::{DocumentId, Hash32, OrderId},
    time::UtcMs,
};
use serde::Serialize;

use super::{
    ReplayError,
    run::{Decided, Pair, Run},
};
use crate::store::Reader;

/// A decision counts as the recorded one if it came within so many milliseconds of it.
const SAME_WITHIN_MS: i64 = 60_000;
/// Most examples of one kind.
const EXAMPLES: usize = 20;

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Hash of the new rules.
    pub bundle: Hash32,
    /// Their number.
    pub version: u64,
    /// From when on they were tried.
    pub from: UtcMs,
    /// Until when.
    pub to: UtcMs,
    /// Dispatches about which something was decided in either run.
    pub dispatches: u64,
    /// Those that come out otherwise.
    pub differences: Vec<Difference>,
    /// Cases opened, by type; types without any are left out.
    pub cases: Vec<CasesOfType>,
    /// How true the run under the rules of then is to what was recorded.
    pub faith: Faith,
}

/// A dispatch that comes out otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its document.
    pub dispatch: DocumentId,
    /// Its order.
    pub order: Option<OrderId>,
    /// What it comes to: `released`, `not released`, `released earlier`, `released later`, or `decided otherwise` where
    /// the release is the same.
    pub change: &'static str,
    /// What was decided under the rules of then.
    pub then: Vec<Step>,
    /// What the new rules decide.
    pub now: Vec<Step>,
    /// What made the difference where the two part: one line for each gate that came out otherwise.
    pub why: Vec<String>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When.
    pub at: UtcMs,
    /// What.
    pub kind: DecisionKind,
    /// How.
    pub mode: Option<Mode>,
    /// Why.
    pub reason: String,
}

/// Cases of one type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CasesOfType {
    /// Which.
    pub case_type: CaseType,
    /// Opened under the rules of then.
    pub then: u64,
    /// Opened under the new ones.
    pub now: u64,
    /// Summaries of those that only the rules of then open, a few.
    pub only_then: Vec<String>,
    /// Summaries of those that only the new rules open, a few.
    pub only_now: Vec<String>,
    /// Opened by both, with another severity or owner.
    pub reclassified: u64,
}

/// How true the run under the rules of then is to what the store recorded in the same span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Faith {
    /// Decisions recorded about dispatches.
    pub decisions_recorded: u64,
    /// Of those, decided again: the same, within a minute.
    pub decisions_same: u64,
    /// Decided in the replay and not recorded.
    pub decisions_more: u64,
    /// Orders for which the two differ, a few.
    pub orders: Vec<String>,
    /// Cases recorded as opened.
    pub cases_recorded: u64,
    /// Of those, opened again.
    pub cases_same: u64,
    /// Inputs and readings that the store has let go of, and without which it was replayed.
    pub missing: (u64, u64),
    /// How often rules were in force whose text is not kept any more.
    pub rules_missing: u64,
    /// What people did that the new rules did not let happen, less what those of then refused.
    pub taps_refused_now: i64,
    /// Words of the hub about cases that do not arise under the new rules.
    pub unheard_now: u64,
}

impl Faith {
    /// Whether the replay gives exactly what was recorded.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.decisions_same == self.decisions_recorded
            && self.decisions_more == 0
            && self.cases_same == self.cases_recorded
            && self.missing == (0, 0)
            && self.rules_missing == 0
    }
}

impl Step {
    fn of(decided: &Decided) -> Self {
        Self { at: decided.at, kind: decided.kind, mode: decided.mode, reason: decided.reason.clone() }
    }
}

pub(super) fn report(
    store: &Reader,
    bundle: &Bundle,
    pair: Pair,
    span: (UtcMs, UtcMs),
    missing: (u64, u64),
    rules_missing: u64,
) -> Result<Report, ReplayError> {
    let Pair { then, new, .. } = pair;
    let new = new.unwrap_or_else(|| then.clone());
    let (was, is) = (by_dispatch(&then.decided), by_dispatch(&new.decided));
    let dispatches: BTreeSet<DocumentId> = was.keys().chain(is.keys()).copied().collect();
    let none = Vec::new();
    let difference = |id: &DocumentId| differs(*id, was.get(id).unwrap_or(&none), is.get(id).unwrap_or(&none));
    let mut differences: Vec<Difference> = dispatches.iter().filter_map(difference).collect();
    differences.sort_by_key(|d| (d.then.first().or(d.now.first()).map(|step| step.at), d.dispatch));
    let mut faith = faith(store, &then, span)?;
    faith.missing = missing;
    faith.rules_missing = rules_missing;
    faith.taps_refused_now = new.taps.1.cast_signed() - then.taps.1.cast_signed();
    faith.unheard_now = new.unheard.saturating_sub(then.unheard);
    Ok(Report {
        bundle: bundle.hash,
        version: bundle.rules.version,
        from: span.0,
        to: span.1,
        dispatches: dispatches.len() as u64,
        differences,
        cases: cases(&then, &new, span),
        faith,
    })
}

fn by_dispatch(decided: &[Decided]) -> BTreeMap<DocumentId, Vec<&Decided>> {
    let mut all: BTreeMap<DocumentId, Vec<&Decided>> = BTreeMap::new();
    for decision in decided {
        all.entry(decision.dispatch).or_default().push(decision);
    }
    all
}

fn same(a: &Decided, b: &Decided) -> bool {
    (a.at, a.kind, a.mode) == (b.at, b.kind, b.mode)
}

fn differs(dispatch: DocumentId, then: &[&Decided], now: &[&Decided]) -> Option<Difference> {
    let alike = then.iter().zip(now).take_while(|(a, b)| same(a, b)).count();
    let (rest_then, rest_now) = (then.get(alike), now.get(alike));
    let why = match (rest_then, rest_now) {
        (None, None) => return None,
        // Of the two that part here, the sooner made the difference.
        (Some(a), Some(b)) if a.at <= b.at => because(&a.gates, &a.other_gates, Some(a), Some(b)),
        (Some(a), None) => because(&a.gates, &a.other_gates, Some(a), None),
        (a, Some(b)) => because(&b.other_gates, &b.gates, a.copied(), Some(b)),
    };
    let released = |all: &[&Decided]| {
        all.iter().find(|d| matches!(d.kind, DecisionKind::Release | DecisionKind::Override)).map(|d| d.at)
    };
    let change = match (released(then), released(now)) {
        (None, Some(_)) => "released",
        (Some(_), None) => "not released",
        (Some(a), Some(b)) if b < a => "released earlier",
        (Some(a), Some(b)) if b > a => "released later",
        _ => "decided otherwise",
    };
    let order = then.iter().chain(now).find_map(|d| d.order.clone());
    let steps = |all: &[&Decided]| all.iter().map(|d| Step::of(d)).collect();
    Some(Difference { dispatch, order, change, then: steps(then), now: steps(now), why })
}

/// Which gates came out otherwise.
fn because(then: &[GateResult], now: &[GateResult], a: Option<&Decided>, b: Option<&Decided>) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for gate in then.iter().chain(now) {
        if !names.contains(&gate.name()) {
            names.push(gate.name());
        }
    }
    let find = |gates: &[GateResult], name: &str| gates.iter().find(|gate| gate.name() == name).map(in_words);
    let differ = |name: &&str| {
        let (then, now) = (find(then, name), find(now, name));
        let word = |gate: Option<String>| gate.unwrap_or_else(|| "not asked".to_owned());
        (then != now).then(|| format!("{name}: then {}; now {}", word(then), word(now)))
    };
    let lines: Vec<String> = names.iter().filter_map(differ).collect();
    if !lines.is_empty() {
        return lines;
    }
    let reason = |d: Option<&Decided>| d.map_or_else(|| "nothing was decided".to_owned(), |d| d.reason.clone());
    vec![format!("the gates came out alike; then: {}; now: {}", reason(a), reason(b))]
}

fn in_words(gate: &GateResult) -> String {
    let state = match &gate.state {
        GateState::Pass => "met".to_owned(),
        GateState::Fail { reason } => format!("failed ({reason})"),
        GateState::Unknown { .. } => format!("unknown ({})", gate.explain()),
    };
    let asked = !gate.inputs.is_empty() && gate.limit_ms < u64::MAX;
    let limit = if asked { format!(", facts may be {} min old", gate.limit_ms / 60_000) } else { String::new() };
    let rule = gate.fallback.as_ref().map_or_else(String::new, |rule| format!(", fallback rule {rule}"));
    format!("{state}{limit}{rule}")
}

fn cases(then: &Run, new: &Run, span: (UtcMs, UtcMs)) -> Vec<CasesOfType> {
    let opened = |run: &Run| -> BTreeMap<DocumentId, CaseView> {
        let since = run.cases.iter().filter(|(_, view)| view.opened_at >= span.0);
        since.map(|(id, view)| (*id, view.clone())).collect()
    };
    let (was, is) = (opened(then), opened(new));
    let of_type = |case_type: CaseType| {
        let only = |a: &BTreeMap<DocumentId, CaseView>, b: &BTreeMap<DocumentId, CaseView>| -> Vec<String> {
            let missing = a.iter().filter(|(id, view)| view.case_type == case_type && !b.contains_key(id));
            missing.map(|(_, view)| view.summary.clone()).take(EXAMPLES).collect()
        };
        let count = |all: &BTreeMap<DocumentId, CaseView>| all.values().filter(|v| v.case_type == case_type).count();
        let otherwise = |(id, view): (&DocumentId, &CaseView)| {
            let other = is.get(id).filter(|_| view.case_type == case_type);
            other.is_some_and(|other| (other.severity, other.owner) != (view.severity, view.owner))
        };
        CasesOfType {
            case_type,
            then: count(&was) as u64,
            now: count(&is) as u64,
            only_then: only(&was, &is),
            only_now: only(&is, &was),
            reclassified: was.iter().filter(|case| otherwise(*case)).count() as u64,
        }
    };
    CaseType::ALL.into_iter().map(of_type).filter(|of| of.then + of.now > 0).collect()
}

fn faith(store: &Reader, then: &Run, span: (UtcMs, UtcMs)) -> Result<Faith, ReplayError> {
    let mut recorded: Vec<Decided> = Vec::new();
    store.each_decision(|row, _| {
        let record: Option<DecisionRecord> = row.sealed.peek().ok();
        recorded.extend(record.and_then(Decided::of).filter(|d| (span.0..=span.1).contains(&d.at)));
    })?;
    let mut open: Vec<Option<&Decided>> = then.decided.iter().map(Some).collect();
    let mut orders = BTreeSet::new();
    let mut same = 0;
    for one in &recorded {
        let is_same = |d: &&Decided| {
            (d.dispatch, d.kind, d.mode) == (one.dispatch, one.kind, one.mode)
                && d.at.since(one.at).abs() <= SAME_WITHIN_MS
        };
        match open.iter().position(|d| d.as_ref().is_some_and(is_same)) {
            Some(place) => {
                open[place] = None;
                same += 1;
            }
            None => {
                orders.extend(one.order.as_ref().map(ToString::to_string));
            }
        }
    }
    let more: Vec<&Decided> = open.into_iter().flatten().collect();
    orders.extend(more.iter().filter_map(|d| d.order.as_ref()).map(ToString::to_string));
    let opened_at = |view: &serde_json::Value| view["opened_at"].as_i64().map(UtcMs);
    let cases = store.cases()?;
    let cases: Vec<_> =
        cases.iter().filter(|c| opened_at(&c.view).is_some_and(|at| (span.0..=span.1).contains(&at))).collect();
    Ok(Faith {
        decisions_recorded: recorded.len() as u64,
        decisions_same: same,
        decisions_more: more.len() as u64,
        orders: orders.into_iter().take(EXAMPLES).collect(),
        cases_recorded: cases.len() as u64,
        cases_same: cases.iter().filter(|case| then.knows_case(case.document)).count() as u64,
        missing: (0, 0),
        rules_missing: 0,
        taps_refused_now: 0,
        unheard_now: 0,
    })
}
