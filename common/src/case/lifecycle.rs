//! The states of a case and who may bring them about.

use serde::{Deserialize, Serialize};

use super::{
    FOLD_VERSION,
    entry::{How, Says},
    taxonomy::CaseType,
};
use crate::{
    document::{Actor, ActorKind},
    id::SiteId,
    time::UtcMs,
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

/// Days after which a closed case is not taken up again; what comes then is a new case that names it.
pub const REOPEN_WITHIN_DAYS: i64 = 14;
/// Entries after which a case may go on in another document.
pub const ENTRIES_MAX: usize = 200;

const DAY_MS: i64 = 86_400_000;

/// Whole days at `at` since a case was closed, both in UTC.
#[must_use]
pub fn days_closed(closed: UtcMs, at: UtcMs) -> i64 {
    at.since(closed) / DAY_MS
}

/// Why `actor` may not say `says` about a case of `case_type` at `site`, or `None` if it may.
#[must_use]
pub fn lacks_authority(actor: &Actor, says: &Says, case_type: CaseType, site: &SiteId) -> Option<&'static str> {
    lacks_authority_in(FOLD_VERSION, actor, says, case_type, site)
}

/// The same under an older version of the fold.
pub(super) fn lacks_authority_in(
    version: u32,
    actor: &Actor,
    says: &Says,
    case_type: CaseType,
    site: &SiteId,
) -> Option<&'static str> {
    if actor.kind == ActorKind::Hub {
        return None;
    }
    if actor.site != *site {
        return Some("only the depot of the case or the hub may say this");
    }
    match says {
        Says::Moved { to: CaseState::Closed, .. } => Some("only the hub may close a case"),
        Says::Moved { to: CaseState::Resolved, auto_cleared: false, .. } if is_the_hubs(version, case_type) => {
            Some("only the hub may resolve a case of finance, customs or policy")
        }
        // No detector cancels, so none can be meant by it either.
        Says::Moved { to: CaseState::Cancelled, .. } if is_the_hubs(version, case_type) => {
            Some("only the hub may cancel a case of finance, customs or policy")
        }
        Says::SeverityLowered { .. } if actor.kind == ActorKind::Vehicle => Some("a vehicle may not lower severity"),
        Says::Aliased { .. } => Some("only the hub may join cases"),
        _ => None,
    }
}

/// Whether people at a depot may not put a case of this type to rest.
fn is_the_hubs(version: u32, case_type: CaseType) -> bool {
    match case_type {
        CaseType::CreditHold | CaseType::PolicyViolation | CaseType::ReconDiscrepancy => true,
        CaseType::PodShort | CaseType::PodOver | CaseType::CustomsHold => version >= 2,
        _ => false,
    }
}

/// Why a case that stands at `from` cannot be moved like this by `kind`, or `None` if it can.
///
/// `closed_days` is how many days ago it was closed, where it was.
#[must_use]
pub fn is_no_step(kind: ActorKind, from: CaseState, step: &Step<'_>, closed_days: Option<i64>) -> Option<&'static str> {
    use CaseState::{Acknowledged, Cancelled, Closed, InProgress, Open, Reopened, Resolved, Waiting};
    let leads_there = match (from, step.to) {
        (Resolved, _) if step.auto_cleared => false,
        (_, Resolved) if step.auto_cleared => !from.is_over(),
        (Open, Acknowledged)
        | (Acknowledged | Reopened | Waiting, InProgress)
        | (InProgress, Waiting)
        | (InProgress | Waiting, Resolved)
        | (Resolved, Closed | Reopened) => true,
        (Closed, Reopened | Cancelled) => kind == ActorKind::Hub,
        (from, Cancelled) => from != Cancelled,
        _ => false,
    };
    if !leads_there {
        return Some("the case did not stand where this step begins");
    }
    match (step.to, step.how) {
        (Waiting, Some(How::WaitsFor(_))) | (Cancelled, Some(How::FalseAlarm | How::DuplicateOf(_))) => None,
        (Waiting, _) => Some("it does not say whom it waits for"),
        (Cancelled, _) => Some("it does not say of what it is a duplicate, nor that it is a false alarm"),
        (Resolved, Some(How::Resolved { code, cause })) if !code.is_empty() && !cause.is_empty() => None,
        (Resolved, _) if !step.auto_cleared => Some("it names no resolution or no cause"),
        (Reopened, _) if step.reason.is_empty() => Some("it gives no reason"),
        (Reopened, _) if from == Closed && closed_days.is_none_or(|days| days >= REOPEN_WITHIN_DAYS) => {
            Some("it was closed too long ago; what comes now is a new case")
        }
        _ => None,
    }
}

/// A move as the table of transitions looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Where to.
    pub to: CaseState,
    /// What belongs to it.
    pub how: Option<&'a How>,
    /// Why.
    pub reason: &'a str,
    /// Whether a detector did it.
    pub auto_cleared: bool,
}

