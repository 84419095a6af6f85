//! When this device and the hub are made alike again, and that it is done.
//!
//! In: what the pull brought. Out: questions of a [`Comparison`], one between two pulls, and the inputs that follow. A
//! comparison that takes long, or does not get through, keeps no recalls back: while everything is still to be compared,
//! they are pulled beside it. Orders wait for it. Due when the ledger began another life, when the feed begins anew, and every few
//! hours to make sure; when the hub has been started anew it is shown the newest page that is kept, which an older copy of
//! its store cannot know.

use gatehouse_common::{
    seal::Sealed,
    sync::{
        Comparison, Cursor, Downward, FeedItem, Lane, PageDigest, Pull, Repair, Repaired, exchange::REPAIR_PATH,
        repair::Step,
    },
    time::Moment,
};
use tracing::{info, warn};

use super::{
    Backoff,
    client::{LONG_POLL_MS, Looks, Sync},
    failure::ExchangeError,
};
use crate::{
    core::input::Input,
    store::{Reader, StoreError},
    tasks::TaskError,
};

/// Between two checks that both are alike, in milliseconds of the clock.
pub const CHECK_EVERY_MS: u64 = 6 * 3_600_000;
/// Where the hub is there and does not answer a question, none is asked for so long, in milliseconds of the clock: what it
/// cannot answer now it cannot in a moment either.
const UNANSWERED_MS: u64 = 60_000;

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
            hub_can: true,
            checked: now,
            documents_from: None,
            begun: false,
        }
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
                (self.documents_from, self.begun) = (None, false);
                self.checked = now.clone();
            }
            Due::Check => self.checked = now.clone(),
        }
    }
}

fn digest_of(sealed: &Sealed) -> Option<PageDigest> {
    sealed.peek::<PageDigest>().ok()
}

/// A comparison between two of its questions.
#[derive(Debug)]
struct UnderWay {
    due: Due,
    comparison: Comparison,
    /// What is to be asked next, where that is known already: the line broke while it was asked.
    asked: Option<Repair>,
}

/// What is due, how far it has got, and when it goes on.
#[derive(Debug)]
pub(super) struct Mending {
    pub(super) mender: Mender,
    /// One of each kind at most: a proof comes between, and what was half done goes on behind it.
    under_way: Vec<UnderWay>,
    backoff: Backoff,
    /// Nothing is asked before, in milliseconds since boot.
    not_before_ms: u64,
    /// Why the hub did not answer, as it was last told.
    told: Option<String>,
}

impl Mending {
    pub(super) fn new(mender: Mender) -> Self {
        Self { mender, under_way: Vec::new(), backoff: Backoff::new(), not_before_ms: 0, told: None }
    }

    /// See [`Mender::begins_again`]. What is under way compares with a feed that is no more.
    pub(super) fn begins_again(&mut self, other_ledger: bool) {
        self.mender.begins_again(other_ledger);
        self.under_way.clear();
    }

    /// What of this kind has begun already.
    fn take(&mut self, due: Due) -> Option<UnderWay> {
        let place = self.under_way.iter().position(|one| one.due == due)?;
        Some(self.under_way.swap_remove(place))
    }

    /// A question was not answered. It waits, and pulls go on meanwhile. Gives how long the next one may wait, or the error
    /// if the line failed: then nothing is known of recalls either.
    fn broke_off(&mut self, broken: UnderWay, error: ExchangeError, now: &Moment) -> Result<u32, ExchangeError> {
        if broken.due == Due::Check {
            // It makes sure, no more.
            self.mender.done(broken.due, now);
        }
        let of_the_line = error.is_of_the_line();
        let pause = if of_the_line { self.backoff.next_ms() } else { UNANSWERED_MS.max(error.wait_ms()) };
        self.not_before_ms = now.boottime_ms.saturating_add(pause);
        if (of_the_line || error.may_pass()) && broken.due != Due::Check {
            // From the start it might break off in the same place each time.
            self.under_way.push(broken);
        }
        if of_the_line {
            return Err(error);
        }
        let why = error.to_string();
        if self.told.as_ref() != Some(&why) {
            warn!("this device and the hub cannot be made alike now, and go on as they are: {why}");
            self.told = Some(why);
        }
        Ok(wait_for(pause))
    }

    fn was_answered(&mut self) {
        self.backoff.reset();
        self.not_before_ms = 0;
    }
}

