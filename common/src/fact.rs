//! What we hold to be so, with where it came from and how old it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::{CarrierId, CustomerId, DoorId, OrderId, SiteId, VehicleId},
    time::{Moment, UtcMs},
};

/// What a fact is about. A newer fact under the same key takes the place of the older one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum FactKey {
    /// Pickable units of one order line, as the WMS confirms them.
    Inventory {
        /// Which order.
        order: OrderId,
        /// Which line, from 1.
        line: u16,
    },
    /// Whether the planned vehicle can carry the order, as the TMS says.
    Capacity {
        /// Which order.
        order: OrderId,
    },
    /// Whether the carrier has accepted, as the TMS says.
    Carrier {
        /// Which order.
        order: OrderId,
    },
    /// Credit standing of a customer, as the ERP says.
    Credit {
        /// Which customer.
        customer: CustomerId,
    },
    /// State of a dock door, by its own sensors.
    Dock {
        /// Which door.
        door: DoorId,
    },
    /// Whether the papers are complete.
    Documents {
        /// Which order.
        order: OrderId,
    },
    /// Units scanned for one order line.
    Cargo {
        /// Which order.
        order: OrderId,
        /// Which line, from 1.
        line: u16,
    },
    /// Dock work of one slot of a depot, as the WMS or the roster says.
    Labour {
        /// Which depot.
        site: SiteId,
        /// When the slot begins.
        slot_start: UtcMs,
    },
}

/// What is held to be so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum FactValue {
    /// Answers [`FactKey::Inventory`].
    Inventory {
        /// Units that can be picked.
        confirmed: u32,
    },
    /// Answers [`FactKey::Capacity`].
    Capacity {
        /// Whether weight, volume and pallets fit.
        sufficient: bool,
        /// The vehicle it was reckoned for.
        vehicle: Option<VehicleId>,
    },
    /// Answers [`FactKey::Carrier`].
    Carrier {
        /// Whether it accepted the tender.
        accepted: bool,
        /// Which carrier.
        carrier: CarrierId,
    },
    /// Answers [`FactKey::Credit`].
    Credit {
        /// Whether the ERP blocks new deliveries to the customer.
        on_hold: bool,
        /// What may still be delivered on credit, in minor units of the order's currency.
        headroom_minor: i64,
    },
    /// Answers [`FactKey::Dock`].
    Dock {
        /// Whether a vehicle stands there, if any sensor has said.
        occupied: Option<bool>,
        /// Whether the door stands open, if any sensor has said.
        open: Option<bool>,
        /// Which vehicle stands there, where the sensor can tell.
        vehicle: Option<VehicleId>,
    },
    /// Answers [`FactKey::Documents`].
    Documents {
        /// Whether nothing is missing.
        complete: bool,
    },
    /// Answers [`FactKey::Cargo`].
    Cargo {
        /// Units on the staging lane or beyond.
        staged: u32,
        /// Units in the vehicle now (loaded less unloaded).
        loaded: u32,
    },
    /// Answers [`FactKey::Labour`].
    Labour {
        /// When the slot ends.
        slot_end: UtcMs,
        /// Work that the slot's dispatches need, in minutes of one person.
        required_minutes: u32,
        /// Work that is rostered in it, in minutes of one person.
        rostered_minutes: u32,
    },
}

/// The systems that facts come from. Each has an age of its own on every page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The ERP: orders, customers, credit.
    Erp,
    /// The warehouse management system: inventory.
    Wms,
    /// The transport management system: capacity and carrier.
    Tms,
    /// The depot's own sensors and scanners.
    Depot,
    /// A vehicle's own unit.
    Vehicle,
    /// The hub itself.
    Hub,
}

impl Source {
    /// The word for it on pages and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erp => "ERP",
            Self::Wms => "WMS",
            Self::Tms => "TMS",
            Self::Depot => "depot sensors",
            Self::Vehicle => "vehicle",
            Self::Hub => "hub",
        }
    }
}

/// A fact as it travels: what, of which source, when it was so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it is about.
    pub key: FactKey,
    /// What is held to be so.
    pub value: FactValue,
    /// Who says so.
    pub source: Source,
    /// When it was so, by the source's clock. Ages count from here.
    pub at: UtcMs,
    /// The message or document it rests on.
    pub evidence: String,
}

/// A fact as a store holds it: the report and when it came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// What was reported.
    pub report: Report,
    /// When this store received it.
    pub received: Moment,
}

impl Fact {
    /// Milliseconds since the fact was so, or `None` when that cannot be known.
    #[must_use]
    pub fn age_ms(&self, now: &Moment) -> Option<u64> {
        now.age_of(self.report.at, &self.received)
    }

    /// Whether a report about the same thing that comes at `now` is older than what this says, so that this stays.
    #[must_use]
    pub fn keeps_out(&self, report: &Report, now: &Moment) -> bool {
        self.report.at > report.at && !now.is_before(self.report.at)
    }
}

/// The newest fact under each key.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    by_key: BTreeMap<FactKey, Fact>,
}

impl Facts {
    /// The fact under `key`.
    #[must_use]
    pub fn get(&self, key: &FactKey) -> Option<&Fact> {
        self.by_key.get(key)
    }

    /// The labour fact of the slot of `site` that holds `at`.
    #[must_use]
    pub fn slot_at(&self, site: &SiteId, at: UtcMs) -> Option<&Fact> {
        let last = FactKey::Labour { site: site.clone(), slot_start: at };
        let first = FactKey::Labour { site: site.clone(), slot_start: UtcMs(i64::MIN) };
        let (_, fact) = self.by_key.range(first..=last).next_back()?;
        matches!(fact.report.value, FactValue::Labour { slot_end, .. } if at < slot_end).then_some(fact)
    }

    /// Takes `fact` unless one with a later own time is already held; says whether it was taken.
    ///
    /// A late report thereby never undoes a newer one. Of two with one time the later arrival stays. A held time that is
    /// not believed, since it lies ahead of the clock by which `fact` came, keeps nothing out: a clock was wrong, and which
    /// of them is newer is told by their arrival.
    pub fn take(&mut self, fact: Fact) -> bool {
        match self.by_key.get(&fact.report.key) {
            Some(held) if held.keeps_out(&fact.report, &fact.received) => false,
            _ => {
                self.by_key.insert(fact.report.key.clone(), fact);
                true
            }
        }
    }

    /// Forgets the fact under `key`.
    pub fn forget(&mut self, key: &FactKey) {
        self.by_key.remove(key);
    }

    /// Every fact, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.by_key.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::BootId;

    fn says(at: i64, came: i64) -> Fact {
        let received =
            Moment { wall: UtcMs(came), uncertainty_ms: 0, boot: BootId("b".into()), boottime_ms: 0, trusted: true };
        let customer = CustomerId::new("C-1").unwrap();
        let report = Report {
            key: FactKey::Credit { customer },
            value: FactValue::Credit { on_hold: false, headroom_minor: at },
            source: Source::Erp,
            at: UtcMs(at),
            evidence: String::new(),
        };
        Fact { report, received }
    }

    #[test]
    fn a_late_report_undoes_nothing_newer_but_what_a_clock_dated_ahead_keeps_nothing_out() {
        let mut facts = Facts::default();
        assert!(facts.take(says(1_000_000, 1_000_000)));
        assert!(!facts.take(says(999_999, 1_000_500)), "late");
        assert!(!facts.take(says(950_000, 950_000)), "by a clock that is a little behind");
        assert!(facts.take(says(900_000, 900_000)), "the clock was more than a minute ahead");
        assert!(facts.take(says(901_000, 901_000)));
    }
}
