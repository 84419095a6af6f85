//! Lifts that wait for a second person.

use gatehouse_common::id::DocumentId;

use super::{Reader, StoreChange, StoreError, Tx, sql::params};
use crate::core::lifting::LiftProposal;

impl Reader<'_> {
    /// What was proposed for a dispatch and is not answered yet. Its holds may have been lifted otherwise since.
    /// # Errors
    /// [`StoreError`].
    pub fn lift_proposal(&self, dispatch: &DocumentId) -> Result<Option<LiftProposal>, StoreError> {
        let sql = "SELECT says FROM lift_proposals WHERE dispatch = ?1";
        self.sql.optional(sql, params![dispatch.to_string()], |r| {
            Ok::<_, StoreError>(serde_json::from_str(&r.get::<String>("says")?)?)
        })
    }
}

impl Tx<'_> {
    /// Keeps what was proposed for a dispatch, in place of what was before.
    /// # Errors
    /// [`StoreError`].
    pub fn put_lift_proposal(&mut self, proposal: &LiftProposal) -> Result<(), StoreError> {
        let (dispatch, says) = (proposal.dispatch.to_string(), serde_json::to_string(proposal)?);
        self.sql.execute(
            "INSERT INTO lift_proposals (dispatch, says) VALUES (?1, ?2)
             ON CONFLICT (dispatch) DO UPDATE SET says = ?2",
            params![dispatch, says],
        )?;
        self.changed(StoreChange::Dispatch(proposal.dispatch));
        Ok(())
    }

    /// What was proposed for a dispatch is answered, or void.
    /// # Errors
    /// [`StoreError`].
    pub fn drop_lift_proposal(&mut self, dispatch: &DocumentId) -> Result<(), StoreError> {
        let gone = self.sql.execute("DELETE FROM lift_proposals WHERE dispatch = ?1", params![dispatch.to_string()])?;
        if gone > 0 {
            self.changed(StoreChange::Dispatch(*dispatch));
        }
        Ok(())
    }
}
