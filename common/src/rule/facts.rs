//! Gives conditions their facts: what is held, no older than its gate allows.

use crate::{
    case::{CaseType, Severity},
    fact::{Fact, FactKey, FactValue},
    gate::{GateInput, GateKind, Question},
    order::{Order, Tier},
    time::UtcMs,
};

use super::{Binding, Value, Why};

/// What a condition may ask for beside the facts.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Whether the depot is cut off from the hub.
    pub cut_off: bool,
    /// For fallback rules: name, state and reason of the gate.
    pub gate: Option<(String, &'static str, &'static str)>,
    /// For fallback rules: how many gates fail and how many are unknown.
    pub counts: (i64, i64),
    /// For routing rules: type, subject and severity.
    pub case: Option<(CaseType, String, Severity)>,
}

/// The facts of one dispatch as conditions see them.
pub struct Held<'a> {
    /// Order, load and facts; none where a case is about no order.
    pub question: Option<&'a Question<'a>>,
    /// How old the facts of a gate may be, in milliseconds.
    pub limit_ms: &'a dyn Fn(GateKind) -> u64,
    /// The rest.
    pub around: &'a Around,
}

impl Held<'_> {
    /// The held facts that a name speaks of.
    #[must_use]
    pub fn inputs(&self, names: &[&str]) -> Vec<GateInput> {
        let Some(question) = self.question else { return Vec::new() };
        let mut inputs: Vec<GateInput> = Vec::new();
        for name in names {
            for fact in family_of(name).map_or_else(Vec::new, |family| facts_of(question, family)).into_iter().flatten()
            {
                if inputs.iter().all(|input| input.key != fact.report.key) {
                    inputs.push(GateInput::of(fact, question.now));
                }
            }
        }
        inputs
    }

    /// The values of a family, if all are there and none is too old.
    fn fresh(&self, family: &str) -> Result<Vec<&FactValue>, Why> {
        let question = self.question.ok_or(Why::Missing)?;
        let limit_ms = GateKind::named(family).map_or(u64::MAX, |gate| (self.limit_ms)(gate));
        let facts = facts_of(question, family);
        if facts.is_empty() {
            return Err(Why::Missing);
        }
        facts
            .into_iter()
            .map(|fact| {
                let fact = fact.ok_or(Why::Missing)?;
                let fresh = fact.age_ms(question.now).is_some_and(|age| age <= limit_ms);
                if fresh { Ok(&fact.report.value) } else { Err(Why::Stale) }
            })
            .collect()
    }

    fn one(&self, family: &str) -> Result<&FactValue, Why> {
        self.fresh(family)?.first().copied().ok_or(Why::Missing)
    }

    fn fact_value(&self, family: &str, part: &str) -> Result<Value, Why> {
        let question = self.question.ok_or(Why::Missing)?;
        if family == "inventory" || family == "cargo" {
            return self.units(question, family, part);
        }
        match (self.one(family)?, part) {
            (FactValue::Capacity { sufficient, vehicle }, _) => match vehicle {
                Some(other) if *other != question.order.vehicle => Ok(Value::Bool(false)),
                _ => Ok(Value::Bool(*sufficient)),
            },
            (FactValue::Carrier { carrier, .. }, _) if *carrier != question.order.carrier => Err(Why::Missing),
            (FactValue::Carrier { accepted, .. }, _) => Ok(Value::Bool(*accepted)),
            (FactValue::Credit { on_hold, .. }, "on_hold") => Ok(Value::Bool(*on_hold)),
            (FactValue::Credit { headroom_minor, .. }, _) => Ok(Value::Int(*headroom_minor)),
            (FactValue::Dock { occupied, .. }, "occupied") => occupied.map(Value::Bool).ok_or(Why::Missing),
            (FactValue::Dock { open, .. }, "open") => open.map(Value::Bool).ok_or(Why::Missing),
            (FactValue::Dock { vehicle, .. }, _) => {
                vehicle.as_ref().map(|v| Value::Text(v.to_string())).ok_or(Why::Missing)
            }
            (FactValue::Documents { complete }, _) => Ok(Value::Bool(*complete)),
            (FactValue::Labour { required_minutes, .. }, "required_minutes") => Ok(int(*required_minutes)),
            (FactValue::Labour { rostered_minutes, .. }, _) => Ok(int(*rostered_minutes)),
            _ => Err(Why::Missing),
        }
    }

    /// Sums over the lines of the load.
    fn units(&self, question: &Question<'_>, family: &str, part: &str) -> Result<Value, Why> {
        let values = self.fresh(family)?;
        let units: i64 = question
            .load
            .iter()
            .zip(values)
            .map(|(line, value)| match (value, part) {
                (FactValue::Inventory { confirmed }, _) => i64::from(line.quantity.saturating_sub(*confirmed)),
                (FactValue::Cargo { staged, .. }, "staged_units") => i64::from(*staged),
                (FactValue::Cargo { loaded, .. }, _) => i64::from(*loaded),
                _ => 0,
            })
            .sum();
        Ok(Value::Int(units))
    }

    fn of_gate(&self, part: &str) -> Result<Value, Why> {
        let (name, state, why) = self.around.gate.as_ref().ok_or(Why::Missing)?;
        Ok(Value::Text(match part {
            "name" => name.clone(),
            "state" => (*state).to_owned(),
            _ => (*why).to_owned(),
        }))
    }

    fn of_case(&self, part: &str) -> Result<Value, Why> {
        let (case_type, subject, severity) = self.around.case.as_ref().ok_or(Why::Missing)?;
        Ok(match part {
            "type" => Value::Text(case_type.code().to_owned()),
            "subject" => Value::Text(subject.clone()),
            _ => Value::Int(match severity {
                Severity::S1 => 1,
                Severity::S2 => 2,
                Severity::S3 => 3,
                Severity::S4 => 4,
            }),
        })
    }
}

