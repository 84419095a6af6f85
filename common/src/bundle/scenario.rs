//! Examples in a bundle: given facts, and what must come of them. They are run by the code that decides at the depot.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    case::{Axes, CaseType, Severity, Team},
    decision::Mode,
    fact::{Fact, FactKey, FactValue, Facts, Report, Source},
    gate::{GateKind, GateState, Question},
    id::{CarrierId, CustomerId, DocumentId, DoorId, IdError, OrderId, ProductId, SiteId, VehicleId},
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    rule::{
        facts::{Around, Held},
        judge::{Judgement, Situation, Verdict, judge},
        nearest,
        overriding::{Against, needs},
        schema::FAMILIES,
    },
    time::{BootId, Moment, UtcMs},
};

use super::{BundleProblem, Located, Rules, response::route};

/// One example. What is not given is well: every fact is there, a minute old, and fits the order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in words.
    pub name: Located<String>,
    /// When. Default Tuesday 2026-03-10 08:00 UTC.
    #[serde(default = "usual_time")]
    pub at: UtcMs,
    /// Whether the depot is cut off from the hub; age limits are then those under a lease. Default false.
    #[serde(default)]
    pub cut_off: bool,
    /// The order.
    #[serde(default)]
    pub order: GivenOrder,
    /// Kinds of fact that nobody has told.
    #[serde(default)]
    pub missing: Vec<Located<String>>,
    /// Age of facts in minutes, by kind.
    #[serde(default)]
    pub age_minutes: BTreeMap<String, u32>,
    /// What the facts say, where it is not that all is well.
    #[serde(default)]
    pub facts: GivenFacts,
    /// Open cases that block the dispatch.
    #[serde(default)]
    pub blocking: Vec<CaseType>,
    /// What must come of it.
    pub expect: Expected,
}

fn usual_time() -> UtcMs {
    UtcMs(1_773_129_600_000)
}

/// The order of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct GivenOrder {
    pub class: String,
    pub tier: Tier,
    pub customer: String,
    pub quantity: u32,
    pub unit_price_minor: i64,
    pub dangerous_goods: bool,
    pub leaves_in_minutes: i64,
    pub window_ends_in_minutes: i64,
    pub cut_off_in_minutes: Option<i64>,
}

impl Default for GivenOrder {
    fn default() -> Self {
        Self {
            class: "standard".to_owned(),
            tier: Tier::B,
            customer: "C1".to_owned(),
            quantity: 10,
            unit_price_minor: 1_000,
            dangerous_goods: false,
            leaves_in_minutes: 120,
            window_ends_in_minutes: 360,
            cut_off_in_minutes: None,
        }
    }
}

/// The facts of a scenario, each where it differs from all being well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct GivenFacts {
    pub inventory_confirmed: Option<u32>,
    pub capacity_sufficient: Option<bool>,
    pub carrier_accepted: Option<bool>,
    pub credit_on_hold: Option<bool>,
    pub credit_headroom_minor: Option<i64>,
    pub dock_vehicle: Option<String>,
    pub documents_complete: Option<bool>,
    pub cargo_staged: Option<u32>,
    pub labour_required_minutes: Option<u32>,
    pub labour_rostered_minutes: Option<u32>,
}

/// What must come of a scenario; what is not named is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    /// release, wait, hold or ask.
    pub verdict: Option<String>,
    /// normal, degraded or offline.
    pub mode: Option<Mode>,
    /// Gates by name: pass, fail or unknown.
    pub gates: BTreeMap<String, String>,
    /// The fallback rule that was asked.
    pub fallback: Option<String>,
    /// A case that is opened.
    pub case: Option<CaseType>,
    /// Who gets that case.
    pub owner: Option<Team>,
    /// How bad that case is.
    pub severity: Option<Severity>,
    /// Who must answer for an override: one, two or never.
    pub overriding: Option<String>,
}

