//! Who lifts which holds on a dispatch, and which of them only two people lift together.
//!
//! In: the holds that stand, what the asker may, and what another proposed. Out: the holds that are lifted at once and those
//! that wait for a second person, or why nothing is done. Never reads the clock, the network or the store.

use gatehouse_common::{
    dispatch::{HoldReason, view::Hold},
    document::EntryKey,
    id::{ActorName, DocumentId},
    time::UtcMs,
};
use serde::{Deserialize, Serialize};

/// A person wants holds lifted that one alone does not lift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftProposal {
    /// On which dispatch.
    pub dispatch: DocumentId,
    /// Which holds: those that stood then. One that was placed later is another matter.
    pub holds: Vec<EntryKey>,
    /// Who.
    pub by: ActorName,
    /// Why.
    pub reason: String,
    /// When.
    pub at: UtcMs,
}

impl LiftProposal {
    /// Those of its holds that still stand. Without any it is void.
    #[must_use]
    pub fn standing(&self, holds: &[Hold]) -> Vec<Hold> {
        holds.iter().filter(|hold| self.holds.contains(&hold.key)).cloned().collect()
    }
}

/// What follows from asking for a lift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifting {
    /// These are lifted.
    pub at_once: Vec<EntryKey>,
    /// These wait for a second person.
    pub by_two: Vec<EntryKey>,
}

/// Why nothing is lifted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiftError {
    /// There is none.
    #[error("no hold stands on this dispatch")]
    None,
    /// Gates are met, or overridden at the depot.
    #[error("this hold is for gates: it lifts by itself when they are met, or the depot overrides it")]
    Gates,
    /// Another role may.
    #[error("holds of this kind are not this role's to lift")]
    NotAllowed(HoldReason),
    /// Somebody proposed it before, and that must be answered first.
    #[error("{by} proposed at {at} to lift it; a second person confirms or refuses that first")]
    Waits {
        /// Who.
        by: ActorName,
        /// When.
        at: UtcMs,
    },
    /// Nothing waits for a second person.
    #[error("nobody proposed to lift a hold that stands there")]
    NothingProposed,
    /// The same person cannot be the second one.
    #[error("{0} proposed it; a second person is needed")]
    SamePerson(ActorName),
}

/// Whether a hold takes two people, or may be lifted by one: those that nobody at a depot may override, and those that rest
/// on a case of the worst severity. Credit is finance's own, who sees the account.
fn takes_two(hold: &Hold, is_grave: &impl Fn(&Hold) -> bool) -> bool {
    hold.reason.is_never_overridden() || (hold.reason != HoldReason::Credit && is_grave(hold))
}

/// What follows when somebody asks to lift what they may. `may` says which kinds of holds that is, `is_grave` whether a hold
/// rests on an open case of severity S1, `before` what stands proposed.
/// # Errors
/// [`LiftError`]; nothing is changed.
pub fn ask(
    holds: &[Hold],
    may: impl Fn(HoldReason) -> bool,
    is_grave: impl Fn(&Hold) -> bool,
    before: Option<&LiftProposal>,
) -> Result<Lifting, LiftError> {
    let first = holds.first().ok_or(LiftError::None)?;
    let lifted_by_people: Vec<&Hold> = holds.iter().filter(|hold| hold.reason != HoldReason::Gate).collect();
    let Some(other) = lifted_by_people.first() else { return Err(LiftError::Gates) };
    let mine: Vec<&Hold> = lifted_by_people.iter().copied().filter(|hold| may(hold.reason)).collect();
    if mine.is_empty() {
        let named = if first.reason == HoldReason::Gate { other.reason } else { first.reason };
        return Err(LiftError::NotAllowed(named));
    }
    let (two, one): (Vec<&Hold>, Vec<&Hold>) = mine.into_iter().partition(|hold| takes_two(hold, &is_grave));
    let keys = |holds: Vec<&Hold>| holds.into_iter().map(|hold| hold.key.clone()).collect::<Vec<_>>();
    let (at_once, mut by_two) = (keys(one), keys(two));
    if let Some(before) = before.filter(|before| !before.standing(holds).is_empty()) {
        if at_once.is_empty() {
            return Err(LiftError::Waits { by: before.by.clone(), at: before.at });
        }
        // One proposal at a time: what another named is not taken into a second one.
        by_two.clear();
    }
    Ok(Lifting { at_once, by_two })
}

/// The holds that are lifted when a second person agrees: those of the proposal that still stand.
/// # Errors
/// [`LiftError`]; nothing is changed.
pub fn confirm(
    proposal: Option<&LiftProposal>,
    holds: &[Hold],
    by: &ActorName,
    may: impl Fn(HoldReason) -> bool,
) -> Result<Vec<EntryKey>, LiftError> {
    let (proposal, standing) = answerable(proposal, holds, may)?;
    if proposal.by == *by {
        return Err(LiftError::SamePerson(by.clone()));
    }
    Ok(standing.into_iter().map(|hold| hold.key).collect())
}

