//! Who may let something leave against the rules, with whom, and what nobody may.

use serde::Deserialize;

use crate::{
    case::{CaseType, Severity},
    gate::GateKind,
};

use super::Condition;

/// Cases that no override of a depot passes, whatever a bundle says: customs and quality.
pub const NEVER: [CaseType; 2] = [CaseType::CustomsHold, CaseType::TempExcursion];

/// Who may override, and what.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Roles that may override. Default `supervisor`.
    pub roles: Vec<String>,
    /// Roles that may confirm as the second person. Default, when empty, those of `roles`.
    pub second_roles: Vec<String>,
    /// Gates that need two persons when they are not met. Default credit.
    pub two_persons: Vec<GateKind>,
    /// Open cases of this severity or worse need two persons. Default S1.
    pub two_persons_severity: Severity,
    /// How long a first person's word waits for a second one, in minutes, 1 to 1440. Default 15.
    pub second_within_minutes: u64,
    /// Fewest characters of a reason. Default 8.
    pub reason_min_chars: usize,
    /// Types of case beside [`NEVER`] that no override passes.
    pub never_cases: Vec<CaseType>,
    /// Conditions under which nobody may override. That dangerous goods need their papers always holds.
    pub never: Vec<Never>,
}

/// Something that nobody at the depot may override.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Never {
    /// Its name, for the person who is refused.
    pub id: String,
    /// When it holds; what is unknown counts as holding.
    pub when: Condition,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            roles: vec!["supervisor".to_owned()],
            second_roles: Vec::new(),
            two_persons: vec![GateKind::Credit],
            two_persons_severity: Severity::S1,
            second_within_minutes: 15,
            reason_min_chars: 8,
            never_cases: Vec::new(),
            never: Vec::new(),
        }
    }
}

impl Overrides {
    /// Whether this role may be the second person.
    #[must_use]
    pub fn may_confirm(&self, role: &str) -> bool {
        let roles = if self.second_roles.is_empty() { &self.roles } else { &self.second_roles };
        roles.iter().any(|r| r == role)
    }

    /// Whether no override passes a case of this type.
    #[must_use]
    pub fn is_never(&self, case_type: CaseType) -> bool {
        NEVER.contains(&case_type) || self.never_cases.contains(&case_type)
    }
}
