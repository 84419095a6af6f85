//! Who may speak: people with a PIN, programs with a token.

use std::{collections::BTreeSet, fmt};

use gatehouse_common::id::{ActorName, Hash32, SiteId};
use serde::Deserialize;

use super::read::{Problem, Section};
use crate::auth::{Role, pins};

/// `[[operators]]`
#[derive(Clone)]
pub struct Operator {
    /// `name`: the login.
    pub name: ActorName,
    /// `role`: `dispatch`, `warehouse`, `finance`, `customer_service`, `carrier_management`, `supervisor` or `admin`.
    pub role: Role,
    /// `pin_argon2`: what `gatehouse-hub hash-pin` prints. A PIN itself is never written down.
    pub pin_argon2: String,
    /// `sites`: the depots that this person sees and acts for. Empty, the default: all.
    pub sites: BTreeSet<SiteId>,
}

impl fmt::Debug for Operator {
    // The hash of a short PIN is nearly the PIN, so it stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operator({} as {})", self.name, self.role.as_str())
    }
}

/// How much a program may send in a minute where nothing else is said.
pub const EVENTS_PER_MINUTE: u32 = 6_000;

/// `[[tokens]]`
#[derive(Clone)]
pub struct Token {
    /// `name`: how the program is called in the audit.
    pub name: ActorName,
    /// `sha256`: hex SHA-256 of the token. The token itself stays with its program.
    pub sha256: Hash32,
    /// `scopes`: what it may do.
    pub scopes: BTreeSet<TokenScope>,
    /// `events_per_minute`: how many events, positions and files it may send, 1 to 1000000. Default 6000.
    pub per_minute: u32,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} for {:?})", self.name, self.scopes)
    }
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TokenScope {
    /// `events:wms`: send events about inventory.
    #[serde(rename = "events:wms")]
    EventsWms,
    /// `events:tms`: send events about capacity and carriers.
    #[serde(rename = "events:tms")]
    EventsTms,
    /// `positions`: tell where vehicles without an agent are.
    #[serde(rename = "positions")]
    Positions,
    /// `edi`: leave files of the partner that has the token's name.
    #[serde(rename = "edi")]
    Edi,
    /// `read`: read everything under `/v1`.
    #[serde(rename = "read")]
    Read,
}

impl Operator {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const HASH: &str = "copy what `gatehouse-hub hash-pin` prints";
        const ROLE: &str =
            "give dispatch, warehouse, finance, customer_service, carrier_management, supervisor or admin";
        let name: Option<ActorName> = section.required("name", "give the login, such as \"ana\"", problems);
        let role = section.required("role", ROLE, problems);
        let pin_argon2: Option<String> = section.required("pin_argon2", HASH, problems);
        let sites = section.optional("sites", "list depots, such as [\"D1\"], or leave it out", problems);
        section.finish(problems);
        if let Some(name) = &name
            && name.as_str().contains(':')
        {
            // HTTP basic authentication ends the name at the first colon.
            problems.push(section.problem("name", "contains a colon", "choose a name without one"));
        }
        let pin_argon2 = pin_argon2?;
        if !pins::is_hash(&pin_argon2) {
            problems.push(section.problem("pin_argon2", "is not an argon2 hash", HASH));
            return None;
        }
        Some(Self { name: name?, role: role?, pin_argon2, sites: sites.unwrap_or_default() })
    }
}

impl Token {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const SHA256: &str = "give what `printf %s TOKEN | sha256sum` prints: 64 hexadecimal digits";
        let name = section.required("name", "give the program's name, such as \"wms\"", problems);
        let sha256: Option<Hash32> = section.required("sha256", SHA256, problems);
        let scopes: Option<BTreeSet<TokenScope>> = section.required(
            "scopes",
            "list some of \"events:wms\", \"events:tms\", \"positions\", \"edi\" and \"read\"",
            problems,
        );
        const RATE: &str = "give a number from 1 to 1000000";
        let per_minute: u32 = section.optional("events_per_minute", RATE, problems).unwrap_or(EVENTS_PER_MINUTE);
        if !(1..=1_000_000).contains(&per_minute) {
            problems.push(section.problem("events_per_minute", format!("is {per_minute}"), RATE));
        }
        section.finish(problems);
        if scopes.as_ref().is_some_and(BTreeSet::is_empty) {
            problems.push(section.problem(
                "scopes",
                "is empty, so the token is good for nothing",
                "list some, or remove it",
            ));
        }
        Some(Self { name: name?, sha256: sha256?, scopes: scopes?, per_minute })
    }
}

/// Tells names and tokens that occur twice.
pub(super) fn refuse_twins<'a>(
    operators: impl Iterator<Item = &'a Operator>,
    tokens: impl Iterator<Item = &'a Token>,
    problems: &mut Vec<Problem>,
) {
    let mut names = BTreeSet::new();
    for operator in operators {
        if !names.insert(&operator.name) {
            let what = format!("{} is listed twice", operator.name);
            problems.push(Problem::new("operators", what, "give each person a name of their own"));
        }
    }
    let mut hashes = BTreeSet::new();
    for token in tokens {
        // The audit tells people and programs apart by nothing but their name.
        if !names.insert(&token.name) {
            let what = format!("{} is listed twice, here or as an operator", token.name);
            problems.push(Problem::new("tokens", what, "give each program a name of its own"));
        }
        if !hashes.insert(token.sha256) {
            let what = format!("{} has the token of another", token.name);
            problems.push(Problem::new("tokens", what, "give each program a token of its own"));
        }
    }
}
