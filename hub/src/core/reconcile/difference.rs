//! How what left differs from what the ERP, the warehouse and the carriers want by now.
//!
//! In: a [`Situation`] of goods that have left. Out: every difference, the gravest first. An item is settled by the
//! first; the order is one of authority: what people must answer comes before what a rule settles.

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::DecisionKind,
    dispatch::{DispatchView, HoldReason},
    id::{CarrierId, ProductId},
    order::{LineQuantity, Order, OrderStatus},
};

use super::{
    Family, Situation,
    obey::{remainder, same_load},
    row,
};

/// One way in which what left differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// The ERP no longer wants the order.
    Cancelled,
    /// Other depots had let these units leave before.
    Duplicate(Vec<LineQuantity>),
    /// These units are not ordered any more.
    TooMuch(Vec<LineQuantity>),
    /// The customer is on credit hold.
    CreditHold { within_lease: bool },
    /// The lease had expired.
    LeaseExpired,
    /// A hold stands that its depot overrode, or did not know of.
    HoldStands { is_overridden: bool },
    /// It goes to another place now.
    Address,
    /// This one had been tendered it, and another took it.
    Carrier(CarrierId),
    /// The warehouse had not so many units.
    Stock { surplus: Vec<LineQuantity>, within_lease: bool },
    /// Another delivery window is promised now.
    Date { is_earlier: bool },
    /// The goods cost so much more now; less if below zero.
    Price { more_minor: i64, is_much: bool },
    /// The order leaves from another depot now.
    Elsewhere,
    /// More is ordered now.
    Raised,
    /// Less left than was ordered.
    Short,
    /// The rules that it was decided by were replaced meanwhile.
    PolicyLagged,
    /// A hold that was overridden had been lifted.
    OverrideUnneeded,
}

impl Difference {
    /// Family and row of it. A cancellation that was learned of before the delivery stays what it was.
    pub(super) fn place(&self, view: &DispatchView, was: Option<u8>) -> (Family, u8) {
        match self {
            Self::Cancelled if view.delivered.is_some() && was != Some(row::DEPARTED_CANCELLED) => {
                (Family::Cancel, row::DELIVERED_CANCELLED)
            }
            Self::Cancelled => (Family::Cancel, row::DEPARTED_CANCELLED),
            Self::Duplicate(_) => (Family::Duplicate, row::LEFT_TWICE),
            Self::TooMuch(_) => (Family::Quantity, row::DEPARTED_TOO_MUCH),
            Self::CreditHold { .. } => (Family::Credit, row::DEPARTED_CREDIT_HOLD),
            Self::LeaseExpired => (Family::Policy, row::LEASE_EXPIRED),
            Self::HoldStands { is_overridden: true } => (Family::Override, row::OVERRIDE_REFUSED),
            Self::HoldStands { is_overridden: false } => (Family::Override, row::HOLD_PLACED),
            Self::Address => (Family::Address, row::TERMS_CHANGED),
            Self::Carrier(_) => (Family::Carrier, row::OTHER_CARRIER),
            Self::Stock { .. } => (Family::Stock, row::STOCK_TAKEN),
            Self::Date { .. } => (Family::Date, row::TERMS_CHANGED),
            Self::Price { .. } => (Family::Price, row::TERMS_CHANGED),
            Self::Elsewhere => (Family::Depot, row::REASSIGNED),
            Self::Raised => (Family::Quantity, row::DEPARTED_BEFORE_RAISE),
            Self::Short => (Family::Quantity, row::DEPARTED_SHORT),
            Self::PolicyLagged => (Family::Policy, row::POLICY_LAGGED),
            Self::OverrideUnneeded => (Family::Override, row::OVERRIDE_UNNEEDED),
        }
    }

    /// Whether a person must see it, so that it has a case even where something graver settles the item.
    pub(super) fn needs_a_person(&self) -> bool {
        match self {
            Self::Cancelled | Self::Duplicate(_) | Self::TooMuch(_) | Self::LeaseExpired | Self::Address => true,
            Self::HoldStands { .. } | Self::Carrier(_) => true,
            Self::CreditHold { within_lease } | Self::Stock { within_lease, .. } => !within_lease,
            Self::Date { is_earlier } => *is_earlier,
            Self::Price { is_much, .. } => *is_much,
            Self::Elsewhere | Self::Raised | Self::Short | Self::PolicyLagged | Self::OverrideUnneeded => false,
        }
    }

