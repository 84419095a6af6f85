//! Names and types: what passes here can be evaluated without surprises.

use std::ops::Range;

use super::{
    Fault, Program,
    eval::Value,
    parser::{Kind, Node},
    schema::{FAMILIES, FUNCTIONS, Scope, Type},
};

/// A part of a condition whose types fit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Typed {
    Literal(Value),
    Fact(&'static str),
    Not(Box<Typed>),
    Minus(Box<Typed>),
    And(Box<Typed>, Box<Typed>),
    Or(Box<Typed>, Box<Typed>),
    Compare(&'static str, Box<Typed>, Box<Typed>),
    Reckon(&'static str, Box<Typed>, Box<Typed>),
    In(Box<Typed>, Vec<Typed>),
    Choice(Box<Typed>, Box<Typed>, Box<Typed>),
    MinutesUntil(Box<Typed>),
    MinutesSince(Box<Typed>),
    AgeSeconds(&'static str),
    Has(&'static str),
    Match(&'static str, Box<Typed>, Box<Typed>),
}

pub(super) fn check(node: &Node, scope: Scope) -> Result<Program, Vec<Fault>> {
    let mut checker = Checker { scope, faults: Vec::new(), names: Vec::new() };
    let checked = checker.is(node, Type::Bool, "a condition");
    match checked {
        Some(root) if checker.faults.is_empty() => Ok(Program { root, names: checker.names }),
        _ => Err(checker.faults),
    }
}

/// The nearest of `words` to `word`, if one is near enough to have been meant.
#[must_use]
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 6);
    words
        .map(|known| (distance(word, known), known))
        .filter(|(d, _)| *d <= allowed)
        .min_by_key(|(d, _)| *d)
        .map(|f| f.1)
}

/// Letters to change, add or leave out to come from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    // Long words are not compared in full: a text of a rule is bounded, a name that long is no slip.
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let kept = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

struct Checker {
    scope: Scope,
    faults: Vec<Fault>,
    names: Vec<&'static str>,
}

impl Checker {
    fn wrong<T>(&mut self, at: &Range<usize>, message: impl Into<String>) -> Option<T> {
        self.faults.push(Fault::new(at.clone(), message));
        None
    }

    /// The part if it has this type.
    fn is(&mut self, node: &Node, wanted: Type, whose: &str) -> Option<Typed> {
        let (typed, found) = self.any(node)?;
        if found == wanted {
            return Some(typed);
        }
        let (wanted, found) = (wanted.as_str(), found.as_str());
        self.wrong(&node.at, format!("{whose} must be {wanted}, this is {found}"))
    }

    fn any(&mut self, node: &Node) -> Option<(Typed, Type)> {
        match &node.kind {
            Kind::Bool(b) => Some((Typed::Literal(Value::Bool(*b)), Type::Bool)),
            Kind::Int(n) => Some((Typed::Literal(Value::Int(*n)), Type::Int)),
            Kind::Text(t) => Some((Typed::Literal(Value::Text(t.clone())), Type::Text)),
            Kind::Name(name) => self.fact(name, &node.at).map(|(name, is)| (Typed::Fact(name), is)),
            Kind::List(_) => self.wrong(&node.at, "a list may only stand after \"in\""),
            Kind::Unary("!", inner) => {
                let inner = self.is(inner, Type::Bool, "what follows !")?;
                Some((Typed::Not(Box::new(inner)), Type::Bool))
            }
            Kind::Unary(_, inner) => {
                let inner = self.is(inner, Type::Int, "what follows -")?;
                Some((Typed::Minus(Box::new(inner)), Type::Int))
            }
            Kind::Binary(sign, left, right) => self.binary(sign, left, right),
            Kind::Choice(condition, yes, no) => self.choice(condition, yes, no),
            Kind::Call(name, arguments) => self.call(name, arguments, &node.at),
            Kind::Method(target, name, arguments) => self.method(target, name, arguments, &node.at),
        }
    }

    fn fact(&mut self, name: &str, at: &Range<usize>) -> Option<(&'static str, Type)> {
        let scope = self.scope;
        if let Some(found) = scope.find(name) {
            if !self.names.contains(&found.name) {
                self.names.push(found.name);
            }
            return Some((found.name, found.is));
        }
        let inside: Vec<&str> = scope
            .names()
            .map(|n| n.name)
            .filter(|n| n.strip_prefix(name).is_some_and(|r| r.starts_with('.')))
            .collect();
        if !inside.is_empty() {
            return self.wrong(at, format!("{name} has parts; name one of {}", inside.join(", ")));
        }
        match nearest(name, scope.names().map(|n| n.name)) {
            Some(near) => self.wrong(at, format!("there is no fact {name} here; did you mean {near}?")),
            None => {
                let hint = "`gatehouse-agent rules schema` lists the facts; texts stand in quotes";
                self.wrong(at, format!("there is no fact {name} here; {hint}"))
            }
        }
    }

    fn binary(&mut self, sign: &'static str, left: &Node, right: &Node) -> Option<(Typed, Type)> {
        match sign {
            "&&" | "||" => {
                let whose = format!("each side of {sign}");
                let (l, r) = (self.is(left, Type::Bool, &whose), self.is(right, Type::Bool, &whose));
                let (l, r) = (Box::new(l?), Box::new(r?));
                Some((if sign == "&&" { Typed::And(l, r) } else { Typed::Or(l, r) }, Type::Bool))
            }
            "in" => self.one_of(left, right),
            "+" | "-" | "*" | "/" | "%" => {
                let whose = format!("each side of {sign}");
                let (l, r) = (self.is(left, Type::Int, &whose), self.is(right, Type::Int, &whose));
                let (l, r) = (Box::new(l?), Box::new(r?));
                if matches!(sign, "/" | "%") && !matches!(*r, Typed::Literal(Value::Int(n)) if n != 0) {
                    return self.wrong(&right.at, "divide only by a written number other than 0");
                }
                Some((Typed::Reckon(sign, l, r), Type::Int))
            }
            _ => {
                let (l, r) = (self.any(left), self.any(right));
                let ((l, a), (r, b)) = (l?, r?);
                if a != b {
                    let (a, b) = (a.as_str(), b.as_str());
                    return self.wrong(&right.at, format!("{a} is compared with {b}; both sides must be of one kind"));
                }
                if matches!(a, Type::Bool | Type::Text) && !matches!(sign, "==" | "!=") {
                    let is = a.as_str();
                    return self.wrong(&left.at, format!("{is} has no order; compare it with == or !="));
                }
                Some((Typed::Compare(sign, Box::new(l), Box::new(r)), Type::Bool))
            }
        }
    }

    fn one_of(&mut self, left: &Node, right: &Node) -> Option<(Typed, Type)> {
        let (l, is) = self.any(left)?;
        let Kind::List(elements) = &right.kind else {
            return self.wrong(&right.at, "after \"in\" stands a list such as ['A', 'B']");
        };
        let elements: Vec<Option<Typed>> =
            elements.iter().map(|element| self.is(element, is, "each element of the list")).collect();
        Some((Typed::In(Box::new(l), elements.into_iter().collect::<Option<_>>()?), Type::Bool))
    }

    fn choice(&mut self, condition: &Node, yes: &Node, no: &Node) -> Option<(Typed, Type)> {
        let condition = self.is(condition, Type::Bool, "what stands before ?");
        let (y, n) = (self.any(yes), self.any(no));
        let ((y, a), (n, b)) = (y?, n?);
        if a != b {
            return self.wrong(&no.at, format!("one branch is {}, the other {}", a.as_str(), b.as_str()));
        }
        Some((Typed::Choice(Box::new(condition?), Box::new(y), Box::new(n)), a))
    }

    fn call(&mut self, name: &str, arguments: &[Node], at: &Range<usize>) -> Option<(Typed, Type)> {
        let one = match arguments {
            [one] => one,
            _ if !matches!(name, "minutes_until" | "minutes_since" | "age_s" | "has") => {
                return self.unknown_function(name, at);
            }
            _ => return self.wrong(at, format!("{name} takes one argument")),
        };
        match name {
            "minutes_until" | "minutes_since" => {
                let time = Box::new(self.is(one, Type::Time, &format!("the argument of {name}"))?);
                let call = if name == "minutes_until" { Typed::MinutesUntil(time) } else { Typed::MinutesSince(time) };
                Some((call, Type::Int))
            }
            "age_s" => {
                let known = FAMILIES.iter().find(|f| matches!(&one.kind, Kind::Text(text) if text == *f));
                match known {
                    Some(family) => Some((Typed::AgeSeconds(family), Type::Int)),
                    None => {
                        let all = FAMILIES.join(", ");
                        self.wrong(&one.at, format!("age_s takes one of these in quotes: {all}"))
                    }
                }
            }
            "has" => {
                let Kind::Name(fact) = &one.kind else { return self.wrong(&one.at, "has takes the name of a fact") };
                let (fact, _) = self.fact(fact, &one.at)?;
                Some((Typed::Has(fact), Type::Bool))
            }
            _ => self.unknown_function(name, at),
        }
    }

    fn method(&mut self, target: &Node, name: &str, arguments: &[Node], at: &Range<usize>) -> Option<(Typed, Type)> {
        let Some(known) = ["startsWith", "endsWith", "contains"].into_iter().find(|known| *known == name) else {
            return self.unknown_function(name, at);
        };
        let [one] = arguments else { return self.wrong(at, format!("{name} takes one argument")) };
        let (target, one) =
            (self.is(target, Type::Text, "what is searched"), self.is(one, Type::Text, "what is sought"));
        Some((Typed::Match(known, Box::new(target?), Box::new(one?)), Type::Bool))
    }

    fn unknown_function<T>(&mut self, name: &str, at: &Range<usize>) -> Option<T> {
        let all = FUNCTIONS.map(|(form, _)| form).join(", ");
        self.wrong(at, format!("there is no function {name}; these are: {all}"))
    }
}
