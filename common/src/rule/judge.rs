//! What the rules say of one dispatch: gates weighed, mode chosen, fallback rules asked.
//!
//! Pure: the same rules, question and situation give the same [`Judgement`], at the depot, in a test of a bundle and in
//! a replay. Whether the lease admits it, and whether recalls allow it, is not its business.

use crate::{
    bundle::{ClassRules, GateName, Rules, Then},
    case::CaseType,
    decision::Mode,
    gate::{GateKind, GateResult, GateState, Question, Strictness, UnknownWhy, weigh},
    time::UtcMs,
};

use super::{
    Outcome, Why,
    facts::{Around, Held},
};

/// Types of case that gates open, and clear by themselves.
pub const GATE_CASES: [CaseType; 12] = [
    CaseType::InvShortfall,
    CaseType::InvUnconfirmed,
    CaseType::InvMismatch,
    CaseType::CapacityShort,
    CaseType::CarrierReject,
    CaseType::CarrierNoResponse,
    CaseType::CreditHold,
    CaseType::DockConflict,
    CaseType::DocHold,
    CaseType::FeedStale,
    CaseType::LabourShort,
    CaseType::EtaRisk,
];

/// How the depot stands when it asks.
pub struct Situation<'a> {
    /// Whether it is cut off from the hub.
    pub cut_off: bool,
    /// When the dispatch should leave.
    pub planned_departure: UtcMs,
    /// How old the facts of a gate may be under the lease; given the bundle's limit.
    pub lease_limit_ms: &'a dyn Fn(GateKind, u64) -> u64,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may leave, in this mode.
    Release,
    /// Something is not met yet; nothing has to be done.
    Wait,
    /// It is held, with cases.
    Hold,
    /// It is held, with cases, and a person decides.
    Ask,
}

/// Something wrong enough for a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The case it opens.
    pub case_type: CaseType,
    /// Why, for people.
    pub why: String,
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Every gate.
    pub gates: Vec<GateResult>,
    /// The mode of a release.
    pub mode: Mode,
    /// What comes of it.
    pub verdict: Verdict,
    /// What is wrong, where it is held.
    pub wrong: Vec<Wrong>,
}

impl Judgement {
    /// Whether every gate is met.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.gates.iter().all(GateResult::passes)
    }
}

/// Judges one dispatch.
#[must_use]
pub fn judge(rules: &Rules, class: &ClassRules, question: &Question<'_>, situation: &Situation<'_>) -> Judgement {
    let scale = Scale { rules, class, question, situation };
    let (mut gates, mode) = scale.weigh_all();
    let late = question.now.wall >= situation.planned_departure.plus(-ms(rules.unknown_deadline_ms));
    let count = |f: fn(&GateState) -> bool| i64::try_from(gates.iter().filter(|g| f(&g.state)).count()).unwrap_or(0);
    let counts = (count(|s| matches!(s, GateState::Fail { .. })), count(|s| matches!(s, GateState::Unknown { .. })));
    let mut wrong = Vec::new();
    let (mut waits, mut holds, mut asks) = (false, false, false);
    for gate in &mut gates {
        if gate.passes() {
            continue;
        }
        let Some(case_type) = case_of(rules, gate, late) else {
            waits = true;
            continue;
        };
        let then = scale.fallback(gate, counts);
        holds |= then == Then::Hold;
        asks |= then == Then::Ask;
        if then != Then::ReleaseDegraded {
            wrong.push(Wrong { case_type, why: gate.explain() });
        }
    }
    let bridged = gates.iter().any(|g| !g.passes());
    let verdict = match () {
        () if holds => Verdict::Hold,
        () if asks && !waits => Verdict::Ask,
        // Asked already, though something else is not there yet: it is held until both are.
        () if asks => Verdict::Hold,
        () if waits => Verdict::Wait,
        () => Verdict::Release,
    };
    let mode = if bridged && !waits && mode == Mode::Normal { Mode::Degraded } else { mode };
    Judgement { gates, mode, verdict, wrong }
}

/// The case that a gate opens which is not met; none while that is no problem yet.
fn case_of(rules: &Rules, gate: &GateResult, late: bool) -> Option<CaseType> {
    let own = gate.rule.as_ref().and_then(|name| rules.gates.get(name));
    Some(match (&gate.state, gate.gate) {
        (GateState::Pass, _) | (_, GateKind::NoBlockingCase) => return None,
        (GateState::Fail { .. }, GateKind::Rule) => {
            let own = own?;
            if own.from_deadline && !late {
                return None;
            }
            own.case.it
        }
        (GateState::Fail { .. }, GateKind::Inventory) => CaseType::InvShortfall,
        (GateState::Fail { .. }, GateKind::Capacity) => CaseType::CapacityShort,
        (GateState::Fail { .. }, GateKind::Carrier) => CaseType::CarrierReject,
        (GateState::Fail { .. }, GateKind::Credit) => CaseType::CreditHold,
        (GateState::Fail { .. }, GateKind::Sla) => CaseType::EtaRisk,
        (GateState::Fail { .. }, GateKind::Labour) => CaseType::LabourShort,
        // Doors are in turn, papers and goods on their way: that is no problem before the deadline.
        _ if !late => return None,
        (GateState::Fail { .. }, GateKind::Dock) => CaseType::DockConflict,
        (GateState::Fail { .. }, GateKind::Cargo) => CaseType::InvMismatch,
        (_, GateKind::Documents) => CaseType::DocHold,
        (GateState::Unknown { .. }, GateKind::Inventory) => CaseType::InvUnconfirmed,
        (GateState::Unknown { .. }, GateKind::Carrier) => CaseType::CarrierNoResponse,
        (GateState::Unknown { .. }, GateKind::Capacity) => CaseType::CapacityShort,
        (GateState::Unknown { .. }, _) => CaseType::FeedStale,
    })
}