    /// The units it is about, where it is about some.
    pub(super) fn units(&self) -> &[LineQuantity] {
        match self {
            Self::Duplicate(units) | Self::TooMuch(units) | Self::Stock { surplus: units, .. } => units,
            _ => &[],
        }
    }
}

/// Every difference of a dispatch that left with `load`, the gravest first.
pub(super) fn differences(
    s: &Situation<'_>,
    view: &DispatchView,
    order: &Order,
    load: &[LineQuantity],
) -> Vec<Difference> {
    let was = |row: u8| s.item.row == Some(row);
    let mut found = Vec::new();
    if view.cancelled.is_some()
        || order.status == OrderStatus::Cancelled
        || was(row::DEPARTED_CANCELLED)
        || was(row::DELIVERED_CANCELLED)
    {
        found.push(Difference::Cancelled);
    }
    found.extend(too_much(s, order, load));
    let is_held = s.on_hold == Some(true) || view.holds.iter().any(|h| h.reason == HoldReason::Credit);
    if is_held || was(row::DEPARTED_CREDIT_HOLD) {
        found.push(Difference::CreditHold { within_lease: s.within_lease });
    }
    if s.lease_expired {
        found.push(Difference::LeaseExpired);
    }
    if view.left_under_stop && view.holds.iter().any(|hold| hold.reason != HoldReason::Credit) {
        found.push(Difference::HoldStands { is_overridden: s.decision.kind == DecisionKind::Override });
    }
    found.extend(changed_terms(s, order, load));
    found.extend(other_carrier(s, view, order).map(Difference::Carrier));
    found.extend(stock_taken(s, load));
    if order.site != view.site {
        found.push(Difference::Elsewhere);
    }
    found.extend(too_little(s, order, load));
    if s.policy_lagged {
        found.push(Difference::PolicyLagged);
    }
    if view.release.as_ref().is_some_and(|release| release.override_unneeded) {
        found.push(Difference::OverrideUnneeded);
    }
    // What people must answer first; else in the order of above.
    found.sort_by_key(|difference| !difference.needs_a_person());
    keep_what_was_chosen(s, view, &mut found);
    found
}

/// Once a person chose, the difference they chose on stands: what follows from the choice must not undo it. A
/// cancellation and a surplus are graver than anything that was chosen on before.
fn keep_what_was_chosen(s: &Situation<'_>, view: &DispatchView, found: &mut [Difference]) {
    let Some(chosen) = s.item.chosen.as_ref().filter(|chosen| chosen.is_for(s.item)) else { return };
    let is_graver =
        |d: &Difference| matches!(d, Difference::Cancelled | Difference::Duplicate(_) | Difference::TooMuch(_));
    if found.first().is_some_and(is_graver) {
        return;
    }
    let place = |d: &Difference| d.place(view, s.item.row);
    if let Some(at) = found.iter().position(|d| Some(place(d).1) == chosen.row && place(d).0 == s.item.family) {
        found[..=at].rotate_right(1);
    }
}

fn too_much(s: &Situation<'_>, order: &Order, load: &[LineQuantity]) -> Option<Difference> {
    let is_chosen = |row| s.item.row == Some(row) && s.item.chosen.as_ref().is_some_and(|c| c.row == Some(row));
    if is_chosen(row::DEPARTED_TOO_MUCH) {
        return Some(Difference::TooMuch(s.item.surplus.clone()));
    }
    if is_chosen(row::LEFT_TWICE) {
        return Some(Difference::Duplicate(s.item.surplus.clone()));
    }
    let surplus = beyond(&remainder(order, s.earlier), load);
    if surplus.is_empty() {
        return None;
    }
    let elsewhere = by_line(s.elsewhere);
    let here = s.earlier.iter().map(|q| {
        let other = elsewhere.get(&q.line).copied().unwrap_or(0);
        LineQuantity { quantity: q.quantity.saturating_sub(other), ..q.clone() }
    });
    let is_only_twice =
        !s.elsewhere.is_empty() && beyond(&remainder(order, &here.collect::<Vec<_>>()), load).is_empty();
    Some(if is_only_twice { Difference::Duplicate(surplus) } else { Difference::TooMuch(surplus) })
}

