//! The states of a case and who may bring them about.

use serde::{Deserialize, Serialize};

use super::{entry::Says, taxonomy::CaseType};
use crate::{
    document::{Actor, ActorKind},
    id::SiteId,
};

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// Nobody has taken it up.
    Open,
    /// Someone has seen it.
    Acknowledged,
    /// Someone works on it.
    InProgress,
    /// It waits for someone outside.
    Waiting,
    /// Done; it may be taken up again.
    Resolved,
    /// It came back after it was resolved.
    Reopened,
    /// Done for good.
    Closed,
    /// It was a duplicate or a false alarm.
    Cancelled,
}

impl CaseState {
    /// Whether nobody needs to work on it now.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Resolved | Self::Closed | Self::Cancelled)
    }

    /// The words for it on pages and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::InProgress => "in progress",
            Self::Waiting => "waiting",
            Self::Resolved => "resolved",
            Self::Reopened => "reopened",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Which of two concurrent moves counts: the heavier. A step further along outweighs one before it, so that
    /// work done on one side is not undone by a look on the other; a visible question is handled by the fold.
    #[must_use]
    pub fn weight(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Acknowledged => 1,
            Self::Waiting => 2,
            Self::InProgress => 3,
            Self::Resolved => 4,
            Self::Cancelled => 5,
            Self::Closed => 6,
            Self::Reopened => 7,
        }
    }
}

/// Why `actor` may not say `says` about a case of `case_type` at `site`, or `None` if it may.
#[must_use]
pub fn lacks_authority(actor: &Actor, says: &Says, case_type: CaseType, site: &SiteId) -> Option<&'static str> {
    if actor.kind == ActorKind::Hub {
        return None;
    }
    if actor.site != *site {
        return Some("only the depot of the case or the hub may say this");
    }
    match says {
        Says::Moved { to: CaseState::Closed, .. } => Some("only the hub may close a case"),
        Says::Moved { to: CaseState::Resolved, auto_cleared: false, .. } if is_the_hubs(case_type) => {
            Some("only the hub may resolve a case of finance or policy")
        }
        // No detector cancels, so none can be meant by it either.
        Says::Moved { to: CaseState::Cancelled, .. } if is_the_hubs(case_type) => {
            Some("only the hub may cancel a case of finance or policy")
        }
        Says::SeverityLowered { .. } if actor.kind == ActorKind::Vehicle => Some("a vehicle may not lower severity"),
        _ => None,
    }
}

/// Whether people at a depot may not put a case of this type to rest.
fn is_the_hubs(case_type: CaseType) -> bool {
    matches!(case_type, CaseType::CreditHold | CaseType::PolicyViolation | CaseType::ReconDiscrepancy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UtcMs;

    #[test]
    fn a_depot_puts_no_case_of_finance_or_policy_to_rest_and_closes_none() {
        let depot: Actor = "site/D1/gw-1/1".parse().unwrap();
        let hub: Actor = "hub/HQ/hub-1/1".parse().unwrap();
        let site = SiteId::new("D1").unwrap();
        let may = |actor: &Actor, case_type, to, auto_cleared| {
            let says = Says::Moved { to, since: UtcMs(0), reason: "done".to_owned(), auto_cleared };
            lacks_authority(actor, &says, case_type, &site).is_none()
        };
        for finance in [CaseType::CreditHold, CaseType::PolicyViolation, CaseType::ReconDiscrepancy] {
            assert!(
                !may(&depot, finance, CaseState::Resolved, false) && may(&depot, finance, CaseState::Resolved, true)
            );
            assert!(!may(&depot, finance, CaseState::Cancelled, false));
            assert!(!may(&depot, finance, CaseState::Cancelled, true));
            assert!(may(&hub, finance, CaseState::Cancelled, false) && may(&hub, finance, CaseState::Resolved, false));
        }
        assert!(may(&depot, CaseType::DockBlocked, CaseState::Cancelled, false));
        assert!(!may(&depot, CaseType::DockBlocked, CaseState::Closed, false));
    }
}
