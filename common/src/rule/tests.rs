use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::time::UtcMs;

#[derive(Default)]
struct Given(BTreeMap<&'static str, Value>);

impl Binding for Given {
    fn fact(&self, name: &'static str) -> Result<Value, Why> {
        self.0.get(name).cloned().ok_or(Why::Missing)
    }
    fn age_s(&self, _: &'static str) -> Result<i64, Why> {
        Err(Why::Stale)
    }
    fn now(&self) -> UtcMs {
        UtcMs(0)
    }
}

fn known() -> Given {
    Given(BTreeMap::from([
        ("order.units", Value::Int(7)),
        ("order.lines", Value::Int(-2)),
        ("order.tier", Value::Text("A".into())),
        ("order.dangerous_goods", Value::Bool(true)),
        ("documents.complete", Value::Bool(false)),
        ("order.cut_off", Value::Time(UtcMs(30 * 60_000))),
    ]))
}

fn of(text: &str) -> Outcome {
    Program::compile(text, Scope::Gate).unwrap_or_else(|faults| panic!("{text}: {faults:?}")).evaluate(&known())
}

fn refused(text: &str) -> String {
    let faults = Program::compile(text, Scope::Gate).expect_err(text);
    faults
        .iter()
        .map(|fault| format!("{}..{} {}", fault.at.start, fault.at.end, fault.message))
        .collect::<Vec<_>>()
        .join("\n")
}

const MISSING: Outcome = Outcome::Unknown(Why::Missing);

#[test]
fn a_condition_over_known_facts_is_true_or_false() {
    assert_eq!(of("order.units > 5 && order.tier in ['A', 'critical']"), Outcome::True);
    assert_eq!(of("minutes_until(order.cut_off) == 30 && minutes_since(order.cut_off) == -30"), Outcome::True);
    assert_eq!(of("order.units - 2 * 3 % 4 == 5 ? !documents.complete : documents.complete"), Outcome::True);
    assert_eq!(of("order.tier.startsWith(\"B\") || order.tier.contains('x')"), Outcome::False);
}

#[test]
fn what_is_missing_is_unknown_and_absorbed_where_the_other_side_settles_it() {
    assert_eq!(of("inventory.missing_units == 0"), MISSING);
    assert_eq!(of("inventory.missing_units == 0 || order.dangerous_goods"), Outcome::True);
    assert_eq!(of("inventory.missing_units == 0 && documents.complete"), Outcome::False);
    assert_eq!(of("!(credit.on_hold) && order.dangerous_goods"), MISSING);
    assert_eq!(of("has(credit.on_hold) || has(order.tier)"), Outcome::True);
    assert_eq!(of("age_s('credit') < 60"), Outcome::Unknown(Why::Stale));
    assert_eq!(of("order.units * 9223372036854775807 > 0"), Outcome::Unknown(Why::TooLarge));
}

#[test]
fn a_fault_tells_its_place_and_what_to_write() {
    let near = "13..36 there is no fact inventroy.missing_units here; did you mean inventory.missing_units?";
    assert_eq!(refused("has(order.id)&inventroy.missing_units > 0"), "13..14 '&' means nothing here; write && for and");
    assert!(
        refused("has(order.id)||inventroy.missing_units > 0").starts_with("15..38 there is no fact inventroy"),
        "{near}"
    );
    assert_eq!(refused("order.tier > 'A'"), "0..10 a text has no order; compare it with == or !=");
    assert_eq!(
        refused("order.units == '7'"),
        "15..18 a whole number is compared with a text; both sides must be of one kind"
    );
    assert_eq!(refused("order.units"), "0..11 a condition must be yes or no, this is a whole number");
    assert!(refused("order == 1").contains("order has parts; name one of order.id"));
    assert!(refused("age_s('invoice') > 1").contains("age_s takes one of these in quotes"));
    assert!(refused("size(order.tier) > 1").contains("there is no function size; these are: minutes_until(time)"));
    assert!(refused("order.units / order.lines > 1").contains("divide only by a written number"));
    assert!(refused("(order.units > 1").contains("\")\" is missing"));
    assert!(refused("order.units > 1.5").contains("1 is not a whole number"));
    assert!(refused("gate.name == 'sla'").contains("there is no fact gate.name here"), "a gate knows of no gate");
    let two = refused("order.unit > 1 && order.tire == 'A'");
    assert_eq!(two.lines().count(), 2, "every wrong name is told at once: {two}");
}

#[test]
fn the_cost_of_a_condition_is_bounded() {
    let long = vec!["order.dangerous_goods"; 200].join(" && ");
    assert!(refused(&long).contains("bytes"));
    let many = vec!["1 == 1"; 100].join("&&");
    assert!(refused(&many).contains("more than 250 parts"));
    let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    assert!(refused(&deep).contains("nested deeper than 24"));
    assert!(refused(&"!".repeat(500)).contains("nested deeper than 24"));
}

/// A condition over facts of which some are not known, in the part of CEL that both programs read.
fn condition() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (0_i64..20).prop_map(|n| n.to_string()),
        Just("order.units".to_owned()),
        Just("order.lines".to_owned()),
        Just("cargo.staged_units".to_owned()),
    ];
    let number = number.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), prop_oneof![Just("+"), Just("-"), Just("*")], inner)
            .prop_map(|(a, s, b)| format!("({a} {s} {b})"))
    });
    let compared =
        (number.clone(), prop_oneof![Just("<"), Just("<="), Just("=="), Just("!="), Just(">")], number.clone())
            .prop_map(|(a, sign, b)| format!("{a} {sign} {b}"));
    let leaf = prop_oneof![
        compared,
        Just("order.dangerous_goods".to_owned()),
        Just("documents.complete".to_owned()),
        Just("credit.on_hold".to_owned()),
        Just("order.tier in ['A', 'B']".to_owned()),
        Just("order.tier == 'C'".to_owned()),
        (number.clone(), number).prop_map(|(n, m)| format!("{n} % 7 in [1, 2, {m}]")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(c, a, b)| format!("(({c}) ? ({a}) : ({b}))")),
        ]
    })
}

