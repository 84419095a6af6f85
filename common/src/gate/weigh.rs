//! Weighs one gate of one dispatch on the facts held.

use super::{GateInput, GateKind, GateResult, GateState, UnknownWhy};
use crate::{
    fact::{Fact, FactKey, FactValue, Facts},
    id::DocumentId,
    order::{LineQuantity, Order},
    time::{Moment, UtcMs},
};

/// What the gates of one dispatch are weighed on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The order, in the version to be released.
    pub order: &'a Order,
    /// What this dispatch shall carry of it.
    pub load: &'a [LineQuantity],
    /// The facts held.
    pub facts: &'a Facts,
    /// Open cases that block this dispatch.
    pub blocking_cases: &'a [DocumentId],
    /// How long the way to the customer is reckoned where the order names no cut-off, in milliseconds.
    pub transit_ms: u64,
    /// When it is asked.
    pub now: &'a Moment,
}

impl Question<'_> {
    /// The latest departure that keeps the promise.
    #[must_use]
    pub fn latest_departure(&self) -> UtcMs {
        let transit_ms = i64::try_from(self.transit_ms).unwrap_or(i64::MAX);
        self.order.cut_off.unwrap_or_else(|| self.order.window_end.plus(transit_ms.saturating_neg()))
    }
}

/// Weighs one gate under the age limit `limit_ms`.
///
/// Pure: the same question gives the same answer.
#[must_use]
pub fn weigh(gate: GateKind, question: &Question<'_>, limit_ms: u64) -> GateResult {
    let order = question.order;
    let mut scale = Scale { question, limit_ms, inputs: Vec::new(), why: None };
    let refusal = match gate {
        GateKind::Inventory => scale.each_line(
            |line| FactKey::Inventory { order: order.id.clone(), line },
            |q, value| match value {
                FactValue::Inventory { confirmed } if *confirmed < q.quantity => {
                    Says::No(format!("line {}: {} of {} {} can be picked", q.line, confirmed, q.quantity, q.product))
                }
                _ => Says::Yes,
            },
        ),
        GateKind::Cargo => scale.each_line(
            |line| FactKey::Cargo { order: order.id.clone(), line },
            |q, value| match value {
                FactValue::Cargo { staged, .. } if *staged != q.quantity => {
                    Says::No(format!("line {}: {} of {} {} are staged", q.line, staged, q.quantity, q.product))
                }
                _ => Says::Yes,
            },
        ),
        GateKind::Capacity => scale.one(FactKey::Capacity { order: order.id.clone() }, |value| match value {
            FactValue::Capacity { sufficient: false, .. } => {
                Says::No(format!("{} cannot carry this load", order.vehicle))
            }
            FactValue::Capacity { vehicle: Some(vehicle), .. } if *vehicle != order.vehicle => {
                Says::No(format!("capacity was reckoned for {vehicle}, the order names {}", order.vehicle))
            }
            _ => Says::Yes,
        }),
        GateKind::Carrier => scale.one(FactKey::Carrier { order: order.id.clone() }, |value| match value {
            // Another carrier's word, yes or no, is no answer of the one that the order names.
            FactValue::Carrier { carrier, .. } if *carrier != order.carrier => Says::Nothing,
            FactValue::Carrier { accepted: false, carrier } => Says::No(format!("carrier {carrier} declined")),
            _ => Says::Yes,
        }),
        GateKind::Credit => {
            let value_minor = order.value_minor(question.load);
            scale.one(FactKey::Credit { customer: order.customer.id.clone() }, |value| match value {
                FactValue::Credit { on_hold: true, .. } => {
                    Says::No(format!("{} is on credit hold", order.customer.name))
                }
                FactValue::Credit { headroom_minor, .. } if *headroom_minor < value_minor => Says::No(format!(
                    "{} has credit for {headroom_minor}, the load is worth {value_minor} (minor units of {})",
                    order.customer.name, order.currency
                )),
                _ => Says::Yes,
            })
        }
        GateKind::Dock => scale.one(FactKey::Dock { door: order.door.clone() }, |value| match value {
            FactValue::Dock { occupied: Some(true), vehicle, .. } if vehicle.as_ref() != Some(&order.vehicle) => {
                Says::No(match vehicle {
                    Some(other) => format!("door {} is taken by {other}", order.door),
                    None => format!("door {} is taken by an unknown vehicle", order.door),
                })
            }
            // Open or closed says nothing of what stands there.
            FactValue::Dock { occupied: None, .. } => Says::Nothing,
            _ => Says::Yes,
        }),
        GateKind::Documents => scale.one(FactKey::Documents { order: order.id.clone() }, |value| match value {
            FactValue::Documents { complete: false } => Says::No("papers are not complete".to_owned()),
            _ => Says::Yes,
        }),
        GateKind::Sla => {
            let latest = question.latest_departure();
            (question.now.wall > latest).then(|| format!("to keep the promise it had to leave by {latest}"))
        }
        GateKind::Labour => scale.labour(),
        // It is a condition, and weighed by the rules.
        GateKind::Rule => {
            scale.why = Some(UnknownWhy::Missing);
            None
        }
        GateKind::NoBlockingCase => match question.blocking_cases {
            [] => None,
            cases => Some(format!("{} open case(s) block it", cases.len())),
        },
    };
    // A fact that is fresh and says no outweighs one that is missing: the dispatch cannot leave either way,
    // and the reason is worth more to a person than "unknown".
    let state = match (refusal, scale.why) {
        (Some(reason), _) => GateState::Fail { reason },
        (None, Some(why)) => GateState::Unknown { why },
        (None, None) => GateState::Pass,
    };
    GateResult { gate, state, limit_ms, inputs: scale.inputs, rule: None, fallback: None }
}

