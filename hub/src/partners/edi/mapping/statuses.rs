//! What happened, of two lists.

use gatehouse_common::case::CaseType;

use super::{Milestone, Says};

/// Whether a reason beside a status asks for a case: with a status that says that all goes well it only explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighs {
    /// The reason explains.
    Reason,
    /// The reason decides; without one it is a delay.
    Delay,
    /// The status decides; a reason only explains.
    Status,
}

/// What a status says.
pub(super) struct Meaning {
    pub(super) says: Vec<Says>,
    pub(super) weighs: Weighs,
    pub(super) words: &'static str,
}

fn is(milestone: Milestone, words: &'static str) -> Option<Meaning> {
    Some(Meaning { says: vec![Says::Is(milestone)], weighs: Weighs::Reason, words })
}

fn opens(milestone: Milestone, case: CaseType, words: &'static str) -> Option<Meaning> {
    Some(Meaning { says: vec![Says::Is(milestone), Says::Opens(case)], weighs: Weighs::Status, words })
}

fn clears(milestone: Milestone, cases: &[CaseType], words: &'static str) -> Option<Meaning> {
    let says = [Says::Is(milestone)].into_iter().chain(cases.iter().map(|case| Says::Clears(*case))).collect();
    Some(Meaning { says, weighs: Weighs::Reason, words })
}

fn delayed(words: &'static str) -> Option<Meaning> {
    Some(Meaning { says: vec![Says::Is(Milestone::Delayed)], weighs: Weighs::Delay, words })
}

/// X12 element 1650; none for a code that is not in the list.
pub(super) fn x12(code: &str) -> Option<Meaning> {
    use CaseType as C;
    use Milestone as M;
    match code {
        "XB" => is(M::Acknowledged, "the carrier has the shipment"),
        "X3" | "X8" => clears(M::ArrivedPickup, &[C::MissedPickup], "arrived where it picks up"),
        "L1" => is(M::Loading, "loading"),
        "CP" => is(M::Loaded, "loaded"),
        "CL" => is(M::Sealed, "trailer closed out"),
        "AF" => clears(M::Departed, &[C::DepartureDelay], "left with the load"),
        "X6" | "P1" | "X4" => is(M::Transit, "on its way"),
        "X2" | "AG" => is(M::Estimated, "time of arrival estimated"),
        "SD" => delayed("delayed"),
        "X1" | "X5" => is(M::ArrivedDelivery, "arrived where it delivers"),
        "AH" | "AP" => opens(M::NotDelivered, C::DeliveryFailed, "delivery tried and not completed"),
        "D1" | "CD" => clears(M::Delivered, &[C::LateDelivery, C::EtaRisk], "delivered"),
        "PA" => opens(M::DeliveredInPart, C::PodShort, "delivered in part"),
        "CB" => clears(M::Delivered, &[C::PodShort], "the last part is delivered"),
        "A7" => opens(M::NotDelivered, C::PodRefused, "refused by the consignee"),
        "A9" => opens(M::Noted, C::PodDamage, "damaged"),
        "A3" => opens(M::Returned, C::Return, "on its way back"),
        "CA" => opens(M::Noted, C::CarrierReject, "the carrier asks to cancel"),
        "K1" | "PR" => opens(M::AtCustoms, C::CustomsHold, "held by customs"),
        "CT" => clears(M::CustomsReleased, &[C::CustomsHold], "released by customs"),
        "S1" | "AV" | "AJ" => is(M::Noted, "equipment is ready"),
        _ => None,
    }
}

/// X12 element 1652: an appointment.
pub(super) fn appointment(code: &str) -> Option<Meaning> {
    match code {
        "AA" | "AB" => is(Milestone::Appointed, "appointment"),
        "AC" => is(Milestone::Estimated, "appointment estimated"),
        "EP" | "LP" | "ED" | "LD" => is(Milestone::Appointed, "window"),
        "XA" | "X9" => is(Milestone::Appointed, "appointment secured"),
        _ => None,
    }
}

/// UN/ECE recommendation 24; none for a code that is not in the list.
pub(super) fn edifact(code: &str) -> Option<Meaning> {
    use CaseType as C;
    use Milestone as M;
    match code {
        "1" => is(M::ArrivedDelivery, "arrived"),
        "12" => clears(M::CustomsReleased, &[C::CustomsHold], "cleared by customs"),
        "13" => clears(M::ArrivedPickup, &[C::MissedPickup], "collected"),
        "17" => opens(M::AtCustoms, C::CustomsHold, "refused by customs"),
        "18" => opens(M::Noted, C::PodDamage, "damaged"),
        "20" => delayed("delayed"),
        "21" => clears(M::Delivered, &[C::LateDelivery, C::EtaRisk], "delivered"),
        "23" => opens(M::NotDelivered, C::DeliveryFailed, "delivery not completed"),
        "24" => clears(M::Departed, &[C::DepartureDelay], "left"),
        "25" => opens(M::Delayed, C::DepartureDelay, "departure delayed"),
        "31" => is(M::Transit, "on its way"),
        "48" => is(M::Loaded, "loaded"),
        "53" | "55" => opens(M::Delayed, C::MissedPickup, "not collected"),
        "57" => opens(M::Delayed, C::DepartureDelay, "not loaded"),
        "77" => opens(M::NotDelivered, C::PodRefused, "refused"),
        "83" => is(M::Sealed, "sealed"),
        _ => None,
    }
}
