//! How bad a case is: the largest of four axes, with a floor per type.

use serde::{Deserialize, Serialize};

use super::taxonomy::CaseType;
use crate::{
    order::{LineQuantity, Order, Tier},
    time::UtcMs,
};

/// Severity of a case. S1 is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Least.
    S4,
    /// Some axis is 2.
    S3,
    /// Some axis is 3.
    S2,
    /// Some axis is 3 and safety is at stake or the customer is A tier or critical.
    S1,
}

impl Severity {
    /// Minutes within which someone should acknowledge it.
    #[must_use]
    pub fn acknowledge_minutes(self) -> i64 {
        match self {
            Self::S1 => 5,
            Self::S2 => 15,
            Self::S3 => 60,
            Self::S4 => 240,
        }
    }

    /// Minutes within which it should be resolved. S3 is due at the next cut-off; 480 stands in where none is known.
    #[must_use]
    pub fn resolve_minutes(self) -> i64 {
        match self {
            Self::S1 => 60,
            Self::S2 => 240,
            Self::S3 => 480,
            Self::S4 => 2880,
        }
    }
}

/// The four axes, each 0 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Axes {
    /// Slack to the promised time: more than 60 min 0, 15 to 60 is 1, 0 to 15 is 2, less 3.
    pub time: u8,
    /// Service level of the customer: C 0, B 1, A 2, critical 3.
    pub customer: u8,
    /// Money at risk against the bundle's three amounts.
    pub money: u8,
    /// Safety or compliance: temperature, seal, customs, dangerous goods.
    pub safety: u8,
}

impl Axes {
    /// The axes of a case about an order of which `load` is at stake, against rising `money_minor`.
    #[must_use]
    pub fn of(order: &Order, load: &[LineQuantity], case_type: CaseType, money_minor: &[i64; 3], now: UtcMs) -> Self {
        Self {
            time: Self::time_of(order.window_end.since(now) / 60_000),
            customer: Self::customer_of(order.customer.tier),
            money: Self::money_of(order.value_minor(load), money_minor),
            safety: Self::safety_of(case_type, order.dangerous_goods),
        }
    }

    /// The safety axis of a case.
    #[must_use]
    pub fn safety_of(case_type: CaseType, dangerous_goods: bool) -> u8 {
        let papers = dangerous_goods && case_type == CaseType::DocHold;
        if case_type == CaseType::SealBroken || papers { 3 } else { 0 }
    }

    /// The time axis for `slack_minutes` until the promised time.
    #[must_use]
    pub fn time_of(slack_minutes: i64) -> u8 {
        match slack_minutes {
            61.. => 0,
            15..=60 => 1,
            0..=14 => 2,
            _ => 3,
        }
    }

    /// The customer axis for `tier`.
    #[must_use]
    pub fn customer_of(tier: Tier) -> u8 {
        match tier {
            Tier::C => 0,
            Tier::B => 1,
            Tier::A => 2,
            Tier::Critical => 3,
        }
    }

    /// The money axis for `minor` at risk, against rising `limits`.
    #[must_use]
    pub fn money_of(minor: i64, limits: &[i64; 3]) -> u8 {
        limits.iter().fold(0, |axis, limit| if minor >= *limit { axis + 1 } else { axis })
    }

    /// The severity of a case of `case_type` on these axes; never below the type's floor.
    #[must_use]
    pub fn severity(&self, case_type: CaseType) -> Severity {
        let worst = self.time.max(self.customer).max(self.money).max(self.safety);
        let by_axes = match worst {
            3.. if self.safety >= 3 || self.customer >= 2 => Severity::S1,
            3.. => Severity::S2,
            2 => Severity::S3,
            _ => Severity::S4,
        };
        by_axes.max(case_type.floor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_seal_is_s1_even_for_the_least_of_customers() {
        assert_eq!(Axes::default().severity(CaseType::SealBroken), Severity::S1);
        assert_eq!(Axes::default().severity(CaseType::DepartureDelay), Severity::S3);
        assert_eq!(Axes { time: 3, ..Axes::default() }.severity(CaseType::DepartureDelay), Severity::S2);
        assert_eq!(Axes { time: 3, customer: 2, ..Axes::default() }.severity(CaseType::DepartureDelay), Severity::S1);
    }

    #[test]
    fn slack_of_exactly_an_hour_counts_as_an_hour_or_less() {
        assert_eq!([61, 60, 15, 14, 0, -1].map(Axes::time_of), [0, 1, 1, 2, 2, 3]);
    }
}
