//! Who must answer for a release against the rules: one person, two, or nobody may.

use crate::{
    bundle::Rules,
    case::{CaseType, Severity},
    dispatch::HoldReason,
    gate::{GateKind, GateState, Question},
};

use super::{
    Outcome,
    facts::{Around, Held},
    judge::Judgement,
};

/// What an override would pass.
pub struct Against<'a> {
    /// What the gates came to.
    pub judged: &'a Judgement,
    /// Order, load and facts.
    pub question: &'a Question<'a>,
    /// Open cases that block it, its gates' own among them.
    pub cases: &'a [(CaseType, Severity)],
    /// Holds that stand: reason, and why for people.
    pub holds: &'a [(HoldReason, String)],
    /// Whether it goes beyond the credit that the lease sets aside.
    pub beyond_credit: bool,
    /// Whether the depot is cut off from the hub.
    pub cut_off: bool,
}

/// Who must answer for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// One person with a role that may override.
    One,
    /// A second person too; why.
    Two(String),
    /// Nobody at the depot may; why, and who can help.
    Never(String),
}

impl Needs {
    /// The word for it in scenarios.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two(_) => "two",
            Self::Never(_) => "never",
        }
    }
}

/// Who must answer for an override.
#[must_use]
pub fn needs(rules: &Rules, against: &Against<'_>) -> Needs {
    if let Some(why) = never(rules, against) {
        return Needs::Never(why);
    }
    match two(rules, against) {
        Some(why) => Needs::Two(why),
        None => Needs::One,
    }
}

fn never(rules: &Rules, against: &Against<'_>) -> Option<String> {
    for (reason, why) in against.holds {
        if *reason == HoldReason::Customer || reason.is_never_overridden() {
            return Some(format!("the hub must lift this hold: {why}"));
        }
    }
    if let Some((case_type, _)) = against.cases.iter().find(|(case_type, _)| rules.overrides.is_never(*case_type)) {
        return Some(format!("case {} is open; nothing leaves until it is resolved", case_type.code()));
    }
    let papers = against.judged.gates.iter().find(|g| g.gate == GateKind::Documents);
    if against.question.order.dangerous_goods && papers.is_some_and(|g| !g.passes()) {
        return Some("it carries dangerous goods and its papers are not complete".to_owned());
    }
    let count = |f: fn(&GateState) -> bool| {
        i64::try_from(against.judged.gates.iter().filter(|g| f(&g.state)).count()).unwrap_or(0)
    };
    let counts = (count(|s| matches!(s, GateState::Fail { .. })), count(|s| matches!(s, GateState::Unknown { .. })));
    // A condition that forbids looks at what is held, however old: age is no permission.
    let limit_ms = |_| u64::MAX;
    for rule in &rules.overrides.never {
        // Gates as a rule may ask for them: of each gate that is not met; of none where all are.
        let mut asked: Vec<Option<(String, &'static str, &'static str)>> = against
            .judged
            .gates
            .iter()
            .filter_map(|g| match &g.state {
                GateState::Pass => None,
                GateState::Fail { .. } => Some(Some((g.name().to_owned(), "fail", ""))),
                GateState::Unknown { why } => Some(Some((g.name().to_owned(), "unknown", why.as_str()))),
            })
            .collect();
        if asked.is_empty() {
            asked.push(Some((String::new(), "pass", "")));
        }
        for gate in asked {
            let around = Around { cut_off: against.cut_off, gate, counts, case: None };
            let held = Held { question: Some(against.question), limit_ms: &limit_ms, around: &around };
            if rule.when.evaluate(&held) != Outcome::False {
                return Some(format!("rule {} of the bundle forbids it: {}", rule.id, rule.when.text()));
            }
        }
    }
    None
}

fn two(rules: &Rules, against: &Against<'_>) -> Option<String> {
    let policy = &rules.overrides;
    if against.holds.iter().any(|(reason, _)| *reason == HoldReason::Credit) {
        return Some("it is on hold for credit".to_owned());
    }
    let listed = |g: &&crate::gate::GateResult| !g.passes() && policy.two_persons.contains(&g.gate);
    if let Some(gate) = against.judged.gates.iter().find(listed) {
        return Some(format!("{} is not met", gate.name()));
    }
    // What the lease sets aside of a customer's credit stands for the credit gate: going beyond it is no less.
    if policy.two_persons.contains(&GateKind::Credit) && against.beyond_credit {
        return Some("it goes beyond the credit that the lease sets aside".to_owned());
    }
    let bad = against.cases.iter().find(|(_, severity)| *severity >= policy.two_persons_severity);
    bad.map(|(case_type, severity)| format!("case {} of severity {severity:?} is open", case_type.code()))
}
