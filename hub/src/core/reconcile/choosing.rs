//! What a person may choose for a difference, and when a second person must agree.
//!
//! In: an item, who wants what, the policy. Out: the item with the choice written down, or why it was not. What follows
//! from a choice is [`super::settle()`]'s. Never reads the clock, the network or the store.

use gatehouse_common::{
    case::Severity,
    id::{ActorName, DecisionId},
    time::UtcMs,
};
use serde::{Deserialize, Serialize};

use super::{Family, ReconItem};

/// What a person may choose for goods that left although the ERP wanted it otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// What happened stands: the customer keeps the goods, the warehouse counts again, the carrier is paid. Where the
    /// order says otherwise, it is brought in line.
    Accept,
    /// The goods, or the surplus, come back.
    Return,
    /// The goods go to another place.
    Divert,
    /// A credit note is proposed to the ERP.
    Credit,
    /// Nothing is settled here: it is left to those who work on the case.
    Escalate,
}

impl Choice {
    /// Every choice.
    pub const ALL: [Self; 5] = [Self::Accept, Self::Return, Self::Divert, Self::Credit, Self::Escalate];

    /// The word for it on pages and in requests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Return => "return",
            Self::Divert => "divert",
            Self::Credit => "credit",
            Self::Escalate => "escalate",
        }
    }
}

/// A choice that a person made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Which.
    pub choice: Choice,
    /// For which row of the table of concurrent pairs: it says nothing about another.
    pub row: Option<u8>,
    /// For which family, since some rows have several; unknown for choices of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Who.
    pub by: ActorName,
    /// Why.
    pub reason: String,
    /// When.
    pub at: UtcMs,
    /// Who confirmed it, where policy asks for two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<ActorName>,
}

impl Chosen {
    /// Whether it was made for what the item is about now.
    #[must_use]
    pub fn is_for(&self, item: &ReconItem) -> bool {
        self.row == item.row && self.family.is_none_or(|family| family == item.family)
    }

    /// Who chose, for people: both names where there were two.
    #[must_use]
    pub fn by_whom(&self) -> String {
        self.second.as_ref().map_or_else(|| self.by.to_string(), |second| format!("{} and {second}", self.by))
    }
}

/// What is settled without a person, what needs two, and when cases close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconPolicy {
    /// A choice about more than this, in minor units of the order's currency, needs a second person.
    pub two_people_above_minor: i64,
    /// A price that rose by no more than this while goods were on their way stands without a person, in percent.
    pub price_tolerance_percent: u8,
    /// A resolved case closes by itself once nothing was said in it for so many milliseconds by the hub's clock, and no
    /// recon item of its order is open. By default 24 hours.
    pub close_after_ms: i64,
}

impl Default for ReconPolicy {
    fn default() -> Self {
        Self { two_people_above_minor: 1_000_000, price_tolerance_percent: 2, close_after_ms: 24 * 3_600_000 }
    }
}

/// What became of a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// It is chosen, and what follows is done.
    Chosen,
    /// It waits for a second person.
    Proposed,
    /// The proposal is gone; it can be chosen anew.
    Refused,
}

/// Why a person's word was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// There is no item of this decision.
    #[error("no recon item of decision {0}")]
    Unknown(DecisionId),
    /// The item is settled.
    #[error("it is settled already: {0}")]
    Settled(&'static str),
    /// Someone chose before.
    #[error("the choice was made already: {0}")]
    Made(String),
    /// Someone proposed before, and that must be answered first.
    #[error("{0}; a second person confirms or refuses that first")]
    Waits(String),
    /// Nothing is proposed.
    #[error("nothing is proposed there")]
    NothingProposed,
    /// The same person cannot be the second one.
    #[error("{0} proposed it; a second person is needed")]
    SamePerson(ActorName),
    /// Nothing, or not this, is to be chosen there.
    #[error("{} cannot be chosen now; what can be: {offered}", .choice.as_str())]
    NotOffered {
        /// What was asked for.
        choice: Choice,
        /// What could be chosen, in words.
        offered: String,
    },
}

/// Whether a choice about the item needs two people: it is about much, or its case is of the worst severity.
#[must_use]
pub fn needs_two(item: &ReconItem, severity: Option<Severity>, policy: &ReconPolicy) -> bool {
    item.value_minor > policy.two_people_above_minor || severity == Some(Severity::S1)
}

/// Writes a person's choice down: chosen, or proposed where two are needed. `severity` is that of the item's case.
/// # Errors
/// [`ChoiceError`]; the item stays as it was.
pub fn choose(
    item: &mut ReconItem,
    choice: Choice,
    by: ActorName,
    reason: String,
    severity: Option<Severity>,
    policy: &ReconPolicy,
    now: UtcMs,
) -> Result<Took, ChoiceError> {
    is_open(item)?;
    if let Some(first) = &item.proposed {
        return Err(ChoiceError::Waits(proposed(first)));
    }
    if !item.choices.contains(&choice) {
        let offered: Vec<&str> = item.choices.iter().map(|choice| choice.as_str()).collect();
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        return Err(ChoiceError::NotOffered { choice, offered });
    }
    let chosen = Chosen { choice, row: item.row, family: Some(item.family), by, reason, at: now, second: None };
    if needs_two(item, severity, policy) {
        item.proposed = Some(chosen);
        return Ok(Took::Proposed);
    }
    item.chosen = Some(chosen);
    item.choices.clear();
    Ok(Took::Chosen)
}

/// A second person confirms what a first one proposed.
/// # Errors
/// [`ChoiceError`]; the item stays as it was.
pub fn confirm(item: &mut ReconItem, by: &ActorName, now: UtcMs) -> Result<Took, ChoiceError> {
    is_open(item)?;
    let Some(first) = &item.proposed else { return Err(ChoiceError::NothingProposed) };
    if first.by == *by {
        return Err(ChoiceError::SamePerson(by.clone()));
    }
    item.chosen = Some(Chosen { second: Some(by.clone()), at: now, ..first.clone() });
    item.proposed = None;
    item.choices.clear();
    Ok(Took::Chosen)
}

/// Someone refuses what was proposed: a second person, or the first who takes it back.
/// # Errors
/// [`ChoiceError`]; the item stays as it was.
pub fn refuse(item: &mut ReconItem) -> Result<Took, ChoiceError> {
    is_open(item)?;
    item.proposed.take().map(|_| Took::Refused).ok_or(ChoiceError::NothingProposed)
}

fn is_open(item: &ReconItem) -> Result<(), ChoiceError> {
    if let Some(outcome) = &item.outcome {
        return Err(ChoiceError::Settled(outcome.as_str()));
    }
    match &item.chosen {
        Some(chosen) if chosen.is_for(item) => {
            let made = format!("{} chose {} at {}", chosen.by_whom(), chosen.choice.as_str(), chosen.at);
            Err(ChoiceError::Made(made))
        }
        _ => Ok(()),
    }
}

/// A proposal, for people.
fn proposed(first: &Chosen) -> String {
    format!("{} proposed {} at {}", first.by, first.choice.as_str(), first.at)
}
