//! What is done once a bundle's text is read: tables become rules, names are resolved, conditions checked.

use std::collections::BTreeSet;

use crate::{
    gate::GateKind,
    rule::{Scope, judge::GATE_CASES, nearest},
};

use super::{BundleProblem, GateName, Located, Rules, Then, located::problem, tables::Generated};

/// Gates whose refusal no rule may turn into a release: someone must answer for it by name.
const NEVER_DEGRADED: [GateKind; 2] = [GateKind::Credit, GateKind::NoBlockingCase];

impl Rules {
    /// Makes the rules ready to be used; tells everything that is wrong with names and conditions.
    pub(super) fn prepare(&mut self, text: &str) -> Vec<BundleProblem> {
        let mut made = Generated::default();
        for table in &self.tables {
            table.generate(text, &mut made);
        }
        let mut problems = made.problems;
        self.fallback.extend(made.fallback);
        self.routing.extend(made.routing);
        problems.extend(self.check_own_gates(text));
        problems.extend(self.resolve_classes(text));
        problems.extend(self.check_fallback(text));
        for rule in &mut self.routing {
            if let Some(when) = &mut rule.when {
                problems.extend(when.prepare(&format!("routing rule {}", rule.id), Scope::Case, text));
            }
        }
        for rule in &mut self.overrides.never {
            problems.extend(rule.when.prepare(&format!("overrides.never {}", rule.id), Scope::Fallback, text));
        }
        problems.extend(self.twins());
        problems.extend(super::scenario::check(self, text));
        problems
    }

    fn check_own_gates(&mut self, text: &str) -> Vec<BundleProblem> {
        let mut problems = Vec::new();
        for (name, gate) in &mut self.gates {
            if GateKind::named(name).is_some() {
                problems.push(gate.case.problem(text, format!("gates.{name}: this name is taken; give it another")));
            }
            if !GATE_CASES.contains(&gate.case.it) {
                let all = GATE_CASES.map(crate::case::CaseType::code).join(", ");
                problems.push(
                    gate.case.problem(text, format!("gates.{name}: a gate opens no such case; name one of {all}")),
                );
            }
            problems.extend(gate.pass_when.prepare(&format!("gates.{name}"), Scope::Gate, text));
        }
        problems
    }

    fn gate_name(&self, written: &Located<String>, text: &str) -> Result<GateName, BundleProblem> {
        if let Some(kind) = GateKind::named(&written.it) {
            return Ok(GateName::BuiltIn(kind));
        }
        if self.gates.contains_key(&written.it) {
            return Ok(GateName::Own(written.it.clone()));
        }
        let known = GateKind::ALL.iter().map(|k| k.as_str()).chain(self.gates.keys().map(String::as_str));
        let hint = match nearest(&written.it, known.clone()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("these are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        Err(written.problem(text, format!("there is no gate {:?}; {hint}", written.it)))
    }

    fn resolve_classes(&mut self, text: &str) -> Vec<BundleProblem> {
        let mut problems = Vec::new();
        let mut classes = std::mem::take(&mut self.classes);
        for class in classes.values_mut().filter(|class| !class.gates.is_empty()) {
            let mut waits_for = Vec::new();
            for written in &class.gates {
                match self.gate_name(written, text) {
                    Ok(name) if waits_for.contains(&name) => {
                        problems.push(written.problem(text, format!("gate {} is named twice", written.it)));
                    }
                    Ok(name) => waits_for.push(name),
                    Err(problem) => problems.push(problem),
                }
            }
            let blocking = GateName::BuiltIn(GateKind::NoBlockingCase);
            if !waits_for.contains(&blocking) {
                waits_for.push(blocking);
            }
            class.waits_for = waits_for;
        }
        self.classes = classes;
        problems
    }

    fn check_fallback(&mut self, text: &str) -> Vec<BundleProblem> {
        let mut problems = Vec::new();
        let mut fallback = std::mem::take(&mut self.fallback);
        for rule in &mut fallback {
            let gate = rule.gate.as_ref().map(|written| self.gate_name(written, text));
            match gate {
                Some(Err(problem)) => problems.push(problem),
                Some(Ok(GateName::BuiltIn(kind)))
                    if rule.then.it == Then::ReleaseDegraded && NEVER_DEGRADED.contains(&kind) =>
                {
                    let message = format!(
                        "fallback {}: nothing is released by itself against {}; write ask, and a person answers for it",
                        rule.id,
                        kind.as_str()
                    );
                    problems.push(rule.then.problem(text, message));
                }
                _ => {}
            }
            if let Some(when) = &mut rule.when {
                problems.extend(when.prepare(&format!("fallback {}", rule.id), Scope::Fallback, text));
            }
        }
        self.fallback = fallback;
        problems
    }

    /// Names that stand for two rules: a decision could not tell which.
    fn twins(&self) -> Vec<BundleProblem> {
        let mut problems = Vec::new();
        let fallback: Vec<&str> = self.fallback.iter().map(|r| r.id.as_str()).collect();
        let routing: Vec<&str> = self.routing.iter().map(|r| r.id.as_str()).collect();
        for (kind, ids) in [("fallback", fallback), ("routing", routing)] {
            let mut seen = BTreeSet::new();
            for id in ids {
                if id.is_empty() || !seen.insert(id) {
                    let message = format!("{kind}: the id {id:?} is empty or stands for two rules; give each its own");
                    problems.push(BundleProblem { line: None, column: None, message });
                }
            }
        }
        problems
    }
}

impl Rules {
    /// Whether a rule without a gate of its own may release against `gate`.
    #[must_use]
    pub fn may_degrade(gate: GateKind) -> bool {
        !NEVER_DEGRADED.contains(&gate)
    }
}

/// A problem at a byte of the text.
pub(super) fn at(text: &str, byte: usize, message: impl Into<String>) -> BundleProblem {
    problem(text, byte, message)
}
