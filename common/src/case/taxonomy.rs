//! Which types of case there are, who owns them and what is recommended.
//!
//! Codes, floors, owners and actions are those of the project's exception taxonomy. Some are opened at a depot,
//! some at the hub.

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
    /// Clocks, gateways and lines.
    It,
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
            Self::It => "IT",
        }
    }
}

/// The type of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaseType {
    /// Less can be picked than was ordered.
    InvShortfall,
    /// What was scanned or weighed differs from what was picked.
    InvMismatch,
    /// The WMS has not confirmed, or too long ago.
    InvUnconfirmed,
    /// The vehicle cannot carry it, or nobody has said that it can.
    CapacityShort,
    /// The dock needs more hours than the roster of its slot has.
    LabourShort,
    /// The carrier declined.
    CarrierReject,
    /// The carrier has not answered.
    CarrierNoResponse,
    /// The pick-up window and its grace are over and the vehicle has not come.
    MissedPickup,
    /// It has not left 15 minutes after it should have.
    DepartureDelay,
    /// Two dispatches want one door, or a vehicle stands at another door than planned.
    DockConflict,
    /// A door is occupied or open long after its planned end, or faulty.
    DockBlocked,
    /// A vehicle has stood in the yard beyond its free time.
    Detention,
    /// The vehicle has left the corridor of its planned route.
    RouteDeviation,
    /// The vehicle stands where no stop is planned.
    UnplannedStop,
    /// It will probably arrive after its window.
    EtaRisk,
    /// The delivery window is over and the vehicle has not arrived.
    LateDelivery,
    /// The delivery was tried and not completed.
    DeliveryFailed,
    /// Customs hold the goods.
    CustomsHold,
    /// Papers are missing.
    DocHold,
    /// The ERP blocks the customer, or the load is worth more than the credit left.
    CreditHold,
    /// The customer asked to wait.
    HoldCustomer,
    /// Less was delivered than was shipped.
    PodShort,
    /// More was delivered than was shipped.
    PodOver,
    /// Goods arrived damaged.
    PodDamage,
    /// The consignee refused goods.
    PodRefused,
    /// It was delivered and no proof of delivery has come.
    PodMissing,
    /// Cargo was outside its temperature band for too long.
    TempExcursion,
    /// A seal was broken or opened on the way.
    SealBroken,
    /// Jamming, tampering, a power cut, a tow or a call for help.
    SecurityAlarm,
    /// A vehicle has sent no position for too long.
    TelemetrySilence,
    /// A source has been silent too long.
    FeedStale,
    /// Two dispatches carry the same goods.
    DupDispatch,
    /// What a depot did differs from what the ERP wants.
    ReconDiscrepancy,
    /// A release outside its lease, or a departure against a stop.
    PolicyViolation,
    /// A device's clock differs from a trusted one by more than is allowed.
    ClockSkew,
    /// A product, carrier, place or address is unknown.
    MasterData,
    /// Goods are on their way back.
    Return,
}

impl CaseType {
    /// Every type.
    pub const ALL: [Self; 37] = [
        Self::InvShortfall,
        Self::InvMismatch,
        Self::InvUnconfirmed,
        Self::CapacityShort,
        Self::LabourShort,
        Self::CarrierReject,
        Self::CarrierNoResponse,
        Self::MissedPickup,
        Self::DepartureDelay,
        Self::DockConflict,
        Self::DockBlocked,
        Self::Detention,
        Self::RouteDeviation,
        Self::UnplannedStop,
        Self::EtaRisk,
        Self::LateDelivery,
        Self::DeliveryFailed,
        Self::CustomsHold,
        Self::DocHold,
        Self::CreditHold,
        Self::HoldCustomer,
        Self::PodShort,
        Self::PodOver,
        Self::PodDamage,
        Self::PodRefused,
        Self::PodMissing,
        Self::TempExcursion,
        Self::SealBroken,
        Self::SecurityAlarm,
        Self::TelemetrySilence,
        Self::FeedStale,
        Self::DupDispatch,
        Self::ReconDiscrepancy,
        Self::PolicyViolation,
        Self::ClockSkew,
        Self::MasterData,
        Self::Return,
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
        use Severity::{S1, S2, S3, S4};
        use Team::{CarrierManagement, CustomerService, Dispatch, Finance, Governance, It, Warehouse};
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
            Self::LabourShort => row("LABOUR_SHORT", S4, Warehouse, &["resequence", "borrow people", "move the slot"]),
            Self::MissedPickup => row("MISSED_PICKUP", S2, CarrierManagement, &["call the carrier", "give a new slot", "take another carrier", "notify the customer"]),
            Self::Detention => row("DETENTION", S4, Dispatch, &["speed up", "record the evidence"]),
            Self::RouteDeviation => row("ROUTE_DEVIATION", S3, Dispatch, &["call the driver", "accept the new route", "check for theft"]),
            Self::UnplannedStop => row("UNPLANNED_STOP", S4, Dispatch, &["contact the driver", "send help", "tell a new arrival time"]),
            Self::EtaRisk => row("ETA_RISK", S3, CustomerService, &["resequence the stops", "reroute", "swap the vehicle", "notify the customer of the new time", "change the appointment"]),
            Self::LateDelivery => row("LATE_DELIVERY", S2, CustomerService, &["notify the customer", "make a new appointment", "estimate the penalty"]),
            Self::DeliveryFailed => row("DELIVERY_FAILED", S2, CustomerService, &["deliver again", "reroute", "return"]),
            Self::CustomsHold => row("CUSTOMS_HOLD", S2, Dispatch, &["fetch the documents", "call the broker", "release in part"]),
            Self::HoldCustomer => row("HOLD_CUSTOMER", S3, CustomerService, &["confirm with the customer", "give a new slot"]),
            Self::PodShort => row("POD_SHORT", S3, Finance, &["credit note", "deliver the rest", "claim"]),
            Self::PodOver => row("POD_OVER", S3, Finance, &["take the surplus back", "ask the customer to keep it", "correct the invoice"]),
            Self::PodDamage => row("POD_DAMAGE", S2, CustomerService, &["claim", "replace", "salvage"]),
            Self::PodRefused => row("POD_REFUSED", S2, CustomerService, &["deliver again", "return", "sell on"]),
            Self::PodMissing => row("POD_MISSING", S4, CustomerService, &["chase the driver", "use the geofence as proof"]),
            Self::TempExcursion => row("TEMP_EXCURSION", S2, Warehouse, &["check the set point", "transfer the goods", "quarantine at delivery"]),
            Self::SecurityAlarm => row("SECURITY_ALARM", S1, Dispatch, &["call the driver", "track the vehicle", "call the police"]),
            Self::TelemetrySilence => row("TELEMETRY_SILENCE", S4, Dispatch, &["ping the unit", "call the driver", "rely on the carrier's milestones"]),
            Self::DupDispatch => row("DUP_DISPATCH", S2, Dispatch, &["keep the earlier or the physical one", "void the other"]),
            Self::ClockSkew => row("CLOCK_SKEW", S4, It, &["set the clock", "mark the times"]),
            Self::MasterData => row("MASTER_DATA", S4, CustomerService, &["correct it in the system of record"]),
            Self::Return => row("RETURN", S3, Warehouse, &["book a slot for the return", "inspect the goods"]),
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
