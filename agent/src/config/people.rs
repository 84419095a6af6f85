//! Who may write on the page.

use std::collections::BTreeSet;

use argon2::PasswordHash;
use gatehouse_common::id::ActorName;

use super::read::{Problem, Section};

/// `[[operators]]`
#[derive(Clone)]
pub struct Operator {
    /// `name`: the login.
    pub name: ActorName,
    /// `role`: such as `supervisor` or `dispatch`; the bundle says which roles may override.
    pub role: String,
    /// `pin_argon2`: what `gatehouse-agent hash-pin` prints. A PIN itself is never written down.
    pub pin_argon2: String,
}

impl std::fmt::Debug for Operator {
    // The hash of a short PIN is nearly the PIN, so it stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operator({} as {})", self.name, self.role)
    }
}

impl Operator {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const HASH: &str = "copy what `gatehouse-agent hash-pin` prints";
        let name = section.required("name", "give the login, such as \"ana\"", problems);
        let role: Option<String> = section.required("role", "give the role, such as \"supervisor\"", problems);
        let pin_argon2: Option<String> = section.required("pin_argon2", HASH, problems);
        section.finish(problems);
        let pin_argon2 = pin_argon2?;
        let is_argon2 = PasswordHash::new(&pin_argon2).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"));
        if !is_argon2 {
            problems.push(section.problem("pin_argon2", "is not an argon2 hash", HASH));
            return None;
        }
        let name: ActorName = name?;
        if name.as_str().contains(':') {
            // HTTP basic authentication ends the name at the first colon.
            problems.push(section.problem("name", "contains a colon", "choose a name without one"));
            return None;
        }
        Some(Self { name, role: role?, pin_argon2 })
    }
}

/// Tells names that occur twice.
pub(super) fn refuse_twins<'a>(operators: impl Iterator<Item = &'a Operator>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for operator in operators {
        if !seen.insert(&operator.name) {
            problems.push(Problem::new(
                "operators",
                format!("{} is listed twice", operator.name),
                "give each person a name of their own",
            ));
        }
    }
}
