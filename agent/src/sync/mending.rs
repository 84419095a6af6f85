//! When this device and the hub are made alike again, and that it is done.
//!
//! In: what the pull brought. Out: questions of a [`Comparison`], asked between two pulls, and the inputs that follow.
//! Due when the ledger began another life, when the feed begins anew, and every few hours to make sure; when the hub
//! has been started anew it is shown the newest page that is kept, which an older copy of its store cannot know.

use gatehouse_common::{
    seal::Sealed,
    sync::{Comparison, Downward, FeedItem, Lane, PageDigest, Repaired, exchange::REPAIR_PATH, repair::Step},
    time::Moment,
};
use tracing::{info, warn};

use super::{
    client::{Looks, Sync},
    failure::ExchangeError,
};
use crate::{
    core::input::Input,
    store::{Reader, StoreError},
    tasks::TaskError,
};

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
    hub_can: bool,
    checked: Moment,
}

impl Mender {
    /// One that goes on from the newest page that is kept.
    #[must_use]
    pub fn resume(newest: Option<Sealed>, now: Moment) -> Self {
        let run = newest.as_ref().and_then(run_of);
        Self { run, proof: None, other_ledger: false, compared: false, hub_can: true, checked: now }
    }

    /// A page came; call it before the page is committed. `newest` is the newest page that is kept until then.
    pub fn heard(&mut self, newest: Option<Sealed>, items: &[FeedItem]) {
        let told = items.iter().find_map(|item| match &item.says {
            Downward::Page(sealed) => run_of(sealed),
            _ => None,
        });
        let Some(told) = told else { return };
        if self.run.is_some_and(|known| known != told) {
            self.proof = newest;
        }
        self.run = Some(told);
    }

    /// The feed begins anew; in another life of the ledger, or in the same.
    pub fn begins_again(&mut self, other_ledger: bool) {
        self.compared = false;
        self.other_ledger |= other_ledger;
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
        let since = now.since(&self.checked);
        since.is_none_or(|ms| ms >= CHECK_EVERY_MS).then_some(Due::Check)
    }

    /// The questions for what is due.
    /// # Errors
    /// What the store says.
    pub fn begin(&self, due: Due, reader: &Reader) -> Result<Comparison, StoreError> {
        Ok(match (due, &self.proof) {
            (Due::Proof, Some(page)) => Comparison::prove(page.clone(), reader.outbox_epoch()?, reader.outbox_taken()?),
            // Also where only the feed begins anew: a restart forgets which of the two it was.
            (Due::Everything { .. }, _) => Comparison::anew(reader.sealed_leases()?),
            (Due::Check, _) => {
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
                self.checked = now.clone();
            }
            Due::Check => self.checked = now.clone(),
        }
    }
}

fn run_of(sealed: &Sealed) -> Option<u32> {
    sealed.peek::<PageDigest>().ok().map(|digest| digest.run)
}

impl Sync {
    /// Makes both alike as far as that is due. The hub's answers become inputs.
    ///
    /// Nothing is pulled before all of it is done: a feed that has passed its first document no longer shows, after a
    /// restart, that everything was to be compared.
    pub(super) async fn mend_if_due(
        &self,
        mender: &mut Mender,
        store: &Looks,
    ) -> Result<Result<(), ExchangeError>, TaskError> {
        loop {
            let (recalls_known, cursor) = {
                let session = self.session();
                (session.recalls_known(), session.cursor())
            };
            let documents_at = cursor.positions[Lane::Documents.index()];
            if !recalls_known {
                return Ok(Ok(()));
            }
            let Some(due) = mender.due(documents_at, &self.clock.now()) else { return Ok(Ok(())) };
            if let Err(error) = self.mend(mender, due, store).await? {
                return Ok(Err(error));
            }
        }
    }

    async fn mend(&self, mender: &mut Mender, due: Due, store: &Looks) -> Result<Result<(), ExchangeError>, TaskError> {
        let mut comparison = mender.begin(due, &store.reader())?;
        loop {
            let step = comparison.next(&*store.reader())?;
            let asked = match step {
                Step::Done(head) => {
                    self.is_alike(due, store, head).await?;
                    mender.done(due, &self.clock.now());
                    return Ok(Ok(()));
                }
                Step::Ask(asked) => asked,
            };
            let answer = match self.line.exchange::<_, Repaired>(REPAIR_PATH, &asked, 0).await {
                Ok(answer) => answer,
                Err(ExchangeError::Status { status: 404, .. }) => {
                    info!("the hub cannot make both sides alike again; it goes on with the feed alone");
                    mender.hub_cannot();
                    return Ok(Ok(()));
                }
                Err(error) => {
                    if due == Due::Check {
                        // It makes sure, no more: where it does not get through, orders and recalls still may.
                        mender.done(due, &self.clock.now());
                    }
                    return Ok(Err(error));
                }
            };
            if let Repaired::Given(refused) = &answer {
                for (place, why) in refused {
                    warn!(place, "the hub did not take a change back: {why}");
                }
            }
            match comparison.answered(answer) {
                Ok(items) if items.is_empty() => {}
                Ok(items) => {
                    let cursor = store.cursor()?;
                    self.driver.send(Input::Feed { items, cursor, more: true }).await?;
                }
                Err(error) => {
                    warn!(%error, "{error}");
                    mender.done(due, &self.clock.now());
                    return Ok(Ok(()));
                }
            }
        }
    }

    /// Documents need not be read from the feed up to `head`.
    async fn is_alike(&self, due: Due, store: &Looks, head: u64) -> Result<(), TaskError> {
        let Due::Everything { .. } = due else { return Ok(()) };
        let mut cursor = store.cursor()?;
        cursor.pass(Lane::Documents, head);
        info!(head, "this device and the hub hold the same documents again");
        self.driver.send(Input::Alike { cursor }).await?;
        if self.committed(store, cursor).await? {
            self.session().alike(cursor);
        }
        Ok(())
    }
}
