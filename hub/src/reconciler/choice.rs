//! What a person chose for goods that left although the ERP wanted it otherwise.

use gatehouse_common::{
    case::{Says, Severity},
    id::{ActorName, DecisionId},
    sync::Lane,
    time::UtcMs,
};

use crate::{
    core::reconcile::{
        Choice, ChoiceError, ReconItem, ReconPolicy, Took,
        choosing::{self, needs_two},
    },
    store::{DocumentSays, Reader, StoreError, Tx},
};

/// What a person says of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It shall be settled so.
    Choose(Choice),
    /// What another proposed shall be done.
    Confirm,
    /// What was proposed shall not be done.
    Refuse,
}

/// Writes down what a person says of an item, and in the item's case; the reconciler does what follows from it. Where the
/// policy asks for two people a first choice is only proposed.
/// # Errors
/// The inner error says why it was not taken; [`StoreError`] if the store could not.
pub fn say(
    tx: &mut Tx<'_>,
    decision: &DecisionId,
    word: &Word,
    by: &ActorName,
    reason: &str,
    policy: &ReconPolicy,
    now: UtcMs,
) -> Result<Result<(ReconItem, Took), ChoiceError>, StoreError> {
    let Some(mut item) = tx.recon_item(decision)? else { return Ok(Err(ChoiceError::Unknown(decision.clone()))) };
    let severity = severity_of(tx, &item)?;
    let was = item.proposed.clone();
    let took = match word {
        Word::Choose(choice) => {
            choosing::choose(&mut item, *choice, by.clone(), reason.to_owned(), severity, policy, now)
        }
        Word::Confirm => choosing::confirm(&mut item, by, now),
        Word::Refuse => choosing::refuse(&mut item),
    };
    let took = match took {
        Ok(took) => took,
        Err(why) => return Ok(Err(why)),
    };
    tx.put_recon_item(&item)?;
    let said = item.chosen.as_ref().filter(|_| took == Took::Chosen).or(item.proposed.as_ref()).or(was.as_ref());
    if let (Some(case), Some(said)) = (item.case, said)
        && tx.case_view(&case)?.is_some_and(|view| !view.state.is_over())
    {
        let outcome = match took {
            Took::Chosen => format!("chosen by {}: {}", said.by_whom(), said.reason),
            Took::Proposed => format!("proposed by {}, a second person must confirm it: {reason}", said.by),
            Took::Refused => format!("proposed by {}, refused by {by}: {reason}", said.by),
        };
        // With this the depot's copy of the case says it too.
        let action = format!("reconciliation: {}", said.choice.as_str());
        let says = DocumentSays::Case(vec![Says::Acted { action, outcome }]);
        tx.write_entries(&case, says, by.as_str(), Lane::Documents, now)?;
    }
    Ok(Ok((item, took)))
}

/// Whether a choice about an item needs two people.
/// # Errors
/// [`StoreError`] if its case cannot be read.
pub fn two_needed(reader: &Reader<'_>, item: &ReconItem, policy: &ReconPolicy) -> Result<bool, StoreError> {
    Ok(needs_two(item, severity_of(reader, item)?, policy))
}

fn severity_of(reader: &Reader<'_>, item: &ReconItem) -> Result<Option<Severity>, StoreError> {
    let Some(case) = item.case else { return Ok(None) };
    Ok(reader.case_view(&case)?.map(|view| view.severity))
}