impl Binding for Held<'_> {
    fn fact(&self, name: &'static str) -> Result<Value, Why> {
        let (family, part) = name.split_once('.').ok_or(Why::Missing)?;
        match family {
            "order" => {
                let question = self.question.ok_or(Why::Missing)?;
                of_order(question, question.order, part)
            }
            "cases" => {
                let question = self.question.ok_or(Why::Missing)?;
                Ok(Value::Int(i64::try_from(question.blocking_cases.len()).unwrap_or(i64::MAX)))
            }
            "hub" => Ok(Value::Bool(self.around.cut_off)),
            "gate" => self.of_gate(part),
            "gates" => Ok(Value::Int(if part == "failed" { self.around.counts.0 } else { self.around.counts.1 })),
            "case" => self.of_case(part),
            family => self.fact_value(family, part),
        }
    }

    fn age_s(&self, family: &'static str) -> Result<i64, Why> {
        let question = self.question.ok_or(Why::Missing)?;
        let ages = facts_of(question, family)
            .into_iter()
            .map(|fact| fact.ok_or(Why::Missing)?.age_ms(question.now).ok_or(Why::Stale))
            .collect::<Result<Vec<u64>, Why>>()?;
        let oldest = ages.into_iter().max().ok_or(Why::Missing)?;
        Ok(i64::try_from(oldest / 1_000).unwrap_or(i64::MAX))
    }

    fn now(&self) -> UtcMs {
        self.question.map_or(UtcMs(0), |question| question.now.wall)
    }
}

fn int(n: u32) -> Value {
    Value::Int(i64::from(n))
}

fn of_order(question: &Question<'_>, order: &Order, part: &str) -> Result<Value, Why> {
    let text = |text: &str| Ok(Value::Text(text.to_owned()));
    match part {
        "id" => text(order.id.as_str()),
        "class" => text(&order.class),
        "customer" => text(order.customer.id.as_str()),
        "tier" => text(match order.customer.tier {
            Tier::C => "C",
            Tier::B => "B",
            Tier::A => "A",
            Tier::Critical => "critical",
        }),
        "currency" => text(&order.currency),
        "value_minor" => Ok(Value::Int(order.value_minor(question.load))),
        "units" => Ok(Value::Int(question.load.iter().map(|l| i64::from(l.quantity)).sum())),
        "lines" => Ok(Value::Int(i64::try_from(question.load.len()).unwrap_or(i64::MAX))),
        "vehicle" => text(order.vehicle.as_str()),
        "carrier" => text(order.carrier.as_str()),
        "door" => text(order.door.as_str()),
        "dangerous_goods" => Ok(Value::Bool(order.dangerous_goods)),
        "planned_departure" => Ok(Value::Time(order.planned_departure)),
        "window_end" => Ok(Value::Time(order.window_end)),
        "cut_off" => order.cut_off.map(Value::Time).ok_or(Why::Missing),
        _ => Err(Why::Missing),
    }
}

/// The family of a fact, where it has an age.
fn family_of(name: &str) -> Option<&str> {
    let family = name.split('.').next()?;
    super::schema::FAMILIES.contains(&family).then_some(family)
}

/// The facts of a family that concern a dispatch, one place for each that is due.
fn facts_of<'a>(question: &Question<'a>, family: &str) -> Vec<Option<&'a Fact>> {
    let order = || question.order.id.clone();
    let get = |key: FactKey| question.facts.get(&key);
    let each = |key: &dyn Fn(u16) -> FactKey| question.load.iter().map(|l| get(key(l.line))).collect();
    match family {
        "inventory" => each(&|line| FactKey::Inventory { order: order(), line }),
        "cargo" => each(&|line| FactKey::Cargo { order: order(), line }),
        "capacity" => vec![get(FactKey::Capacity { order: order() })],
        "carrier" => vec![get(FactKey::Carrier { order: order() })],
        "credit" => vec![get(FactKey::Credit { customer: question.order.customer.id.clone() })],
        "dock" => vec![get(FactKey::Dock { door: question.order.door.clone() })],
        "documents" => vec![get(FactKey::Documents { order: order() })],
        "labour" => vec![question.facts.slot_at(&question.order.site, question.order.planned_departure)],
        _ => Vec::new(),
    }
}