/// What one fresh fact says to a gate.
enum Says {
    Yes,
    /// No, and why.
    No(String),
    /// It speaks of something else: the answer is still missing.
    Nothing,
}

/// Gathers the inputs of one gate and the worst that is wrong with their ages.
struct Scale<'a> {
    question: &'a Question<'a>,
    limit_ms: u64,
    inputs: Vec<GateInput>,
    why: Option<UnknownWhy>,
}

impl Scale<'_> {
    /// Looks up one fact and judges it if it is fresh; gives the reason of a no.
    fn one(&mut self, key: FactKey, judge: impl Fn(&FactValue) -> Says) -> Option<String> {
        let Some(fact) = self.question.facts.get(&key) else {
            self.why = Some(UnknownWhy::Missing);
            return None;
        };
        let age_ms = self.note(fact);
        if age_ms.is_none_or(|age| age > self.limit_ms) {
            self.why.get_or_insert(UnknownWhy::Stale);
            return None;
        }
        match judge(&fact.report.value) {
            Says::Yes => None,
            Says::No(reason) => Some(reason),
            Says::Nothing => {
                self.why.get_or_insert(UnknownWhy::Missing);
                None
            }
        }
    }

    /// Whether the slot in which the order shall leave has the hours that it needs.
    fn labour(&mut self) -> Option<String> {
        let at = self.question.order.planned_departure;
        let key = self.question.facts.slot_at(&self.question.order.site, at).map(|fact| fact.report.key.clone());
        let Some(key) = key else {
            self.why = Some(UnknownWhy::Missing);
            return None;
        };
        self.one(key, |value| match value {
            FactValue::Labour { required_minutes, rostered_minutes, .. } if required_minutes > rostered_minutes => {
                Says::No(format!(
                    "the slot needs {required_minutes} minutes of dock work and has {rostered_minutes} rostered"
                ))
            }
            _ => Says::Yes,
        })
    }

    fn each_line(
        &mut self,
        key: impl Fn(u16) -> FactKey,
        judge: impl Fn(&LineQuantity, &FactValue) -> Says,
    ) -> Option<String> {
        let load = self.question.load;
        let mut refusal = None;
        for quantity in load {
            let this = self.one(key(quantity.line), |value| judge(quantity, value));
            refusal = refusal.or(this);
        }
        refusal
    }

    fn note(&mut self, fact: &Fact) -> Option<u64> {
        let input = GateInput::of(fact, self.question.now);
        let age_ms = input.age_ms;
        self.inputs.push(input);
        age_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fact::Report,
        order::{Customer, OrderLine, OrderStatus, Tier},
        time::BootId,
    };

    fn order() -> Order {
        Order {
            id: "O1".parse().unwrap(),
            version: 1,
            site: "D1".parse().unwrap(),
            customer: Customer { id: "C1".parse().unwrap(), name: "Customer One".into(), tier: Tier::B },
            lines: vec![OrderLine {
                line: 1,
                product: "P1".parse().unwrap(),
                quantity: 1,
                unit_price_minor: 1,
                unit_weight_grams: None,
            }],
            currency: "EUR".into(),
            class: "standard".into(),
            vehicle: "V1".parse().unwrap(),
            carrier: "CARR".parse().unwrap(),
            door: "3".parse().unwrap(),
            planned_departure: UtcMs(0),
            window_end: UtcMs(0),
            destination: None,
            route: None,
            status: OrderStatus::Released,
            cut_off: None,
            dangerous_goods: false,
        }
    }

    fn weighed(gate: GateKind, key: FactKey, value: FactValue) -> GateState {
        let now = Moment {
            wall: UtcMs(1_000),
            uncertainty_ms: 0,
            boot: BootId("boot".into()),
            boottime_ms: 0,
            trusted: true,
        };
        let mut facts = Facts::default();
        let report = Report { key, value, source: gate.source(), at: now.wall, evidence: String::new() };
        facts.take(Fact { report, received: now.clone() });
        let (order, load) = (order(), order().quantities());
        let question =
            Question { order: &order, load: &load, facts: &facts, blocking_cases: &[], transit_ms: 0, now: &now };
        weigh(gate, &question, 60_000).state
    }

    fn carrier(accepted: bool, carrier: &str) -> GateState {
        let key = FactKey::Carrier { order: "O1".parse().unwrap() };
        weighed(GateKind::Carrier, key, FactValue::Carrier { accepted, carrier: carrier.parse().unwrap() })
    }

    fn dock(occupied: Option<bool>, vehicle: Option<&str>) -> GateState {
        let vehicle = vehicle.map(|v| v.parse().unwrap());
        let key = FactKey::Dock { door: "3".parse().unwrap() };
        weighed(GateKind::Dock, key, FactValue::Dock { occupied, open: Some(false), vehicle })
    }

    const MISSING: GateState = GateState::Unknown { why: UnknownWhy::Missing };

    #[test]
    fn the_word_of_a_carrier_that_the_order_does_not_name_is_no_answer() {
        assert_eq!(carrier(true, "CARR"), GateState::Pass);
        assert_eq!(carrier(false, "CARR"), GateState::Fail { reason: "carrier CARR declined".into() });
        assert_eq!((carrier(true, "OTHER"), carrier(false, "OTHER")), (MISSING, MISSING));
    }

    #[test]
    fn a_door_of_which_no_sensor_has_said_whether_it_is_taken_is_unknown() {
        assert_eq!(dock(None, None), MISSING);
        assert_eq!((dock(Some(false), None), dock(Some(true), Some("V1"))), (GateState::Pass, GateState::Pass));
        assert_eq!(dock(Some(true), Some("V2")), GateState::Fail { reason: "door 3 is taken by V2".into() });
    }
}
