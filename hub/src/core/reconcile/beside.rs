//! What two sides that acted apart leave to people beside the items: goods that left twice, a carrier that is not needed,
//! an address that changed on the way, a hold that was overridden and stands, a temperature that was too high.
//!
//! In: an order, its dispatches, cases about it. Out: cases to be opened, each under a key of its own, so that looking
//! again opens none twice. Never reads the clock, the network or the store.

use gatehouse_common::{
    case::{self, CaseType, Severity, Team},
    dispatch::{DispatchView, HoldReason, Says},
    order::{LineQuantity, Order},
};

use super::{
    NewCase,
    obey::{remainder, same_load},
};

/// The cases that these dispatches of `order` call for. Those whose goods count first stand first.
#[must_use]
pub fn beside(order: &Order, dispatches: &[&DispatchView], is_billed: bool, was_too_warm: bool) -> Vec<NewCase> {
    let mut cases: Vec<NewCase> = Vec::new();
    if let Some((second, summary)) = left_twice(order, dispatches) {
        cases.push(new(CaseType::DupDispatch, order, second, "twice", Some(Severity::S1), summary));
    }
    for view in dispatches.iter().filter(|view| !view.waits_for_upgrade) {
        if let (true, Some(refused)) = (view.state.has_left(), &view.carrier_refused) {
            let summary = format!(
                "order {} left with {}: cancel the tender of {refused}, check its fee, book the freight to {}",
                order.id, view.carrier, view.carrier
            );
            let new = new(CaseType::ReconDiscrepancy, order, view, "carrier", None, summary);
            cases.push(NewCase { owner: Some(Team::CarrierManagement), ..new });
        }
        if view.divert {
            let summary = format!("order {} is on its way to an address that changed: divert it", order.id);
            let new = new(CaseType::ReconDiscrepancy, order, view, "address", None, summary);
            cases.push(NewCase { owner: Some(Team::Dispatch), ..new });
        }
        // A credit hold is its item's; any other that someone overrode without knowing that it stands is reviewed.
        let stands = view.holds.iter().find(|hold| hold.reason != HoldReason::Credit);
        if let (true, Some(hold)) = (view.left_under_stop, stands) {
            let summary = format!("order {} left {} although a hold stands: {}", order.id, view.site, hold.why);
            cases.push(new(CaseType::PolicyViolation, order, view, "hold", Some(Severity::S1), summary));
        }
        if was_too_warm && is_billed && view.delivered.is_some() {
            let summary = format!(
                "order {} was delivered and billed, and its goods were too warm on the way: propose a credit note",
                order.id
            );
            cases.push(new(CaseType::ReconDiscrepancy, order, view, "temperature", None, summary));
        }
    }
    cases
}

/// Whether depots let more leave than was ordered between them: the one that counts last, and a sentence.
fn left_twice<'a>(order: &Order, dispatches: &[&'a DispatchView]) -> Option<(&'a DispatchView, String)> {
    let left: Vec<(&DispatchView, &[LineQuantity])> =
        dispatches.iter().filter_map(|view| Some((*view, view.departed.as_ref()?.load.as_slice()))).collect();
    let (second, _) = *left.last()?;
    let (first, _) = left.iter().find(|(view, _)| view.site != second.site)?;
    let before: Vec<LineQuantity> =
        left.iter().take(left.len() - 1).flat_map(|(_, load)| load.iter().cloned()).collect();
    let rest = remainder(order, &before);
    let units = |line: u16| rest.iter().filter(|q| q.line == line).map(|q| q.quantity).sum::<u32>();
    let too_much = second.departed.as_ref()?.load.iter().any(|q| q.quantity > units(q.line));
    let summary = format!(
        "order {} left {} and {}: the one nearer to the customer goes on, the other comes back or is offered",
        order.id, first.site, second.site
    );
    too_much.then_some((second, summary))
}

/// What a dispatch that has nothing on board must be told because another depot has the goods: it had loaded them before
/// it knew that the order leaves from here, or they have left there already.
#[must_use]
pub fn yields(order: &Order, view: &DispatchView, others: &[&DispatchView]) -> Option<Says> {
    let stands_by = !view.state.is_over_at_depot() && !view.state.is_on_board() && view.cancelled.is_none();
    if !stands_by || view.waits_for_upgrade || order.site != view.site {
        return None;
    }
    let is_other = |other: &&&DispatchView| other.site != view.site;
    let has_loaded = |other: &&&DispatchView| other.state.is_on_board() && other.order_version >= order.version;
    if let Some(other) = others.iter().filter(is_other).find(has_loaded) {
        let why =
            format!("{} had loaded order {} before it knew that it leaves from {}", other.site, order.id, view.site);
        return Some(Says::Cancelled { order_version: order.version, why });
    }
    // What left this depot before was taken off when the dispatch was planned.
    let gone = |other: &&&DispatchView| is_other(other) || other.occurrence < view.occurrence;
    let away = others.iter().filter(|other| other.state.has_left()).collect::<Vec<_>>();
    let other = away.iter().find(|other| is_other(other))?;
    let left: Vec<LineQuantity> = away
        .iter()
        .filter(|other| gone(other))
        .filter_map(|other| other.departed.as_ref())
        .flat_map(|d| d.load.clone())
        .collect();
    let rest = remainder(order, &left);
    if same_load(&rest, &view.load) {
        return None;
    }
    let why = format!("{} let of order {} leave what is not planned here any more", other.site, order.id);
    let order_version = order.version;
    if rest.is_empty() {
        return Some(Says::Cancelled { order_version, why });
    }
    // New terms end no release of the same version of the order: what is released there becomes a difference.
    view.release.is_none().then_some(Says::Terms { order_version, load: rest, why })
}

fn new(
    case_type: CaseType,
    order: &Order,
    view: &DispatchView,
    matter: &str,
    at_least: Option<Severity>,
    summary: String,
) -> NewCase {
    let (subject, leg) = (order.id.to_string(), format!("{}/{matter}", view.leg()));
    let id = case::document_id(&case::dedup_key(case_type, &subject, &leg), 1);
    let money_minor = order.value_minor(view.departed.as_ref().map_or(&view.load, |departed| &departed.load));
    NewCase { case_type, id, subject, leg, occurrence: 1, summary, money_minor, at_least, owner: None }
}