/// How long a pull may wait so that it is back after `pause`, both in milliseconds.
fn wait_for(pause: u64) -> u32 {
    u32::try_from(pause).unwrap_or(LONG_POLL_MS).min(LONG_POLL_MS)
}

impl Sync {
    /// Asks the next question of what is due; the hub's answer becomes an input. Gives how long the pull after it may wait,
    /// in milliseconds.
    ///
    /// One question between two pulls: all of them may take long, and recalls that wait at the hub are to be known by then.
    pub(super) async fn mend_if_due(
        &self,
        mending: &mut Mending,
        store: &Looks,
    ) -> Result<Result<u32, ExchangeError>, TaskError> {
        let (recalls_known, cursor) = {
            let session = self.session();
            (session.recalls_known(), session.cursor())
        };
        if !recalls_known {
            return Ok(Ok(LONG_POLL_MS));
        }
        let now = self.clock.now();
        let Some(due) = mending.mender.due(cursor.positions[Lane::Documents.index()], &now) else {
            return Ok(Ok(LONG_POLL_MS));
        };
        let pause = mending.not_before_ms.saturating_sub(now.boottime_ms);
        if pause > 0 {
            return Ok(Ok(wait_for(pause)));
        }
        self.mend(mending, due, store).await
    }

    async fn mend(
        &self,
        mending: &mut Mending,
        due: Due,
        store: &Looks,
    ) -> Result<Result<u32, ExchangeError>, TaskError> {
        let mut one = match mending.take(due) {
            Some(one) => one,
            None => UnderWay { due, comparison: mending.mender.begin(due, &store.reader())?, asked: None },
        };
        let Some(asked) = self.question(mending, &mut one, store).await? else { return Ok(Ok(0)) };
        let answer = match self.line.exchange::<_, Repaired>(REPAIR_PATH, &asked, 0).await {
            Ok(answer) => answer,
            Err(ExchangeError::Status { status: 404, .. }) => {
                info!("the hub cannot make both sides alike again; it goes on with the feed alone");
                mending.mender.hub_cannot();
                return Ok(Ok(LONG_POLL_MS));
            }
            Err(error) => {
                let broken = UnderWay { asked: Some(asked), ..one };
                return Ok(mending.broke_off(broken, error, &self.clock.now()));
            }
        };
        mending.was_answered();
        if let Repaired::Given(refused) = &answer {
            for (place, why) in refused {
                warn!(place, "the hub did not take a change back: {why}");
            }
        }
        match one.comparison.answered(answer) {
            Ok(items) if items.is_empty() => {
                one.asked = self.question(mending, &mut one, store).await?;
                mending.under_way.extend(one.asked.is_some().then_some(one));
            }
            Ok(items) => {
                let cursor = store.cursor()?;
                self.driver.send(Input::Feed { items, cursor, more: true }).await?;
                // What comes next is read from the store: this must stand in it by then.
                self.driver.prove().await?;
                mending.under_way.push(one);
            }
            Err(error) => {
                warn!(%error, "{error}");
                mending.mender.done(due, &self.clock.now());
            }
        }
        Ok(Ok(0))
    }

    /// The next question; none once both are alike.
    async fn question(
        &self,
        mending: &mut Mending,
        one: &mut UnderWay,
        store: &Looks,
    ) -> Result<Option<Repair>, TaskError> {
        if let Some(asked) = one.asked.take() {
            return Ok(Some(asked));
        }
        let step = one.comparison.next(&*store.reader())?;
        match step {
            Step::Ask(asked) => Ok(Some(asked)),
            Step::Done(head) => {
                self.is_alike(mending, one.due, store, head).await?;
                mending.mender.done(one.due, &self.clock.now());
                mending.told = None;
                Ok(None)
            }
        }
    }

    /// Documents need not be read from the feed up to `head`.
    async fn is_alike(&self, mending: &Mending, due: Due, store: &Looks, head: u64) -> Result<(), TaskError> {
        let Due::Everything { .. } = due else { return Ok(()) };
        let mut cursor = store.cursor()?;
        cursor.pass(Lane::Documents, mending.mender.read_through(head));
        info!(head, "this device and the hub hold the same documents again");
        self.driver.send(Input::Alike { cursor }).await?;
        if self.committed(store, cursor).await? {
            self.session().alike(cursor);
        }
        Ok(())
    }
}
