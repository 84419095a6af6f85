//! Makes this device and the hub alike again.
//!
//! In: what is due, as [`Mender`] says. Out: questions of a [`Comparison`], one between two pulls, and the inputs that follow.
//! A comparison that takes long, or does not get through, keeps no recalls back: while everything is still to be compared,
//! they are pulled beside it. Orders wait for it.

use gatehouse_common::{
    sync::{Comparison, Lane, Repair, Repaired, exchange::REPAIR_PATH, repair::Step},
    time::Moment,
};
use tracing::{info, warn};

use super::{
    Backoff,
    client::{LONG_POLL_MS, Looks, Sync},
    failure::ExchangeError,
    mender::{Due, Mender},
};
use crate::{core::input::Input, tasks::TaskError};

/// Where the hub is there and does not answer a question, none is asked for so long, in milliseconds of the clock: what it
/// cannot answer now it cannot in a moment either.
const UNANSWERED_MS: u64 = 60_000;

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
