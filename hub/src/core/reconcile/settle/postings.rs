//! What is written at the ERP for one item: each posting under a key of its own, none twice.

use gatehouse_common::{
    dispatch::DispatchView,
    order::{LineQuantity, Order, OrderStatus},
    time::UtcMs,
};

use super::Run;
use crate::core::reconcile::{Posting, PostingKind, PostingState, QueuedPosting, ReconItem, Step};

impl Run<'_> {
    /// The ERP releases no cancelled order: what it does not have of the release by then must not keep what left
    /// from being posted.
    pub(super) fn withdraw_release(&mut self, view: &DispatchView, order: &Order) {
        if view.cancelled.is_none() && order.status != OrderStatus::Cancelled {
            return;
        }
        let waiting = |p: &&QueuedPosting| {
            p.posting.kind == PostingKind::Release
                && p.is_wanted
                && !matches!(p.state, PostingState::Applied | PostingState::Withdrawn)
        };
        let keys = self.s.postings.iter().filter(waiting).map(|p| p.posting.key.clone());
        self.steps.extend(keys.map(|key| Step::Withdraw { key }));
    }

    /// Posts per line what is missing until postings of `kind` add up to `load`; gives the last key.
    pub(super) fn bring_up_to(&mut self, kind: PostingKind, load: &[LineQuantity], at: UtcMs, text: &str) -> String {
        let mut last = String::new();
        for wanted in load {
            let known: Vec<&Posting> = self
                .s
                .postings
                .iter()
                .map(|p| &p.posting)
                .filter(|p| p.kind == kind && p.line == Some(wanted.line))
                .collect();
            let posted = known.iter().filter_map(|p| p.quantity).fold(0, u32::saturating_add);
            self.needed.extend(known.iter().map(|p| p.key.clone()));
            if let Some(newest) = known.last() {
                last.clone_from(&newest.key);
            }
            let missing = wanted.quantity.saturating_sub(posted);
            if missing > 0 {
                let suffix = if known.is_empty() { String::new() } else { format!("/{}", known.len() + 1) };
                last = self.push(kind, Some(wanted.line), Some(missing), None, &suffix, at, text, load);
            }
        }
        last
    }

    pub(super) fn post_release(&mut self) {
        let text = format!("released by {}", self.item.site);
        self.push(PostingKind::Release, None, None, None, "", self.s.decision.at.wall, &text, &[]);
    }

    pub(super) fn post(&mut self, kind: PostingKind, line: Option<u16>, quantity: Option<u32>, text: &str) -> String {
        self.push(kind, line, quantity, None, "", self.s.now, text, &[])
    }

    pub(super) fn post_change(
        &mut self,
        line: Option<u16>,
        quantity: Option<u32>,
        status: Option<OrderStatus>,
        text: &str,
    ) {
        self.push(PostingKind::OrderChange, line, quantity, status, "", self.s.now, text, &[]);
    }

    #[expect(clippy::too_many_arguments, reason = "one call per field of a posting, each named at the caller above")]
    pub(super) fn push(
        &mut self,
        kind: PostingKind,
        line: Option<u16>,
        quantity: Option<u32>,
        status: Option<OrderStatus>,
        suffix: &str,
        at: UtcMs,
        text: &str,
        total: &[LineQuantity],
    ) -> String {
        let key = key(&self.item, kind, line, suffix);
        self.needed.push(key.clone());
        let known = self.s.postings.iter().any(|p| p.posting.key == key);
        if let Some(order) = self.item.order.clone()
            && !known
        {
            self.steps.push(Step::Post(Posting {
                key: key.clone(),
                decision: self.item.decision.clone(),
                order,
                line,
                kind,
                quantity,
                total: total.to_vec(),
                status,
                amount_minor: None,
                text: text.to_owned(),
                at,
            }));
        }
        key
    }

    /// Proposes a credit note for these units at their price; gives the last key.
    pub(super) fn credit(&mut self, order: &Order, units: &[LineQuantity], text: &str) -> String {
        let price = |line: u16| order.lines.iter().find(|l| l.line == line).map_or(0, |l| l.unit_price_minor);
        self.credit_each(units, price, text)
    }

    /// Proposes a credit note for what these units cost more by now than when they were released.
    pub(super) fn credit_the_rise(&mut self, order: &Order, units: &[LineQuantity]) -> String {
        let price = |order: &Order, line: u16| order.lines.iter().find(|l| l.line == line).map(|l| l.unit_price_minor);
        let seen = self.s.seen;
        let rise = |line: u16| {
            let before = seen.and_then(|seen| price(seen, line));
            before.zip(price(order, line)).map_or(0, |(before, now)| now.saturating_sub(before))
        };
        let risen: Vec<LineQuantity> = units.iter().filter(|q| rise(q.line) > 0).cloned().collect();
        self.credit_each(&risen, rise, "the price rose while the goods were on their way")
    }

    fn credit_each(&mut self, units: &[LineQuantity], price: impl Fn(u16) -> i64, text: &str) -> String {
        let known = self.steps.len();
        let last = self.bring_up_to(PostingKind::CreditNote, units, self.s.now, text);
        for step in self.steps.iter_mut().skip(known) {
            if let Step::Post(posting) = step
                && let (Some(line), Some(quantity)) = (posting.line, posting.quantity)
            {
                posting.amount_minor = Some(price(line).saturating_mul(i64::from(quantity)));
            }
        }
        last
    }

    pub(super) fn knows(&self, kind: PostingKind) -> bool {
        self.s.postings.iter().any(|p| p.posting.kind == kind)
    }

    pub(super) fn note_issue(&mut self) {
        let issues = || self.s.postings.iter().filter(|p| p.posting.kind == PostingKind::GoodsIssue);
        if issues().count() > 0 && issues().all(|p| p.state == PostingState::Applied) {
            self.item.issued_at = issues().filter_map(|p| p.applied_at).max();
        }
    }

    /// Whether nothing that is needed is still to be posted.
    pub(super) fn all_applied(&self) -> bool {
        let done = |p: &QueuedPosting| matches!(p.state, PostingState::Applied | PostingState::Withdrawn);
        self.needed.iter().all(|key| self.s.postings.iter().any(|p| p.posting.key == *key && done(p)))
    }
}

fn key(item: &ReconItem, kind: PostingKind, line: Option<u16>, suffix: &str) -> String {
    format!("{}/{}/{}{suffix}", item.decision, kind.as_str(), line.unwrap_or(0))
}
