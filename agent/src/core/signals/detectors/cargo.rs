//! What is in the vehicle against what should be, and the papers that go with it.

use gatehouse_common::{
    case::CaseType,
    dispatch::{DispatchState, DispatchView},
    fact::{FactKey, FactValue},
    id::DocumentId,
    time::{Moment, UtcMs},
};

use crate::core::{
    Core,
    signals::watch::{Condition, MatterKey, Sighting, Watched},
    state::Counts,
};

impl Core {
    /// Looks at the load of a dispatch while it stands at the dock. Once it has left, what was wrong is for people.
    pub(super) fn watch_load(&mut self, now: &Moment, watched: &Watched, id: DocumentId, view: &DispatchView) {
        let (mismatch, papers) = match view.state {
            DispatchState::Loading | DispatchState::Loaded => {
                let counts = self.counts_of(id, view);
                let sealed = self.sealed_since(view, &counts);
                (self.load_differs(view, &counts, sealed), self.papers_missing(view, sealed))
            }
            state if state.has_left() => (Condition::Unknown, Condition::Unknown),
            _ => (Condition::Absent, Condition::Absent),
        };
        // The gates of cargo and papers have cases of their own under the leg alone.
        let key = |case_type| MatterKey::new(case_type, &view.order, format!("{}/load", view.leg()));
        self.found(now, watched, key(CaseType::InvMismatch), mismatch);
        self.found(now, watched, key(CaseType::DocHold), papers);
    }

    /// When the vehicle was sealed over what was put in last.
    fn sealed_since(&self, view: &DispatchView, counts: &Counts) -> Option<UtcMs> {
        let (intact, at) = self.vehicles.get(view.vehicle.as_str())?.seal?;
        let began = counts.loading_since.or(view.loading_at)?;
        (intact && at >= began && counts.moved_at.is_none_or(|moved| at >= moved)).then_some(at)
    }

    /// INV_MISMATCH: more was put in than planned, or sealed with another count, or it weighs otherwise.
    fn load_differs(&self, view: &DispatchView, counts: &Counts, sealed: Option<UtcMs>) -> Condition {
        let rules = &self.profile.bundle.rules.detectors.inv_mismatch;
        let loaded = |line: u16| counts.loaded.get(&line).copied().unwrap_or(0);
        let planned = |line: u16| view.load.iter().find(|l| l.line == line).map_or(0, |l| l.quantity);
        let over = counts.loaded.iter().find(|(line, n)| **n > planned(**line)).map(|(line, _)| *line);
        let short = view.load.iter().find(|l| loaded(l.line) < l.quantity).map(|l| l.line);
        let wrong = over.or(short.filter(|_| sealed.is_some() && !counts.loaded.is_empty()));
        if let (Some(line), Some(moved)) = (wrong, counts.moved_at) {
            let since = sealed.unwrap_or(moved);
            let (scanned, wanted) = (loaded(line), planned(line));
            let summary =
                format!("order {} line {line}: {scanned} units are in the vehicle, {wanted} were planned", view.order);
            return Condition::Holds(Sighting::since(since, summary).lasting(rules.after_ms).about(&view.order));
        }
        // Before all is in, a weight says nothing; where nobody scans, the seal says that it is.
        let all_in = counts.moved_at.or(sealed);
        let weighed = counts.weight.filter(|(_, at)| all_in.is_some_and(|since| *at >= since));
        let Some((grams, at)) = weighed else { return Condition::Absent };
        let Some(plan) = self.orders.get(&view.order).and_then(|o| o.weight_grams(&view.load)) else {
            return Condition::Absent;
        };
        let allowed = (plan / 1_000).saturating_mul(u64::from(rules.weight_permille)).max(rules.weight_min_grams);
        if grams.abs_diff(plan) <= allowed {
            return Condition::Absent;
        }
        let (kg, plan_kg) = (grams / 1_000, plan / 1_000);
        let summary = format!("order {} weighs {kg} kg, {plan_kg} kg were planned", view.order);
        Condition::Holds(Sighting::since(at, summary).about(&view.order))
    }

    /// DOC_HOLD: sealed though its papers are not complete.
    fn papers_missing(&self, view: &DispatchView, sealed: Option<UtcMs>) -> Condition {
        let papers = self.facts.get(&FactKey::Documents { order: view.order.clone() }).map(|f| &f.report);
        match sealed {
            Some(at) if papers.is_none_or(|p| p.value != FactValue::Documents { complete: true }) => {
                let since = papers.map_or(at, |p| p.at.max(at));
                let summary = format!(
                    "vehicle {} is sealed and the papers of order {} are not complete",
                    view.vehicle, view.order
                );
                Condition::Holds(Sighting::since(since, summary).about(&view.order))
            }
            _ => Condition::Absent,
        }
    }
}