/// The units of `load` beyond `wanted`.
fn beyond(wanted: &[LineQuantity], load: &[LineQuantity]) -> Vec<LineQuantity> {
    let wanted = by_line(wanted);
    let over = |q: &LineQuantity| q.quantity.saturating_sub(wanted.get(&q.line).copied().unwrap_or(0));
    load.iter().filter(|q| over(q) > 0).map(|q| LineQuantity { quantity: over(q), ..q.clone() }).collect()
}

fn too_little(s: &Situation<'_>, order: &Order, load: &[LineQuantity]) -> Option<Difference> {
    let (wanted, left) = (remainder(order, s.earlier), by_line(load));
    if wanted.iter().all(|q| left.get(&q.line).copied().unwrap_or(0) >= q.quantity) {
        return None;
    }
    let seen = s.decision.order.as_ref().map_or(0, |(_, version)| *version);
    let is_raised = order.version > seen && !same_load(&wanted, &s.decision.load);
    Some(if is_raised { Difference::Raised } else { Difference::Short })
}

/// What the ERP changed of the order beside its quantities, since the version that the depot saw.
fn changed_terms(s: &Situation<'_>, order: &Order, load: &[LineQuantity]) -> Vec<Difference> {
    let Some(seen) = s.seen else { return Vec::new() };
    let mut found = Vec::new();
    if seen.destination != order.destination {
        found.push(Difference::Address);
    }
    if seen.window_end != order.window_end {
        found.push(Difference::Date { is_earlier: order.window_end < seen.window_end });
    }
    let (before, now) = (seen.value_minor(load), order.value_minor(load));
    let has_other_price = load.iter().any(|q| price(seen, q.line) != price(order, q.line));
    // A line that one of them does not have is a matter of quantities.
    let knows_all = load.iter().all(|q| price(seen, q.line).is_some() && price(order, q.line).is_some());
    if has_other_price && knows_all {
        let more_minor = now.saturating_sub(before);
        let tolerated = before.max(0) / 100 * i64::from(s.policy.price_tolerance_percent);
        found.push(Difference::Price { more_minor, is_much: more_minor > tolerated });
    }
    found
}

fn price(order: &Order, line: u16) -> Option<i64> {
    order.lines.iter().find(|l| l.line == line).map(|l| l.unit_price_minor)
}

/// Who was to carry it instead of who does.
fn other_carrier(s: &Situation<'_>, view: &DispatchView, order: &Order) -> Option<CarrierId> {
    let seen = s.seen.map(|seen| &seen.carrier);
    let by_order = Some(&order.carrier).filter(|carrier| seen.is_some_and(|seen| seen != *carrier));
    let other = view.carrier_refused.as_ref().or(by_order).or(s.tendered);
    other.filter(|other| **other != view.carrier).cloned()
}

/// Units that left although the warehouse had said meanwhile that it had fewer.
fn stock_taken(s: &Situation<'_>, load: &[LineQuantity]) -> Option<Difference> {
    let had: BTreeMap<u16, u32> = s.confirmed.iter().copied().collect();
    let short = |q: &LineQuantity| had.get(&q.line).map_or(0, |units| q.quantity.saturating_sub(*units));
    let surplus: Vec<LineQuantity> =
        load.iter().filter(|q| short(q) > 0).map(|q| LineQuantity { quantity: short(q), ..q.clone() }).collect();
    if surplus.is_empty() {
        return None;
    }
    let charged = |product: &ProductId| {
        s.decision.lease.as_ref().and_then(|charge| charge.used.stock.get(product)).copied().unwrap_or(0)
    };
    let within_lease = s.is_set_aside && load.iter().all(|q| charged(&q.product) >= q.quantity);
    Some(Difference::Stock { surplus, within_lease })
}

/// Units by line.
pub(super) fn by_line(load: &[LineQuantity]) -> BTreeMap<u16, u32> {
    let mut units = BTreeMap::new();
    for q in load {
        let sum: &mut u32 = units.entry(q.line).or_default();
        *sum = sum.saturating_add(q.quantity);
    }
    units
}
