//! What depots are lent while they are connected, for the time when they are not; and what people settle afterwards.

use super::read::{Problem, Section};

/// `[policy]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyConfig {
    /// `lease_hours`: how long a lease lasts, 1 to 168. Default 24.
    /// Longer bridges longer outages; what is lent is away from all other depots for as long.
    pub lease_hours: u32,
    /// `renew_minutes`: how often a connected depot gets a new lease, or more time for the one it holds, 1 or more.
    /// Default 60.
    pub renew_minutes: u32,
    /// `unreported_days`: how long after its end a lease of which its depot stated nothing is put to a person, 1 to 365.
    /// Default 7. Until then, and until that person writes it off, all of it stays reserved.
    pub unreported_days: u32,
    /// `value_ceiling_minor`: most value a depot may release under one lease, in minor units. Default 10,000,000.
    pub value_ceiling_minor: i64,
    /// `credit_slice_percent`: how much of a customer's free credit one depot is lent, 0 to 100. Default 50.
    pub credit_slice_percent: u8,
    /// `stock_slice_percent`: how much of a product's free stock at the depot it is lent, 0 to 100. Default 80.
    pub stock_slice_percent: u8,
    /// `reserve_percent`: how much of each of the ERP's figures is never lent, 0 to 100. Default 10.
    pub reserve_percent: u8,
    /// `two_people_above_minor`: a choice about a difference of more than this, in minor units of the order's currency,
    /// needs a second person; one whose case is of severity S1 always does. Default 1,000,000.
    /// Lower makes more choices wait for a second person; `0` all of them.
    pub two_people_above_minor: i64,
    /// `price_tolerance_percent`: a price that rose by no more than this while goods were on their way stands without a
    /// person, 0 to 100. Default 2.
    pub price_tolerance_percent: u8,
    /// `close_after_hours`: a resolved case closes by itself once nothing was said in it for so long, by the hub's clock,
    /// and no recon item of its order is open, 1 to 8760. Default 24. Until then it can be taken up again at its depot
    /// too; from then on only at the hub, for 14 days.
    pub close_after_hours: u32,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            lease_hours: 24,
            renew_minutes: 60,
            unreported_days: 7,
            value_ceiling_minor: 10_000_000,
            credit_slice_percent: 50,
            stock_slice_percent: 80,
            reserve_percent: 10,
            two_people_above_minor: 1_000_000,
            price_tolerance_percent: 2,
            close_after_hours: 24,
        }
    }
}

impl PolicyConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Self {
        const PERCENT: &str = "give 0 to 100";
        let d = Self::default();
        let policy = Self {
            lease_hours: section.optional("lease_hours", "give 1 to 168", problems).unwrap_or(d.lease_hours),
            renew_minutes: section.optional("renew_minutes", "give 1 or more", problems).unwrap_or(d.renew_minutes),
            unreported_days: section
                .optional("unreported_days", "give 1 to 365", problems)
                .unwrap_or(d.unreported_days),
            value_ceiling_minor: section
                .optional("value_ceiling_minor", "give an amount in minor units", problems)
                .unwrap_or(d.value_ceiling_minor),
            credit_slice_percent: section
                .optional("credit_slice_percent", PERCENT, problems)
                .unwrap_or(d.credit_slice_percent),
            stock_slice_percent: section
                .optional("stock_slice_percent", PERCENT, problems)
                .unwrap_or(d.stock_slice_percent),
            reserve_percent: section.optional("reserve_percent", PERCENT, problems).unwrap_or(d.reserve_percent),
            two_people_above_minor: section
                .optional("two_people_above_minor", "give an amount in minor units", problems)
                .unwrap_or(d.two_people_above_minor),
            price_tolerance_percent: section
                .optional("price_tolerance_percent", PERCENT, problems)
                .unwrap_or(d.price_tolerance_percent),
            close_after_hours: section
                .optional("close_after_hours", "give 1 to 8760", problems)
                .unwrap_or(d.close_after_hours),
        };
        let mut check = |key: &str, is_good: bool, value: i64, remedy: &str| {
            if !is_good {
                problems.push(section.problem(key, format!("{value} is out of range"), remedy));
            }
        };
        check("lease_hours", (1..=168).contains(&policy.lease_hours), policy.lease_hours.into(), "give 1 to 168");
        check("renew_minutes", policy.renew_minutes > 0, policy.renew_minutes.into(), "give 1 or more");
        let days = policy.unreported_days;
        check("unreported_days", (1..=365).contains(&days), days.into(), "give 1 to 365");
        let hours = policy.close_after_hours;
        check("close_after_hours", (1..=8_760).contains(&hours), hours.into(), "give 1 to 8760");
        check(
            "value_ceiling_minor",
            policy.value_ceiling_minor >= 0,
            policy.value_ceiling_minor,
            "give 0 (nothing may be released under a lease) or more",
        );
        check(
            "two_people_above_minor",
            policy.two_people_above_minor >= 0,
            policy.two_people_above_minor,
            "give 0 (every choice needs two people) or more",
        );
        for (key, value) in [
            ("credit_slice_percent", policy.credit_slice_percent),
            ("stock_slice_percent", policy.stock_slice_percent),
            ("reserve_percent", policy.reserve_percent),
            ("price_tolerance_percent", policy.price_tolerance_percent),
        ] {
            check(key, value <= 100, value.into(), PERCENT);
        }
        section.finish(problems);
        policy
    }
}
