//! What a person chose for goods that left although the ERP wanted it otherwise.

use gatehouse_common::{
    id::{ActorName, DecisionId},
    time::UtcMs,
};

use crate::{
    core::reconcile::{Choice, Chosen, ReconItem},
    store::{StoreError, Tx},
};

/// Why a choice was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// There is no item of this decision.
    #[error("no recon item of decision {0}")]
    Unknown(DecisionId),
    /// Nothing, or not this, is to be chosen there.
    #[error("{} cannot be chosen for decision {decision}; offered: {offered}", .choice.as_str())]
    NotOffered {
        /// The item.
        decision: DecisionId,
        /// What was asked for.
        choice: Choice,
        /// What could be chosen, in words.
        offered: String,
    },
}

/// Writes down a person's choice; the reconciler does what follows from it.
/// # Errors
/// The inner error says why it was not taken; [`StoreError`] if the store could not.
pub fn choose(
    tx: &mut Tx<'_>,
    decision: &DecisionId,
    choice: Choice,
    by: ActorName,
    reason: String,
    now: UtcMs,
) -> Result<Result<ReconItem, ChoiceError>, StoreError> {
    let Some(mut item) = tx.recon_item(decision)? else { return Ok(Err(ChoiceError::Unknown(decision.clone()))) };
    if !item.choices.contains(&choice) {
        let offered: Vec<&str> = item.choices.iter().map(|c| c.as_str()).collect();
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        return Ok(Err(ChoiceError::NotOffered { decision: decision.clone(), choice, offered }));
    }
    item.chosen = Some(Chosen { choice, row: item.row, by, reason, at: now });
    item.choices.clear();
    tx.put_recon_item(&item)?;
    Ok(Ok(item))
}
