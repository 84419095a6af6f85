//! What the ERP's word means for dispatches that have not left yet.
//!
//! In: the newest order, one of its dispatches, the customer's standing, the time. Out: [`Step`]s that write it
//! into the dispatch, so that the depot obeys. A dispatch that has left is [`super::settle()`]'s.

use std::collections::BTreeMap;

use gatehouse_common::{
    dispatch::{Changed, DispatchState, DispatchView, HoldReason, Says},
    order::{LineQuantity, Order, OrderStatus},
    time::UtcMs,
};

use super::Step;

/// What is left of `order` for a dispatch once `earlier` dispatches have taken their part; lines with nothing left are not in it.
#[must_use]
pub fn remainder(order: &Order, earlier: &[LineQuantity]) -> Vec<LineQuantity> {
    let mut taken: BTreeMap<u16, u32> = BTreeMap::new();
    for quantity in earlier {
        let sum = taken.entry(quantity.line).or_default();
        *sum = sum.saturating_add(quantity.quantity);
    }
    order
        .quantities()
        .into_iter()
        .filter_map(|mut q| {
            q.quantity = q.quantity.saturating_sub(taken.get(&q.line).copied().unwrap_or(0));
            (q.quantity > 0).then_some(q)
        })
        .collect()
}

/// Whether both carry the same units of the same lines, in whatever order.
#[must_use]
pub fn same_load(a: &[LineQuantity], b: &[LineQuantity]) -> bool {
    let by_line = |load: &[LineQuantity]| -> BTreeMap<u16, u32> {
        load.iter().filter(|q| q.quantity > 0).map(|q| (q.line, q.quantity)).collect()
    };
    by_line(a) == by_line(b)
}

/// When the slot of a dispatch is over: when it should have left, as its depot planned it and as the ERP wants it now.
fn slot_ends(order: &Order, view: &DispatchView) -> UtcMs {
    order.planned_departure.max(view.planned_departure)
}

/// The end of the slot, if the depot asks for a cancellation and has proven that the vehicle was not there when it was
/// over. A slot that the ERP moved meanwhile is another one: what was seen before its end says nothing of it.
fn given_up_at(order: &Order, view: &DispatchView) -> Option<UtcMs> {
    let ends = slot_ends(order, view);
    let absent_at = view.cancel_asked.as_ref().filter(|_| view.cancelled.is_none())?.absent_at?;
    (!view.state.is_on_board() && absent_at >= ends).then_some(ends)
}

/// When [`obey`] would say more of a dispatch than at `now` though nothing else changes: a depot whose clock is ahead
/// may say that a slot is over which by the hub's clock is not.
#[must_use]
pub fn looks_again_at(order: &Order, view: &DispatchView, now: UtcMs) -> Option<UtcMs> {
    let may_follow = !view.state.is_over_at_depot() && order.status == OrderStatus::Released && order.site == view.site;
    given_up_at(order, view).filter(|ends| may_follow && *ends > now)
}

/// Writes cancellation, new quantities and a lifted credit hold into a dispatch that has not left.
///
/// A cancellation that its depot asks for follows where the vehicle is proven absent and the slot is over at `now`;
/// any other stays a proposal.
#[must_use]
pub fn obey(
    order: &Order,
    view: &DispatchView,
    earlier: &[LineQuantity],
    on_hold: Option<bool>,
    now: UtcMs,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if view.state.is_over_at_depot() || view.waits_for_upgrade {
        return steps;
    }
    let version = order.version;
    let load = remainder(order, earlier);
    if order.site != view.site && order.status == OrderStatus::Released {
        if view.cancelled.is_none() && version > view.order_version {
            let why = format!("the ERP lets order {} leave from {} now", order.id, order.site);
            let says = Says::Reassigned { to: order.site.clone(), order_version: version, why };
            steps.push(Step::WriteDispatch(says));
        }
        return steps;
    }
    if order.status == OrderStatus::Cancelled {
        if view.cancelled.is_none() {
            let why = format!("the ERP cancelled order {}", order.id);
            steps.push(Step::WriteDispatch(Says::Cancelled { order_version: version, why }));
        }
        return steps;
    }
    if given_up_at(order, view).is_some_and(|ends| ends <= now) {
        let asked = view.cancel_asked.as_ref().map_or("", |asked| asked.why.as_str());
        let why = format!("the vehicle was not there and its slot is over: {asked}");
        steps.push(Step::WriteDispatch(Says::Cancelled { order_version: version, why }));
        return steps;
    }
    if view.cancelled.is_none() && version > view.order_version && !same_load(&load, &view.load) {
        steps.push(Step::WriteDispatch(if load.is_empty() {
            let why = format!("nothing of order {} is left to deliver", order.id);
            Says::Cancelled { order_version: version, why }
        } else {
            let why = format!("the ERP changed order {}: {}", order.id, in_words(&load));
            Says::Terms { order_version: version, load, why }
        }));
    }
    let lifted: Vec<_> = view.holds.iter().filter(|h| h.reason == HoldReason::Credit).collect();
    if on_hold == Some(false) && !lifted.is_empty() {
        let why = "the ERP no longer holds the customer's credit".to_owned();
        for case in lifted.iter().flat_map(|h| &h.cases) {
            steps.push(Step::ResolveCase { case: *case, reason: why.clone() });
        }
        let holds = lifted.into_iter().map(|h| h.key.clone()).collect();
        steps.push(Step::WriteDispatch(Says::Lifted { holds, why }));
    }
    steps
}

/// What a dispatch is told of another address or another date, with both promises; the price is the hub's matter alone.
/// `known` is the order in the version that the dispatch knows.
#[must_use]
pub fn told_of_change(order: &Order, known: Option<&Order>, view: &DispatchView) -> Option<Says> {
    let known = known.filter(|known| known.version == view.order_version && order.version > known.version)?;
    let is_over = matches!(view.state, DispatchState::Cancelled | DispatchState::Aborted | DispatchState::Settled);
    if is_over || view.delivered.is_some() || view.waits_for_upgrade || order.status == OrderStatus::Cancelled {
        return None;
    }
    let prices = |order: &Order| order.lines.iter().map(|l| (l.line, l.unit_price_minor)).collect::<Vec<_>>();
    let mut what = Vec::new();
    let mut words = Vec::new();
    if known.destination != order.destination {
        what.push(Changed::Address);
        words.push("another address".to_owned());
    }
    if known.window_end != order.window_end {
        what.push(Changed::Date);
        words.push(format!("a window until {}, not {}", order.window_end, known.window_end));
    }
    if what.is_empty() {
        return None;
    }
    if prices(known) != prices(order) {
        what.push(Changed::Price);
    }
    let why = format!("the ERP gives order {} {}", order.id, words.join(" and "));
    let (promised, promises) = (known.window_end, order.window_end);
    Some(Says::Changed { order_version: order.version, what, promised, promises, why })
}

/// A load for people: `line 1: 8 PALLET, line 2: 3 CRATE`.
#[must_use]
pub fn in_words(load: &[LineQuantity]) -> String {
    let lines: Vec<String> = load.iter().map(|q| format!("line {}: {} {}", q.line, q.quantity, q.product)).collect();
    lines.join(", ")
}