/// The same condition by the `cel` crate: facts that are not known are left out of its maps, so that naming one is an
/// error, and its errors are what is unknown here.
fn by_cel(text: &str) -> Option<bool> {
    let parsed = cel::parser::PrattParser::new().parse(text).unwrap_or_else(|e| panic!("cel reads {text}: {e}"));
    let mut context = cel::Context::default();
    let mut families: BTreeMap<&str, std::collections::HashMap<String, cel::Value>> =
        ["order", "documents", "credit", "cargo"].into_iter().map(|family| (family, Default::default())).collect();
    for (name, value) in known().0 {
        let (family, part) = name.split_once('.').unwrap();
        let value = match value {
            Value::Bool(b) => cel::Value::Bool(b),
            Value::Int(n) => cel::Value::Int(n),
            Value::Text(t) => cel::Value::String(std::sync::Arc::new(t)),
            Value::Time(_) => continue,
        };
        families.get_mut(family).unwrap().insert(part.to_owned(), value);
    }
    for (family, parts) in families {
        context.add_variable_from_value(family, parts);
    }
    match cel::Value::resolve(&parsed, &context) {
        Ok(cel::Value::Bool(b)) => Some(b),
        Ok(other) => panic!("{text} is {other:?} by cel"),
        Err(_) => None,
    }
}

fn as_option(outcome: Outcome) -> Option<bool> {
    match outcome {
        Outcome::True => Some(true),
        Outcome::False => Some(false),
        Outcome::Unknown(_) => None,
    }
}

proptest! {
    #[test]
    fn a_condition_means_here_what_it_means_to_another_reader_of_cel(text in condition()) {
        prop_assume!(text.len() <= TEXT_MAX_BYTES);
        let compiled = Program::compile(&text, Scope::Gate);
        prop_assume!(compiled.is_ok() || !compiled.as_ref().unwrap_err()[0].message.contains("more than"));
        let here = compiled.unwrap_or_else(|faults| panic!("{text}: {faults:?}")).evaluate(&known());
        prop_assert_eq!(as_option(here), by_cel(&text), "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_stumble(text in "[ a-z_.()!&|<>=0-9'\"?:,\\[\\]+*/%-]{0,80}") {
        if let Err(faults) = Program::compile(&text, Scope::Fallback) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.at.end <= text.len() && text.get(fault.at.clone()).is_some());
            }
        }
    }
}

#[test]
fn the_comparison_with_another_reader_sees_a_difference() {
    // Control: were `&&` read as `||`, the two would differ here.
    assert_ne!(
        as_option(of("order.dangerous_goods || documents.complete")),
        by_cel("order.dangerous_goods && documents.complete")
    );
}
