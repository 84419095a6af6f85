//! People at the hub's console: what they choose for items, and what they do about postings that were parked.

use gatehouse_common::{
    decision::Mode,
    dispatch::{DispatchView, HoldReason, Says},
    document::EntryKey,
    id::{ActorName, DecisionId, DeviceId, DocumentId},
    sync::Lane,
    time::UtcMs,
};
use gatehouse_hub::{
    core::reconcile::{Choice, Took},
    reconciler::{self, Word},
    store::{DocumentSays, ReconFilter, StoreError, Tx},
};

use super::{
    World,
    bugs::Bug,
    depot::open_outside,
    hub::{Hub, policy},
};

impl World {
    /// What a wrong hub does, once: it lets a dispatch go that it has cancelled, or that people hold.
    pub(super) fn releases_after_all(&mut self) {
        const DONE: &str = "dispatches let go after all";
        if self.bug != Bug::ReleasedAfterAll || self.book.befell.contains_key(DONE) || self.hub.running.is_none() {
            return;
        }
        let hub = open_outside(&self.hub.path);
        let mut dispatches = hub.prepare("SELECT document FROM documents WHERE kind = 'dispatch'").expect("documents");
        let dispatches = dispatches.query_map([], |row| row.get::<_, String>(0)).expect("documents can be read");
        for id in dispatches {
            let id: DocumentId = id.expect("a row can be read").parse().expect("a document has an id");
            let released = self.hub.releases_it(id);
            if self.must("letting go what is cancelled", released) == Some(true) {
                self.book.note(DONE);
                return;
            }
        }
    }
}

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

    /// Lets a dispatch go if it is cancelled or people hold it. Returns whether it was.
    fn releases_it(&self, dispatch: DocumentId) -> Result<bool, StoreError> {
        let Some(running) = &self.running else { return Ok(false) };
        let now = self.clock.wall();
        running.store.write_now(move |tx| {
            let is_stopped = |view: &DispatchView| {
                view.cancelled.is_some() || view.holds.iter().any(|hold| hold.reason != HoldReason::Gate)
            };
            let Some(view) = tx.dispatch_view(&dispatch)?.filter(is_stopped) else { return Ok(false) };
            let released = Says::Released {
                mode: Mode::Normal,
                decision: DecisionId::of(&DeviceId::new("hub").expect("a name"), 1, 1),
                order_version: view.order_version,
                load: view.load.clone(),
                overrides: Vec::new(),
            };
            tx.write_entries(&dispatch, DocumentSays::Dispatch(vec![released]), "sue", Lane::Documents, now)?;
            Ok(true)
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