impl<'a> Step<'a> {
    /// The move in `says`, if it is one.
    #[must_use]
    pub fn of(says: &'a Says) -> Option<Self> {
        match says {
            Says::Moved { to, reason, auto_cleared, how, .. } => {
                Some(Self { to: *to, how: how.as_ref(), reason, auto_cleared: *auto_cleared })
            }
            _ => None,
        }
    }
}

/// The states that a person's word leads through from `from` to `to`, `to` at the end; none if there is no way.
///
/// Whoever says that it is resolved has seen it and has worked on it: those steps are written with it.
#[must_use]
pub fn way_to(from: CaseState, to: CaseState) -> Option<Vec<CaseState>> {
    use CaseState::{Acknowledged, Cancelled, Closed, InProgress, Open, Reopened, Resolved, Waiting};
    let before = match (from, to) {
        (from, to) if from == to => return None,
        (Open, Acknowledged)
        | (Acknowledged | Reopened | Waiting, InProgress)
        | (InProgress, Waiting)
        | (InProgress | Waiting, Resolved)
        | (Resolved, Closed)
        | (Resolved | Closed, Reopened) => return Some(vec![to]),
        (Cancelled, _) | (Closed, Cancelled) => return None,
        (_, Cancelled) => return Some(vec![to]),
        (Open, InProgress) => Acknowledged,
        (Resolved, InProgress) => Reopened,
        (Open | Acknowledged | Reopened | Resolved, Waiting) | (Open | Acknowledged | Reopened, Resolved) => InProgress,
        _ => return None,
    };
    let mut way = way_to(from, before)?;
    way.push(to);
    Some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_depot_puts_no_case_of_finance_or_policy_to_rest_and_closes_none() {
        let depot: Actor = "site/D1/gw-1/1".parse().unwrap();
        let hub: Actor = "hub/HQ/hub-1/1".parse().unwrap();
        let site = SiteId::new("D1").unwrap();
        let may = |actor: &Actor, case_type, to, auto_cleared| {
            let says = Says::Moved { to, since: UtcMs(0), reason: "done".to_owned(), auto_cleared, how: None };
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
        for held in [CaseType::CustomsHold, CaseType::PodShort] {
            assert!(!may(&depot, held, CaseState::Resolved, false) && may(&hub, held, CaseState::Resolved, false));
        }
        assert!(may(&depot, CaseType::DockBlocked, CaseState::Cancelled, false));
        assert!(!may(&depot, CaseType::DockBlocked, CaseState::Closed, false));
    }

    #[test]
    fn every_way_is_made_of_steps_of_the_table() {
        let all = [
            CaseState::Open,
            CaseState::Acknowledged,
            CaseState::InProgress,
            CaseState::Waiting,
            CaseState::Resolved,
            CaseState::Reopened,
            CaseState::Closed,
            CaseState::Cancelled,
        ];
        let how = |to| match to {
            CaseState::Waiting => Some(How::WaitsFor(super::super::entry::WaitsFor::Carrier)),
            CaseState::Resolved => Some(How::Resolved { code: "swap".to_owned(), cause: "flat tyre".to_owned() }),
            CaseState::Cancelled => Some(How::FalseAlarm),
            _ => None,
        };
        let mut ways = 0;
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
            let Some(way) = way_to(from, to) else { continue };
            ways += 1;
            let mut at = from;
            for to in way {
                let how = how(to);
                let step = Step { to, how: how.as_ref(), reason: "why", auto_cleared: false };
                assert_eq!(is_no_step(ActorKind::Hub, at, &step, Some(0)), None, "{at:?} to {to:?}");
                at = to;
            }
            assert_eq!(at, to);
        }
        assert_eq!(ways, 25);
    }

    #[test]
    fn a_step_says_what_belongs_to_it() {
        let bare = |to| Step { to, how: None, reason: "", auto_cleared: false };
        let hub = |from, to| is_no_step(ActorKind::Hub, from, &bare(to), Some(14)).is_some();
        assert!(hub(CaseState::InProgress, CaseState::Waiting) && hub(CaseState::InProgress, CaseState::Resolved));
        assert!(hub(CaseState::Open, CaseState::Cancelled) && hub(CaseState::Resolved, CaseState::Reopened));
        let late = Step { reason: "again", ..bare(CaseState::Reopened) };
        assert!(is_no_step(ActorKind::Hub, CaseState::Closed, &late, Some(14)).is_some());
        assert!(is_no_step(ActorKind::Hub, CaseState::Closed, &late, Some(13)).is_none());
        assert!(is_no_step(ActorKind::Site, CaseState::Closed, &late, Some(13)).is_some());
    }
}