/// Whether somebody may refuse what was proposed: a second person, or the first who takes it back.
/// # Errors
/// [`LiftError`]; nothing is changed.
pub fn refuse(
    proposal: Option<&LiftProposal>,
    holds: &[Hold],
    may: impl Fn(HoldReason) -> bool,
) -> Result<(), LiftError> {
    answerable(proposal, holds, may).map(|_| ())
}

fn answerable<'p>(
    proposal: Option<&'p LiftProposal>,
    holds: &[Hold],
    may: impl Fn(HoldReason) -> bool,
) -> Result<(&'p LiftProposal, Vec<Hold>), LiftError> {
    let proposal = proposal.ok_or(LiftError::NothingProposed)?;
    let standing = proposal.standing(holds);
    if standing.is_empty() {
        return Err(LiftError::NothingProposed);
    }
    match standing.iter().find(|hold| !may(hold.reason)) {
        Some(hold) => Err(LiftError::NotAllowed(hold.reason)),
        None => Ok((proposal, standing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(n: u32, reason: HoldReason) -> Hold {
        let key = EntryKey { actor: "site/D1/gw-1/1".parse().unwrap(), n };
        Hold { key, reason, why: "seal broken".into(), cases: Vec::new() }
    }

    fn keys(holds: &[Hold]) -> Vec<EntryKey> {
        holds.iter().map(|hold| hold.key.clone()).collect()
    }

    fn proposed(by: &str, holds: &[Hold]) -> LiftProposal {
        LiftProposal {
            dispatch: gatehouse_common::dispatch::document_id(&"SO-1".parse().unwrap(), &"D1".parse().unwrap(), 1),
            holds: keys(holds),
            by: by.parse().unwrap(),
            reason: "it was inspected".into(),
            at: UtcMs(5),
        }
    }

    fn sue() -> ActorName {
        "sue".parse().unwrap()
    }

    fn all(_: HoldReason) -> bool {
        true
    }

    fn no(_: &Hold) -> bool {
        false
    }

    #[test]
    fn quality_customs_and_what_rests_on_an_s1_take_two_people_and_nothing_else_does() {
        for reason in
            [HoldReason::Credit, HoldReason::Customer, HoldReason::Quality, HoldReason::Person, HoldReason::Customs]
        {
            for is_grave in [false, true] {
                let holds = [hold(1, reason)];
                let lifting = ask(&holds, all, |_| is_grave, None).unwrap();
                let two = matches!(reason, HoldReason::Quality | HoldReason::Customs)
                    || (is_grave && reason != HoldReason::Credit);
                assert_eq!(
                    (lifting.at_once.is_empty(), lifting.by_two.is_empty()),
                    (two, !two),
                    "{reason:?} {is_grave}"
                );
            }
        }
        assert_eq!(ask(&[hold(1, HoldReason::Gate)], all, no, None), Err(LiftError::Gates));
        assert_eq!(ask(&[], all, no, None), Err(LiftError::None));
    }

    #[test]
    fn one_lifts_what_one_may_and_the_rest_waits() {
        let holds = [hold(1, HoldReason::Gate), hold(2, HoldReason::Person), hold(3, HoldReason::Quality)];
        let lifting = ask(&holds, all, no, None).unwrap();
        assert_eq!((lifting.at_once, lifting.by_two), (keys(&holds[1..2]), keys(&holds[2..])));
        let not_credit = |reason| reason != HoldReason::Credit;
        assert_eq!(
            ask(&[hold(1, HoldReason::Credit)], not_credit, no, None),
            Err(LiftError::NotAllowed(HoldReason::Credit))
        );
    }

    #[test]
    fn a_proposal_is_answered_before_another_is_made_and_by_somebody_else() {
        let holds = [hold(1, HoldReason::Quality)];
        let first = proposed("otto", &holds);
        assert!(matches!(ask(&holds, all, no, Some(&first)), Err(LiftError::Waits { .. })));
        assert_eq!(confirm(Some(&first), &holds, &sue(), all), Ok(keys(&holds)));
        let own = proposed("sue", &holds);
        assert_eq!(confirm(Some(&own), &holds, &sue(), all), Err(LiftError::SamePerson(sue())));
        assert_eq!(refuse(Some(&own), &holds, all), Ok(()), "who proposed may take it back");
        assert_eq!(confirm(None, &holds, &sue(), all), Err(LiftError::NothingProposed));
        assert!(matches!(confirm(Some(&first), &holds, &sue(), |_| false), Err(LiftError::NotAllowed(_))));
        assert!(matches!(refuse(Some(&first), &holds, |_| false), Err(LiftError::NotAllowed(_))));
    }

    #[test]
    fn a_hold_that_was_placed_later_is_not_lifted_with_those_of_before() {
        let before = [hold(1, HoldReason::Quality)];
        let first = proposed("otto", &before);
        let now = [hold(1, HoldReason::Quality), hold(2, HoldReason::Quality)];
        assert_eq!(confirm(Some(&first), &now, &sue(), all), Ok(keys(&before)));
        // The first was lifted otherwise: the proposal is void, and a new one may be made.
        let later = &now[1..];
        assert_eq!(confirm(Some(&first), later, &sue(), all), Err(LiftError::NothingProposed));
        assert_eq!(ask(later, all, no, Some(&first)).unwrap().by_two, keys(later));
    }
}
