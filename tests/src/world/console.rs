//! People at the hub's console: what they choose for items, and what they do about postings that were parked.

use gatehouse_common::{
    dispatch::{HoldReason, Says},
    document::EntryKey,
    id::{ActorName, DocumentId},
    sync::Lane,
    time::UtcMs,
};
use gatehouse_hub::{
    core::reconcile::{Choice, Took},
    reconciler::{self, Word},
    store::{DocumentSays, ReconFilter, StoreError, Tx},
};

use super::hub::{Hub, policy};

impl Hub {
    /// A person has every parked posting sent again.
    /// # Errors
    /// [`StoreError`].
    pub fn replays(&self) -> Result<(), StoreError> {
        self.with_parked(|tx, key, now| tx.replay(key, now))
    }

    /// A person has booked every parked posting at the ERP.
    /// # Errors
    /// [`StoreError`].
    pub fn books_by_hand(&self) -> Result<(), StoreError> {
        self.with_parked(|tx, key, now| tx.book_by_hand(key, "by hand", now))
    }

    /// People lift everything that holds a dispatch and that is theirs to lift. Returns how many holds that were.
    /// # Errors
    /// [`StoreError`].
    pub fn people_lift(&self, dispatch: DocumentId) -> Result<usize, StoreError> {
        let Some(running) = &self.running else { return Ok(0) };
        let now = self.clock.wall();
        running.store.write_now(move |tx| {
            let view = tx.dispatch_view(&dispatch)?;
            let holds = view.iter().flat_map(|view| &view.holds).filter(|hold| hold.reason != HoldReason::Gate);
            let holds: Vec<EntryKey> = holds.map(|hold| hold.key.clone()).collect();
            let (lifted, why) = (holds.len(), "looked at, and it may go".to_owned());
            let says = DocumentSays::Dispatch(vec![Says::Lifted { holds, why }]);
            tx.write_entries(&dispatch, says, "sue", Lane::Documents, now)?;
            Ok(lifted)
        })
    }

    fn with_parked(
        &self,
        does: impl Fn(&mut Tx<'_>, &str, UtcMs) -> Result<(), StoreError> + Copy + Send + 'static,
    ) -> Result<(), StoreError> {
        let Some(running) = &self.running else { return Ok(()) };
        let now = self.clock.wall();
        for parked in running.store.read_now(|r| r.dead_letters())? {
            running.store.write_now(move |tx| does(tx, &parked.posting.key, now))?;
        }
        Ok(())
    }

    /// People at the console choose for every item that waits for a choice, as `wishes` says when it is given the
    /// choices. Returns how many.
    /// # Errors
    /// [`StoreError`].
    pub fn people_choose(&mut self, mut wishes: impl FnMut(&[Choice]) -> Option<Choice>) -> Result<usize, StoreError> {
        let Some(running) = &self.running else { return Ok(0) };
        let filter = ReconFilter { open: true, ..ReconFilter::default() };
        let items = running.store.read_now(|r| r.recon_items(&filter))?;
        let mut chosen = 0;
        for item in items.into_iter().filter(|item| !item.choices.is_empty()) {
            let Some(choice) = wishes(&item.choices) else { continue };
            let now = self.clock.wall();
            let taken = running.store.write_now(move |tx| {
                let mut says = |who: &str, word: &Word| {
                    let by = ActorName::new(who).expect("a name");
                    reconciler::say(tx, &item.decision, word, &by, "agreed with the customer", &policy(), now)
                };
                let first = says("finance", &Word::Choose(choice))?;
                Ok(match first {
                    // The worst cases and the dearest goods need two.
                    Ok((_, Took::Proposed)) => says("controller", &Word::Confirm)?,
                    first => first,
                })
            })?;
            chosen += usize::from(taken.is_ok());
        }
        Ok(chosen)
    }
}
