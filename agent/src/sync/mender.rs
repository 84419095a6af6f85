//! When this device and the hub are made alike again, and where pulls stand meanwhile.
//!
//! In: what the pull brought, and that something was done. Out: what is due. That is when the ledger began another life,
//! when the feed begins anew, after a start that put changes aside as damaged, and every few hours to make sure; when
//! the hub has been started anew it is shown the newest page that is kept, which an older copy of its store cannot know.
//! It asks nobody: [`super::mending`] does, and the pretend world.

use gatehouse_common::{
    seal::Sealed,
    sync::{Comparison, Cursor, Downward, FeedItem, Lane, PageDigest, Pull},
    time::Moment,
};

use crate::store::{Reader, StoreError};

/// Between two checks that both are alike, in milliseconds of the clock.
pub const CHECK_EVERY_MS: u64 = 6 * 3_600_000;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// To show the hub its newest page.
    Proof,
    /// To compare everything; told whether the ledger began another life.
    Everything {
        /// Whether leases are told again.
        other_ledger: bool,
    },
    /// To compare the heads of everything: changes were put aside here as damaged, and may be at the hub.
    Lacks,
    /// To ask whether both are alike.
    Check,
}

/// Knows what is due. It keeps nothing over a restart: a comparison too many is harmless.
#[derive(Debug)]
pub struct Mender {
    /// In which run of the hub the newest page was sent that the hub is known to know.
    run: Option<u32>,
    proof: Option<Sealed>,
    other_ledger: bool,
    compared: bool,
    /// The hub was not asked yet for what was put aside here.
    lacks: bool,
    hub_can: bool,
    checked: Moment,
    /// From where documents are read beside a comparison: the feed's end before it began, and on from there.
    documents_from: Option<u64>,
    /// A comparison of everything has begun: what the feed's end is now says nothing of what it includes.
    begun: bool,
}

impl Mender {
    /// One that goes on from the newest page that is kept.
    #[must_use]
    pub fn resume(newest: Option<Sealed>, now: Moment) -> Self {
        Self {
            run: newest.as_ref().and_then(digest_of).map(|page| page.run),
            proof: None,
            other_ledger: false,
            compared: false,
            lacks: false,
            hub_can: true,
            checked: now,
            documents_from: None,
            begun: false,
        }
    }

    /// Changes were put aside here as damaged and are not whole again.
    pub fn lacks_changes(&mut self) {
        self.lacks = true;
    }

    /// A page came; call it before the page is committed. `newest` is the newest page that is kept until then.
    pub fn heard(&mut self, newest: Option<Sealed>, items: &[FeedItem]) {
        let told = items.iter().find_map(|item| match &item.says {
            Downward::Page(sealed) => digest_of(sealed),
            _ => None,
        });
        let Some(PageDigest { run, head, .. }) = told else { return };
        if self.run.is_some_and(|known| known != run) {
            // One that is not shown yet is older, and proves more.
            self.proof = self.proof.take().or(newest);
        }
        self.run = Some(run);
        if !self.begun {
            self.documents_from.get_or_insert(head);
        }
    }

    /// The feed begins anew; told whether the ledger began another life.
    pub fn begins_again(&mut self, other_ledger: bool) {
        self.compared = false;
        self.other_ledger |= other_ledger;
        (self.documents_from, self.begun) = (None, false);
    }

    /// Makes a pull one that goes on beside a comparison while everything is still to be compared; else leaves it as it is.
    ///
    /// Documents come with the comparison: of these only what is new is asked for. Orders are not asked for at all: a device
    /// that is new, was away for long, has a depot more or was restored would, without the dispatches of before, send goods
    /// once more that have left. The page is taken by [`Mender::stands`] and [`Mender::has_read`].
    pub fn asks_beside(&self, pull: &mut Pull) {
        // A hub that signs no page cannot compare either: then there is the feed alone.
        let Some(from) = self.documents_from.filter(|_| self.compares_all(&pull.cursor)) else { return };
        pull.cursor.pass(Lane::Orders, u64::MAX);
        pull.cursor.pass(Lane::Documents, from);
    }

