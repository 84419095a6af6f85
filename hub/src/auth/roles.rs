//! What each role may do. One table, so that it can be read and tested as one.

use gatehouse_common::{case::Team, dispatch::HoldReason};
use serde::{Deserialize, Serialize};

use crate::core::reconcile::Family;

/// What a person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
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
    /// May do what any team may, except what is finance's alone.
    Supervisor,
    /// Keeps the hub and its devices running.
    Admin,
}

/// Something that changes what the hub holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Choose how a difference with the ERP is settled.
    Choose(Family),
    /// Lift a hold.
    Lift(HoldReason),
    /// Cancel a dispatch as its depot asks, or decline it.
    Cancel,
    /// Move a case that this team owns.
    MoveCase(Team),
    /// Send a dead letter again.
    Replay,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Dispatch,
        Self::Warehouse,
        Self::Finance,
        Self::CustomerService,
        Self::CarrierManagement,
        Self::Supervisor,
        Self::Admin,
    ];

    /// The word for it in the configuration, on pages and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Warehouse => "warehouse",
            Self::Finance => "finance",
            Self::CustomerService => "customer_service",
            Self::CarrierManagement => "carrier_management",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
        }
    }

    /// The team whose cases are this role's own.
    #[must_use]
    pub fn team(self) -> Option<Team> {
        match self {
            Self::Dispatch => Some(Team::Dispatch),
            Self::Warehouse => Some(Team::Warehouse),
            Self::Finance => Some(Team::Finance),
            Self::CustomerService => Some(Team::CustomerService),
            Self::CarrierManagement => Some(Team::CarrierManagement),
            Self::Supervisor => None,
            Self::Admin => Some(Team::Governance),
        }
    }

    /// Whether this role may do that.
    #[must_use]
    pub fn may(self, act: Act) -> bool {
        match act {
            // Whether the customer keeps the goods is the customer's word, which customer service has.
            Act::Choose(Family::Cancel) => {
                matches!(self, Self::Finance | Self::Supervisor | Self::CustomerService)
            }
            Act::Choose(Family::Address | Family::Date) => {
                matches!(self, Self::Dispatch | Self::CustomerService | Self::Supervisor)
            }
            Act::Choose(Family::Pod) => matches!(self, Self::Finance | Self::Supervisor | Self::CustomerService),
            Act::Choose(Family::Stock) => matches!(self, Self::Warehouse | Self::Supervisor),
            Act::Choose(Family::Carrier) => matches!(self, Self::CarrierManagement | Self::Supervisor),
            Act::Choose(Family::Duplicate) => matches!(self, Self::Dispatch | Self::Finance | Self::Supervisor),
            Act::Choose(_) => matches!(self, Self::Finance | Self::Supervisor),
            Act::Lift(HoldReason::Credit) => self == Self::Finance,
            Act::Lift(_) => self == Self::Supervisor,
            Act::Cancel => matches!(self, Self::Dispatch | Self::Supervisor),
            Act::MoveCase(team) => self == Self::Supervisor || self.team() == Some(team),
            Act::Replay => matches!(self, Self::Dispatch | Self::Supervisor | Self::Admin),
        }
    }

    /// Who may do that, for people.
    #[must_use]
    pub fn who_may(act: Act) -> String {
        let roles: Vec<_> = Self::ALL.into_iter().filter(|role| role.may(act)).map(Self::as_str).collect();
        roles.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_what_is_this_table() {
        let table = [
            (Act::Choose(Family::Cancel), "finance, customer_service, supervisor"),
            (Act::Choose(Family::Quantity), "finance, supervisor"),
            (Act::Choose(Family::Credit), "finance, supervisor"),
            (Act::Choose(Family::Price), "finance, supervisor"),
            (Act::Choose(Family::Quality), "finance, supervisor"),
            (Act::Choose(Family::Pod), "finance, customer_service, supervisor"),
            (Act::Choose(Family::Address), "dispatch, customer_service, supervisor"),
            (Act::Choose(Family::Date), "dispatch, customer_service, supervisor"),
            (Act::Choose(Family::Duplicate), "dispatch, finance, supervisor"),
            (Act::Choose(Family::Carrier), "carrier_management, supervisor"),
            (Act::Choose(Family::Stock), "warehouse, supervisor"),
            (Act::Lift(HoldReason::Credit), "finance"),
            (Act::Lift(HoldReason::Quality), "supervisor"),
            (Act::MoveCase(Team::Warehouse), "warehouse, supervisor"),
            (Act::MoveCase(Team::Governance), "supervisor, admin"),
            (Act::Cancel, "dispatch, supervisor"),
            (Act::Replay, "dispatch, supervisor, admin"),
        ];
        for (act, who) in table {
            assert_eq!(Role::who_may(act), who, "{act:?}");
        }
    }
}
