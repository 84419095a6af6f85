//! Which types of case there are, who owns them and what is recommended.
//!
//! Codes, floors, owners and actions are those of the project's exception taxonomy; a type is
//! listed when something in this version can open it.

use serde::{Deserialize, Serialize};

use super::severity::Severity;

/// The teams that own cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Team {
    /// Plans and watches departures.
    Dispatch,
    /// Picks, stages and loads.
    Warehouse,
    /// Credit, invoices and variances.
    Finance,
    /// Speaks with customers.
    CustomerService,
    /// Speaks with carriers.
    CarrierManagement,
    /// Rules, leases and devices.
    Governance,
}

impl Team {
    /// The words for it on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Warehouse => "warehouse",
            Self::Finance => "finance",
            Self::CustomerService => "customer service",
            Self::CarrierManagement => "carrier management",
            Self::Governance => "governance",
        }
    }
}

/// The type of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaseType {
    /// Less can be picked than was ordered.
    InvShortfall,
    /// What was scanned differs from what was picked.
    InvMismatch,
    /// The WMS has not confirmed, or too long ago.
    InvUnconfirmed,
    /// The vehicle cannot carry it, or nobody has said that it can.
    CapacityShort,
    /// The carrier declined.
    CarrierReject,
    /// The carrier has not answered.
    CarrierNoResponse,
    /// It has not left 15 minutes after it should have.
    DepartureDelay,
    /// Another vehicle stands at the planned door.
    DockConflict,
    /// A door is occupied or open long after its planned end.
    DockBlocked,
    /// Papers are missing.
    DocHold,
    /// The ERP blocks the customer, or the load is worth more than the credit left.
    CreditHold,
    /// A seal was broken or opened on the way.
    SealBroken,
    /// A source has been silent too long.
    FeedStale,
    /// What a depot did differs from what the ERP wants.
    ReconDiscrepancy,
    /// A release outside its lease, or a departure against a stop.
    PolicyViolation,
}

impl CaseType {
    /// Every type.
    pub const ALL: [Self; 15] = [
        Self::InvShortfall,
        Self::InvMismatch,
        Self::InvUnconfirmed,
        Self::CapacityShort,
        Self::CarrierReject,
        Self::CarrierNoResponse,
        Self::DepartureDelay,
        Self::DockConflict,
        Self::DockBlocked,
        Self::DocHold,
        Self::CreditHold,
        Self::SealBroken,
        Self::FeedStale,
        Self::ReconDiscrepancy,
        Self::PolicyViolation,
    ];

    /// Its code, as in dedup keys and exports.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// The least severity it can have.
    #[must_use]
    pub fn floor(self) -> Severity {
        self.row().floor
    }

    /// Who owns it.
    #[must_use]
    pub fn owner(self) -> Team {
        self.row().owner
    }

    /// What can be done about it, the most feasible first.
    #[must_use]
    pub fn actions(self) -> &'static [&'static str] {
        self.row().actions
    }

    #[rustfmt::skip]
    fn row(self) -> Row {
        use Severity::{S1, S2, S3};
        use Team::{CarrierManagement, Dispatch, Finance, Governance, Warehouse};
        let row = |code, floor, owner, actions| Row { code, floor, owner, actions };
        match self {
            Self::InvShortfall => row("INV_SHORTFALL", S3, Warehouse, &["split and back-order", "substitute", "ship from another depot", "hold for receipt", "ask the customer"]),
            Self::InvMismatch => row("INV_MISMATCH", S3, Warehouse, &["recount", "swap", "correct the pick", "ship with an approved variance"]),
            Self::InvUnconfirmed => row("INV_UNCONFIRMED", S3, Warehouse, &["ask the WMS", "cycle count", "release under the lease if allowed"]),
            Self::CapacityShort => row("CAPACITY_SHORT", S2, Dispatch, &["take a bigger vehicle", "split", "buy on the spot market", "move to the next wave"]),
            Self::CarrierReject => row("CARRIER_REJECT", S2, CarrierManagement, &["tender to the next in the route guide", "counter", "buy on the spot market", "use the own fleet"]),
            Self::CarrierNoResponse => row("CARRIER_NO_RESPONSE", S3, CarrierManagement, &["remind", "tender in parallel", "escalate"]),
            Self::DepartureDelay => row("DEPARTURE_DELAY", S3, Dispatch, &["expedite loading", "swap the dock", "set a new time", "notify the customer"]),
            Self::DockConflict => row("DOCK_CONFLICT", S3, Warehouse, &["swap doors", "hold in the yard", "resequence"]),
            Self::DockBlocked => row("DOCK_BLOCKED", S3, Warehouse, &["move the trailer", "use another door", "open a maintenance ticket"]),
            Self::DocHold => row("DOC_HOLD", S3, Warehouse, &["reprint", "complete the papers"]),
            Self::CreditHold => row("CREDIT_HOLD", S2, Finance, &["approve", "ask for prepayment", "ship in part", "cancel"]),
            Self::SealBroken => row("SEAL_BROKEN", S1, Dispatch, &["stop and inspect", "call police or customs", "recount"]),
            Self::FeedStale => row("FEED_STALE", S3, Dispatch, &["switch to fallback rules", "queue"]),
            Self::ReconDiscrepancy => row("RECON_DISCREPANCY", S2, Finance, &["compensate", "approve the variance", "recall"]),
            Self::PolicyViolation => row("POLICY_VIOLATION", S1, Governance, &["review", "revoke the device"]),
        }
    }
}

struct Row {
    code: &'static str,
    floor: Severity,
    owner: Team,
    actions: &'static [&'static str],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_in_documents_as_its_code() {
        for case_type in CaseType::ALL {
            assert_eq!(serde_json::to_string(&case_type).unwrap(), format!("\"{}\"", case_type.code()));
            assert!(!case_type.actions().is_empty());
        }
    }
}