    /// Where the device stands that stood at `before`, with a page that brought it to `came`; call it before
    /// [`Mender::heard`]. Beside a comparison it stays where it is in the lanes that wait for that: after a restart nothing
    /// else shows that everything is to be compared.
    #[must_use]
    pub fn stands(&self, before: &Cursor, mut came: Cursor) -> Cursor {
        if self.documents_from.is_some() && self.compares_all(before) {
            for lane in [Lane::Orders, Lane::Documents] {
                came.positions[lane.index()] = before.positions[lane.index()];
            }
        }
        came
    }

    /// A page that brought this device to `came` was taken.
    pub fn has_read(&mut self, came: &Cursor) {
        if let Some(from) = &mut self.documents_from {
            *from = (*from).max(came.positions[Lane::Documents.index()]);
        }
    }

    /// Through which position no document need be read from the feed, once everything was compared as of `head`.
    #[must_use]
    pub fn read_through(&self, head: u64) -> u64 {
        self.documents_from.map_or(head, |from| from.max(head))
    }

    fn compares_all(&self, held: &Cursor) -> bool {
        self.hub_can && !self.compared && (self.other_ledger || held.positions[Lane::Documents.index()] == 0)
    }

    /// The hub cannot do it: it is of an older version.
    pub fn hub_cannot(&mut self) {
        self.hub_can = false;
    }

    /// The hub may be another than it was: it may be one that can.
    pub fn line_lost(&mut self) {
        self.hub_can = true;
    }

    /// What is due now that recalls are known, with the feed's position in the lane of documents.
    #[must_use]
    pub fn due(&self, documents_at: u64, now: &Moment) -> Option<Due> {
        if !self.hub_can {
            return None;
        }
        if self.proof.is_some() {
            return Some(Due::Proof);
        }
        if !self.compared && (documents_at == 0 || self.other_ledger) {
            return Some(Due::Everything { other_ledger: self.other_ledger });
        }
        if self.lacks {
            return Some(Due::Lacks);
        }
        let since = now.since(&self.checked);
        since.is_none_or(|ms| ms >= CHECK_EVERY_MS).then_some(Due::Check)
    }

    /// The questions for what is due.
    /// # Errors
    /// What the store says.
    pub fn begin(&mut self, due: Due, reader: &Reader) -> Result<Comparison, StoreError> {
        self.begun |= matches!(due, Due::Everything { .. });
        Ok(match (due, &self.proof) {
            (Due::Proof, Some(page)) => Comparison::prove(page.clone(), reader.outbox_epoch()?, reader.outbox_taken()?),
            // Also where only the feed begins anew: a restart forgets which of the two it was.
            (Due::Everything { .. }, _) => Comparison::anew(reader.sealed_leases()?),
            // While a part is lacking both cannot be alike, and the hash over what is open may not show it.
            (Due::Check, _) if reader.put_aside()?.is_empty() => {
                let (documents, heads) = reader.digest()?;
                Comparison::check(documents, heads)
            }
            _ => Comparison::new(),
        })
    }

    /// It was done.
    pub fn done(&mut self, due: Due, now: &Moment) {
        match due {
            Due::Proof => self.proof = None,
            Due::Everything { .. } => {
                (self.compared, self.other_ledger) = (true, false);
                (self.documents_from, self.begun) = (None, false);
                (self.lacks, self.checked) = (false, now.clone());
            }
            Due::Lacks | Due::Check => (self.lacks, self.checked) = (false, now.clone()),
        }
    }
}

fn digest_of(sealed: &Sealed) -> Option<PageDigest> {
    sealed.peek::<PageDigest>().ok()
}

#[cfg(test)]
mod tests {
    use gatehouse_common::time::{BootId, UtcMs};

    use super::*;

    fn at(boottime_ms: u64) -> Moment {
        let boot = BootId("boot".into());
        Moment { wall: UtcMs(0), uncertainty_ms: 0, boot, boottime_ms, trusted: true }
    }

    #[test]
    fn what_was_put_aside_is_asked_for_at_once_and_once() {
        let mut mender = Mender::resume(None, at(0));
        assert_eq!(mender.due(5, &at(1)), None);
        mender.lacks_changes();
        assert_eq!(mender.due(0, &at(1)), Some(Due::Everything { other_ledger: false }), "which finds it as well");
        assert_eq!(mender.due(5, &at(1)), Some(Due::Lacks));
        mender.done(Due::Lacks, &at(1));
        assert_eq!(mender.due(5, &at(2)), None);
        assert_eq!(mender.due(5, &at(1 + CHECK_EVERY_MS)), Some(Due::Check));
    }
}