/// Kinds of facts that scenarios speak of must be there.
pub(super) fn check(rules: &Rules, text: &str) -> Vec<BundleProblem> {
    let mut problems = Vec::new();
    for scenario in &rules.scenarios {
        let ages = scenario.age_minutes.keys().map(|it| Located { at: scenario.name.at.clone(), it: it.clone() });
        for family in scenario.missing.iter().cloned().chain(ages) {
            if !FAMILIES.contains(&family.it.as_str()) {
                let hint = nearest(&family.it, FAMILIES.into_iter()).map_or_else(
                    || format!("these are: {}", FAMILIES.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                let message = format!("there is no kind of fact {:?}; {hint}", family.it);
                problems.push(super::prepare::at(text, family.at.start, message));
            }
        }
    }
    problems
}

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Played {
    /// Its name.
    pub scenario: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What came out otherwise than expected; empty when all is as expected.
    pub differs: Vec<String>,
}

impl Scenario {
    /// Plays it under `rules`.
    #[must_use]
    pub fn play(&self, rules: &Rules) -> Played {
        let now = self.moment();
        let order = match self.order() {
            Ok(order) => order,
            Err(error) => {
                let differs = vec![format!("the order cannot be made: {error}")];
                return Played { scenario: self.name.it.clone(), verdict: Verdict::Wait, differs };
            }
        };
        let facts = self.facts(&order);
        let load = order.quantities();
        let cases: Vec<DocumentId> = self.blocking.iter().map(|t| crate::case::document_id(t.code(), 1)).collect();
        let class = rules.class(&order.class);
        let question = Question {
            order: &order,
            load: &load,
            facts: &facts,
            blocking_cases: &cases,
            transit_ms: class.transit_ms,
            now: &now,
        };
        let situation = Situation {
            cut_off: self.cut_off,
            planned_departure: order.planned_departure,
            lease_limit_ms: &|_, bundle_ms| bundle_ms,
        };
        let judged = judge(rules, &class, &question, &situation);
        let mut differs = self.compare(&judged);
        self.compare_case(rules, &question, &judged, &mut differs);
        self.compare_override(rules, &question, &judged, &mut differs);
        Played { scenario: self.name.it.clone(), verdict: judged.verdict, differs }
    }

    fn compare(&self, judged: &Judgement) -> Vec<String> {
        let mut differs = Vec::new();
        let verdict = match judged.verdict {
            Verdict::Release => "release",
            Verdict::Wait => "wait",
            Verdict::Hold => "hold",
            Verdict::Ask => "ask",
        };
        if let Some(expected) = self.expect.verdict.as_ref().filter(|e| *e != verdict) {
            let not_met = judged.gates.iter().filter(|g| !g.passes()).map(|g| format!("{}: {}", g.name(), g.explain()));
            let why = not_met.collect::<Vec<_>>().join("; ");
            differs.push(format!("verdict is {verdict}, expected {expected} ({why})"));
        }
        if let Some(expected) = self.expect.mode.filter(|e| *e != judged.mode) {
            differs.push(format!("mode is {}, expected {}", judged.mode.as_str(), expected.as_str()));
        }
        for (name, expected) in &self.expect.gates {
            let found = judged.gates.iter().find(|g| g.name() == name).map_or("not weighed", |g| match g.state {
                GateState::Pass => "pass",
                GateState::Fail { .. } => "fail",
                GateState::Unknown { .. } => "unknown",
            });
            if found != expected {
                differs.push(format!("gate {name} is {found}, expected {expected}"));
            }
        }
        if let Some(expected) = &self.expect.fallback {
            let asked: Vec<&str> = judged.gates.iter().filter_map(|g| g.fallback.as_deref()).collect();
            if !asked.contains(&expected.as_str()) {
                differs.push(format!("fallback rules asked: [{}], expected {expected}", asked.join(", ")));
            }
        }
        differs
    }

    fn compare_case(&self, rules: &Rules, question: &Question<'_>, judged: &Judgement, differs: &mut Vec<String>) {
        let Some(expected) = self.expect.case else { return };
        if !judged.wrong.iter().any(|w| w.case_type == expected) {
            let opened: Vec<&str> = judged.wrong.iter().map(|w| w.case_type.code()).collect();
            differs.push(format!("cases opened: [{}], expected {}", opened.join(", "), expected.code()));
            return;
        }
        let axes = Axes::of(question.order, question.load, expected, &rules.money_axis_minor, question.now.wall);
        let severity = axes.severity(expected);
        let around = Around {
            cut_off: self.cut_off,
            case: Some((expected, question.order.id.to_string(), severity)),
            ..Around::default()
        };
        let limit_ms = |_| u64::MAX;
        let held = Held { question: Some(question), limit_ms: &limit_ms, around: &around };
        let routed = route(&rules.routing, expected, severity, &held);
        if let Some(owner) = self.expect.owner.filter(|o| *o != routed.owner) {
            differs.push(format!("owner is {}, expected {}", routed.owner.as_str(), owner.as_str()));
        }
        if let Some(severity) = self.expect.severity.filter(|s| *s != routed.severity) {
            differs.push(format!("severity is {:?}, expected {severity:?}", routed.severity));
        }
    }

    fn compare_override(&self, rules: &Rules, question: &Question<'_>, judged: &Judgement, differs: &mut Vec<String>) {
        let Some(expected) = &self.expect.overriding else { return };
        let cases: Vec<(CaseType, Severity)> = self.blocking.iter().map(|t| (*t, t.floor())).collect();
        let against =
            Against { judged, question, cases: &cases, holds: &[], beyond_credit: false, cut_off: self.cut_off };
        let found = needs(rules, &against);
        if found.as_str() != expected {
            differs.push(format!("an override needs {}, expected {expected} ({found:?})", found.as_str()));
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: self.at,
            uncertainty_ms: 0,
            boot: BootId("scenario".to_owned()),
            // Far from the start, so that facts can be days old.
            boottime_ms: 1_000_000_000_000,
            trusted: true,
        }
    }

    fn order(&self) -> Result<Order, IdError> {
        let given = &self.order;
        let minutes = |n: i64| self.at.plus(n.saturating_mul(60_000));
        Ok(Order {
            id: OrderId::new("O1")?,
            version: 1,
            site: SiteId::new("D1")?,
            customer: Customer {
                id: CustomerId::new(given.customer.as_str())?,
                name: given.customer.clone(),
                tier: given.tier,
            },
            lines: vec![OrderLine {
                line: 1,
                product: ProductId::new("P1")?,
                quantity: given.quantity,
                unit_price_minor: given.unit_price_minor,
                unit_weight_grams: None,
            }],
            currency: "EUR".to_owned(),
            class: given.class.clone(),
            vehicle: VehicleId::new("V1")?,
            carrier: CarrierId::new("CARR")?,
            door: DoorId::new("1")?,
            planned_departure: minutes(given.leaves_in_minutes),
            window_end: minutes(given.window_ends_in_minutes),
            destination: None,
            status: OrderStatus::Released,
            cut_off: given.cut_off_in_minutes.map(minutes),
            dangerous_goods: given.dangerous_goods,
            route: None,
        })
    }

    fn facts(&self, order: &Order) -> Facts {
        let given = &self.facts;
        let order_id = || order.id.clone();
        let dock_vehicle = given.dock_vehicle.as_deref().and_then(|v| VehicleId::new(v).ok());
        let day_ms = 24 * 3_600_000;
        let slot_start = UtcMs(order.planned_departure.0.div_euclid(day_ms) * day_ms);
        let all = [
            (
                "inventory",
                FactKey::Inventory { order: order_id(), line: 1 },
                FactValue::Inventory { confirmed: given.inventory_confirmed.unwrap_or(self.order.quantity) },
            ),
            (
                "capacity",
                FactKey::Capacity { order: order_id() },
                FactValue::Capacity { sufficient: given.capacity_sufficient.unwrap_or(true), vehicle: None },
            ),
            (
                "carrier",
                FactKey::Carrier { order: order_id() },
                FactValue::Carrier { accepted: given.carrier_accepted.unwrap_or(true), carrier: order.carrier.clone() },
            ),
            (
                "credit",
                FactKey::Credit { customer: order.customer.id.clone() },
                FactValue::Credit {
                    on_hold: given.credit_on_hold.unwrap_or(false),
                    headroom_minor: given.credit_headroom_minor.unwrap_or(i64::MAX),
                },
            ),
            (
                "dock",
                FactKey::Dock { door: order.door.clone() },
                FactValue::Dock {
                    occupied: Some(true),
                    open: Some(true),
                    vehicle: Some(dock_vehicle.unwrap_or_else(|| order.vehicle.clone())),
                },
            ),
            (
                "documents",
                FactKey::Documents { order: order_id() },
                FactValue::Documents { complete: given.documents_complete.unwrap_or(true) },
            ),
            (
                "cargo",
                FactKey::Cargo { order: order_id(), line: 1 },
                FactValue::Cargo { staged: given.cargo_staged.unwrap_or(self.order.quantity), loaded: 0 },
            ),
            (
                "labour",
                FactKey::Labour { site: order.site.clone(), slot_start },
                FactValue::Labour {
                    slot_end: slot_start.plus(day_ms),
                    required_minutes: given.labour_required_minutes.unwrap_or(0),
                    rostered_minutes: given.labour_rostered_minutes.unwrap_or(480),
                },
            ),
        ];
        let mut facts = Facts::default();
        let now = self.moment();
        for (family, key, value) in all {
            if self.missing.iter().any(|m| m.it == family) {
                continue;
            }
            let minutes = self.age_minutes.iter().find(|(k, _)| *k == family).map_or(1, |(_, minutes)| *minutes);
            let age_ms = u64::from(minutes) * 60_000;
            let at = now.wall.plus(-i64::try_from(age_ms).unwrap_or(i64::MAX));
            let source = GateKind::of_key(&key).map_or(Source::Depot, GateKind::source);
            let received = Moment { wall: at, boottime_ms: now.boottime_ms.saturating_sub(age_ms), ..now.clone() };
            facts.take(Fact { report: Report { key, value, source, at, evidence: "scenario".to_owned() }, received });
        }
        facts
    }
}
