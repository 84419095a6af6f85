//! What is written when the hub opens a case: what it is about, how grave it is, whose it is and until when.

use gatehouse_common::{
    case::{Axes, CaseType, Says, Severity, Team, dedup_key, document_id},
    id::{DocumentId, Hash32, OrderId, SiteId},
    order::Order,
    time::UtcMs,
};

/// A case that is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// What is wrong.
    pub case_type: CaseType,
    /// With what: the subject of the dedup key.
    pub subject: String,
    /// On which leg; empty where there is one only.
    pub leg: String,
    /// Which case of this matter, from 1: one more than the newest that the hub holds, if that is over. It follows it.
    pub occurrence: u32,
    /// Whose depot's it is.
    pub site: SiteId,
    /// One sentence for people.
    pub summary: String,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// The dispatch that may not leave while it is open.
    pub blocks: Option<DocumentId>,
    /// Whose it is, where that is not the owner of its type.
    pub owner: Option<Team>,
}

impl Opening {
    /// The entries with which it opens at `now`: as grave as its type on these axes, and `at_least` so where that is
    /// given. `bundle` is the hash of the rules that were asked.
    #[must_use]
    pub fn says(self, axes: Axes, at_least: Option<Severity>, bundle: Hash32, now: UtcMs) -> Vec<Says> {
        let severity = axes.severity(self.case_type);
        let severity = at_least.map_or(severity, |least| severity.max(least));
        let minutes = |n: i64| now.plus(n.saturating_mul(60_000));
        let follows = self.follows();
        vec![
            Says::Opened {
                case_type: self.case_type,
                subject: self.subject,
                leg: self.leg,
                occurrence: self.occurrence,
                site: self.site,
                since: now,
                summary: self.summary,
                order: self.order,
                blocks: self.blocks,
                follows,
            },
            Says::Classified {
                severity,
                axes,
                owner: self.owner.unwrap_or_else(|| self.case_type.owner()),
                actions: self.case_type.actions().iter().map(|action| (*action).to_owned()).collect(),
                acknowledge_by: minutes(severity.acknowledge_minutes()),
                resolve_by: minutes(severity.resolve_minutes()),
                bundle,
            },
        ]
    }

    /// The case of the same matter before this one.
    fn follows(&self) -> Option<DocumentId> {
        let key = dedup_key(self.case_type, &self.subject, &self.leg);
        (self.occurrence > 1).then(|| document_id(&key, self.occurrence - 1))
    }
}

/// The axes of a matter of an order with so much money at risk, in minor units, against the rising limits of the rules.
#[must_use]
pub fn axes_of(order: &Order, money_minor: i64, money_limits: &[i64; 3], now: UtcMs) -> Axes {
    Axes {
        time: Axes::time_of(order.window_end.since(now) / 60_000),
        customer: Axes::customer_of(order.customer.tier),
        money: Axes::money_of(money_minor, money_limits),
        safety: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_case_of_a_matter_follows_the_one_before_it_and_the_first_follows_none() {
        let follows = |occurrence| {
            let opening = Opening {
                case_type: CaseType::CreditHold,
                subject: "SO-1".into(),
                leg: "D1/1".into(),
                occurrence,
                site: "D1".parse().unwrap(),
                summary: "Ada is on credit hold".into(),
                order: None,
                blocks: None,
                owner: None,
            };
            let says = opening.says(Axes::default(), None, Hash32::ZERO, UtcMs(1));
            let Some(Says::Opened { follows, .. }) = says.into_iter().next() else { panic!("it is not opened") };
            follows
        };
        let key = dedup_key(CaseType::CreditHold, "SO-1", "D1/1");
        assert_eq!((follows(1), follows(2)), (None, Some(document_id(&key, 1))));
        assert_eq!(follows(7), Some(document_id(&key, 6)));
    }
}