struct Scale<'a> {
    rules: &'a Rules,
    class: &'a ClassRules,
    question: &'a Question<'a>,
    situation: &'a Situation<'a>,
}

impl Scale<'_> {
    fn limit_ms(&self, gate: GateKind, strictness: Strictness) -> u64 {
        let limit_ms = self.class.limits(gate).limit_ms(strictness);
        match strictness {
            Strictness::Normal => limit_ms,
            Strictness::UnderLease => (self.situation.lease_limit_ms)(gate, limit_ms),
        }
    }

    fn weigh_all(&self) -> (Vec<GateResult>, Mode) {
        let all = |strictness| self.class.waits_for.iter().map(|gate| self.weigh(gate, strictness)).collect::<Vec<_>>();
        if self.situation.cut_off {
            return (all(Strictness::UnderLease), Mode::Offline);
        }
        let gates = all(Strictness::Normal);
        let stale = GateState::Unknown { why: UnknownWhy::Stale };
        let bridgeable = |g: &GateResult| g.passes() || (g.state == stale && self.class.degrade.contains(&g.gate));
        if gates.iter().all(GateResult::passes) || !gates.iter().all(bridgeable) {
            return (gates, Mode::Normal);
        }
        let again = |(gate, name): (GateResult, &GateName)| {
            if gate.passes() { gate } else { self.weigh(name, Strictness::UnderLease) }
        };
        (gates.into_iter().zip(&self.class.waits_for).map(again).collect(), Mode::Degraded)
    }

    fn weigh(&self, gate: &GateName, strictness: Strictness) -> GateResult {
        match gate {
            GateName::BuiltIn(kind) => weigh(*kind, self.question, self.limit_ms(*kind, strictness)),
            GateName::Own(name) => self.own(name, strictness),
        }
    }

    /// A gate of the bundle's own.
    fn own(&self, name: &str, strictness: Strictness) -> GateResult {
        let limit_ms = |gate| self.limit_ms(gate, strictness);
        let around = Around { cut_off: self.situation.cut_off, ..Around::default() };
        let held = Held { question: Some(self.question), limit_ms: &limit_ms, around: &around };
        let missing = GateState::Unknown { why: UnknownWhy::Missing };
        let (state, inputs) = self.rules.gates.get(name).map_or((missing, Vec::new()), |gate| {
            let state = match gate.pass_when.evaluate(&held) {
                Outcome::True => GateState::Pass,
                Outcome::False => GateState::Fail { reason: gate.reason.clone() },
                Outcome::Unknown(why) => GateState::Unknown { why: unknown_as(why) },
            };
            (state, held.inputs(gate.pass_when.names()))
        });
        let limit_ms = inputs.iter().filter_map(|i| GateKind::of_key(&i.key)).map(limit_ms).min().unwrap_or(u64::MAX);
        GateResult { gate: GateKind::Rule, state, limit_ms, inputs, rule: Some(name.to_owned()), fallback: None }
    }

    /// What follows from a gate that is not met; the rule that says so is written into it.
    fn fallback(&self, gate: &mut GateResult, counts: (i64, i64)) -> Then {
        let (state, why) = match &gate.state {
            GateState::Unknown { why } => ("unknown", why.as_str()),
            _ => ("fail", ""),
        };
        let around = Around {
            cut_off: self.situation.cut_off,
            gate: Some((gate.name().to_owned(), state, why)),
            counts,
            case: None,
        };
        let strictness = if self.situation.cut_off { Strictness::UnderLease } else { Strictness::Normal };
        let limit_ms = |gate| self.limit_ms(gate, strictness);
        let held = Held { question: Some(self.question), limit_ms: &limit_ms, around: &around };
        let kind = gate.gate;
        let rule = self.rules.fallback.iter().find(|rule| {
            rule.gate.as_ref().is_none_or(|named| named.it == gate.name())
                && (rule.then.it != Then::ReleaseDegraded || Rules::may_degrade(kind))
                && rule.when.as_ref().is_none_or(|when| when.evaluate(&held) == Outcome::True)
        });
        gate.fallback = rule.map(|rule| rule.id.clone());
        rule.map_or(Then::Hold, |rule| rule.then.it)
    }
}

fn unknown_as(why: Why) -> UnknownWhy {
    match why {
        Why::Missing => UnknownWhy::Missing,
        Why::Stale => UnknownWhy::Stale,
        Why::TooLarge => UnknownWhy::Conflicting,
    }
}

fn ms(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
