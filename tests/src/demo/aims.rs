//! Changes at the ERP that are aimed at orders which a depot has already released while cut off.
//!
//! Each is chosen with the row of `DOMAIN.md` 4.3 that it must reach and the outcome that its recon item must have.
//! An aimed case that does not happen fails the run.

use anyhow::Context;
use gatehouse_common::time::UtcMs;
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use serde::Serialize;

use super::plan::{MINUTE, Meant, Moments, PlannedOrder};

/// What the ERP does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErpChange {
    /// It cancels the order.
    Cancel,
    /// It blocks the customer's deliveries.
    CreditHold,
    /// It wants fewer units.
    Reduce,
    /// It wants more units.
    Increase,
}

impl ErpChange {
    /// Whether it falls on a customer rather than on an order.
    #[must_use]
    pub fn is_credit(self) -> bool {
        self == Self::CreditHold
    }
}

/// Where the goods are when the depot learns of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Released, not yet in the vehicle.
    NotDeparted,
    /// In the vehicle at the door.
    OnBoard,
    /// Gone.
    Departed,
}

/// One aimed change.
#[derive(Debug, Clone, Serialize)]
pub struct Aim {
    /// What the ERP does.
    pub change: ErpChange,
    /// Where the goods are.
    pub standing: Standing,
    /// The row of `DOMAIN.md` 4.3.
    pub row: u8,
    /// How its recon item must end.
    pub outcome: &'static str,
    /// What the person at the hub chooses, where one must.
    pub choice: Option<&'static str>,
    /// When the ERP does it.
    pub changed_at: UtcMs,
    /// New quantity of line 1, for a changed quantity.
    pub quantity: Option<u32>,
}

impl Aim {
    /// Sets the new quantity from that of line 1 and how far it moves.
    pub fn fix_quantity(&mut self, ordered: u32, by: u32) {
        self.quantity = match self.change {
            ErpChange::Reduce => Some(ordered - by),
            ErpChange::Increase => Some(ordered + by),
            ErpChange::Cancel | ErpChange::CreditHold => None,
        };
    }
}

/// Every aim of a run: change, standing, row, outcome, choice.
const AIMS: [(ErpChange, Standing, u8, &str, Option<&str>); 10] = [
    (ErpChange::Cancel, Standing::OnBoard, 2, "compensated", None),
    (ErpChange::Cancel, Standing::NotDeparted, 1, "compensated", None),
    (ErpChange::CreditHold, Standing::NotDeparted, 5, "compensated", None),
    (ErpChange::Reduce, Standing::NotDeparted, 7, "compensated", None),
    (ErpChange::Cancel, Standing::Departed, 3, "accepted_variance", Some("accept")),
    (ErpChange::Cancel, Standing::Departed, 3, "compensated", Some("return")),
    (ErpChange::CreditHold, Standing::Departed, 6, "accepted_variance", None),
    (ErpChange::Reduce, Standing::Departed, 8, "accepted_variance", Some("accept")),
    (ErpChange::Reduce, Standing::Departed, 8, "compensated", Some("return")),
    (ErpChange::Increase, Standing::Departed, 9, "compensated", None),
];

/// Gives each aim an order whose bus comes and goes at the right time.
/// # Errors
/// If one finds none; the caller tries another stretch of the day.
pub fn choose(orders: &mut [PlannedOrder], m: &Moments, random: &mut StdRng) -> anyhow::Result<()> {
    for (change, standing, row, outcome, choice) in AIMS {
        let mut places: Vec<usize> = (0..orders.len())
            .filter(|i| {
                let o = &orders[*i];
                let timely = match standing {
                    Standing::OnBoard => o.arrives < m.back.plus(-4 * MINUTE) && o.leaves > m.back.plus(9 * MINUTE),
                    Standing::NotDeparted => o.arrives > m.back.plus(5 * MINUTE),
                    Standing::Departed => o.leaves < m.back.plus(-18 * MINUTE),
                };
                o.meant == Meant::Offline && o.aim.is_none() && timely
            })
            .collect();
        places.shuffle(random);
        let place = *places.first().with_context(|| format!("no order for {change:?} {standing:?}"))?;
        let order = &mut orders[place];
        // Never before the depot has seen the bus go: two fixes, two minutes apart. And early enough for the hub to
        // know of it before the line returns.
        let from = match standing {
            Standing::Departed => order.leaves.plus(6 * MINUTE).max(m.erp_down.plus(MINUTE)),
            Standing::NotDeparted | Standing::OnBoard => m.back.plus(-26 * MINUTE),
        };
        let changed_at = UtcMs(random.random_range(from.0..m.back.plus(-9 * MINUTE).0) / 1000 * 1000);
        order.aim = Some(Aim { change, standing, row, outcome, choice, changed_at, quantity: None });
    }
    Ok(())
}
