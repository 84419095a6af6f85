//! True, false or unknown. Never fails: what was checked has types that fit.

use super::check::Typed;
use crate::time::UtcMs;

/// What a fact is, or a part of a condition comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// A moment.
    Time(UtcMs),
}

/// Why something is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No fact has come in.
    Missing,
    /// The newest fact is older than its limit.
    Stale,
    /// A number is beyond what can be reckoned with.
    TooLarge,
}

/// What a condition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be known.
    Unknown(Why),
}

/// Where the facts of a condition come from.
pub trait Binding {
    /// The fact under `name`.
    /// # Errors
    /// [`Why`] it is not known.
    fn fact(&self, name: &'static str) -> Result<Value, Why>;
    /// Seconds since the facts of a kind were so; the oldest counts.
    /// # Errors
    /// [`Why`] it is not known.
    fn age_s(&self, family: &'static str) -> Result<i64, Why>;
    /// When it is asked.
    fn now(&self) -> UtcMs;
}

pub(super) fn truth(typed: &Typed, binding: &dyn Binding) -> Outcome {
    match value(typed, binding) {
        Ok(Value::Bool(true)) => Outcome::True,
        Ok(Value::Bool(false)) => Outcome::False,
        Ok(_) => Outcome::Unknown(Why::Missing),
        Err(why) => Outcome::Unknown(why),
    }
}

fn value(typed: &Typed, b: &dyn Binding) -> Result<Value, Why> {
    match typed {
        Typed::Literal(value) => Ok(value.clone()),
        Typed::Fact(name) => b.fact(name),
        Typed::Not(inner) => bool(inner, b).map(|v| Value::Bool(!v)),
        Typed::Minus(inner) => int(inner, b)?.checked_neg().map(Value::Int).ok_or(Why::TooLarge),
        Typed::And(l, r) => absorbing(l, r, b, false),
        Typed::Or(l, r) => absorbing(l, r, b, true),
        Typed::Compare(sign, l, r) => Ok(Value::Bool(compare(sign, &value(l, b)?, &value(r, b)?))),
        Typed::Reckon(sign, l, r) => reckon(sign, int(l, b)?, int(r, b)?).map(Value::Int).ok_or(Why::TooLarge),
        Typed::In(left, elements) => one_of(&value(left, b)?, elements, b),
        Typed::Choice(condition, yes, no) => value(if bool(condition, b)? { yes } else { no }, b),
        Typed::MinutesUntil(time) => minutes(time, b, 1),
        Typed::MinutesSince(time) => minutes(time, b, -1),
        Typed::AgeSeconds(family) => b.age_s(family).map(Value::Int),
        Typed::Has(name) => Ok(Value::Bool(b.fact(name).is_ok())),
        Typed::Match(how, target, sought) => {
            let (target, sought) = (text(target, b)?, text(sought, b)?);
            Ok(Value::Bool(match *how {
                "startsWith" => target.starts_with(&sought),
                "endsWith" => target.ends_with(&sought),
                _ => target.contains(&sought),
            }))
        }
    }
}

/// `&&` and `||`: one side that settles it settles it, whatever is unknown of the other.
fn absorbing(l: &Typed, r: &Typed, b: &dyn Binding, settles: bool) -> Result<Value, Why> {
    let left = bool(l, b);
    if left == Ok(settles) {
        return Ok(Value::Bool(settles));
    }
    match (left, bool(r, b)) {
        (_, Ok(right)) if right == settles => Ok(Value::Bool(settles)),
        (Ok(_), Ok(_)) => Ok(Value::Bool(!settles)),
        (Err(why), _) | (_, Err(why)) => Err(why),
    }
}

/// The whole list counts, as in CEL: an element that is not known makes it unknown.
fn one_of(left: &Value, elements: &[Typed], b: &dyn Binding) -> Result<Value, Why> {
    let elements: Vec<Value> = elements.iter().map(|element| value(element, b)).collect::<Result<_, _>>()?;
    Ok(Value::Bool(elements.contains(left)))
}

fn compare(sign: &str, left: &Value, right: &Value) -> bool {
    let order = match (left, right) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        // The checker lets nothing else through.
        _ => return sign == "!=",
    };
    match sign {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn reckon(sign: &str, a: i64, b: i64) -> Option<i64> {
    match sign {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

fn minutes(time: &Typed, b: &dyn Binding, sign: i64) -> Result<Value, Why> {
    match value(time, b)? {
        Value::Time(time) => Ok(Value::Int(sign * (time.since(b.now()) / 60_000))),
        _ => Err(Why::Missing),
    }
}

fn bool(typed: &Typed, b: &dyn Binding) -> Result<bool, Why> {
    match value(typed, b)? {
        Value::Bool(v) => Ok(v),
        _ => Err(Why::Missing),
    }
}

fn int(typed: &Typed, b: &dyn Binding) -> Result<i64, Why> {
    match value(typed, b)? {
        Value::Int(v) => Ok(v),
        _ => Err(Why::Missing),
    }
}

fn text(typed: &Typed, b: &dyn Binding) -> Result<String, Why> {
    match value(typed, b)? {
        Value::Text(v) => Ok(v),
        _ => Err(Why::Missing),
    }
}
