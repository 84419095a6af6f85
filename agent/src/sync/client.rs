//! The two loops that speak with the hub: one pushes, one pulls, neither waits for the other.
//!
//! In: the outbox, read from the store. Out: inputs for the driver. A failed exchange is tried again
//! with growing waits; nothing that happens here stops the agent.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gatehouse_common::{
    id::DeviceId,
    seal::{PrivateKey, PublicKey},
    sync::{
        Cursor, DeviceSession, PullReply, PushReply, Rejection,
        exchange::{PULL_PATH, PUSH_PATH},
        session::{BATCH_MAX, Pulled},
    },
    time::UtcMs,
};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use super::{
    Backoff,
    enrolment::{CertificateState, Keeper},
    failure::ExchangeError,
    line::{Line, Own, Parties},
    mender::Mender,
    mending::Mending,
    standing,
};
use crate::{
    clock::Clock,
    config::HubConfig,
    core::input::{Input, Line as LineInput},
    driver::Handle,
    store::{Outbox, Reader, StoreError},
    tasks::{Stop, TaskError},
};

/// How long the hub may wait for something new, in milliseconds of its clock.
pub(super) const LONG_POLL_MS: u32 = 30_000;
/// How often the outbox is looked at though nobody said that it grew, in milliseconds of the clock.
const OUTBOX_LOOK_MS: u64 = 5_000;
/// How often the store is asked whether a page is committed, in real time.
const COMMIT_LOOK: Duration = Duration::from_millis(5);
/// After this long without a commit the page is fetched again, in real time.
const COMMIT_MAX: Duration = Duration::from_secs(30);

/// What is known of the line to the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HubState {
    /// Where the hub is; `None` when the configuration names none.
    pub url: Option<String>,
    /// Whether the last exchange was answered.
    pub connected: bool,
    /// Since when it is as it is.
    pub since: UtcMs,
    /// When the hub last answered.
    pub heard: Option<UtcMs>,
    /// What is wrong and what to do, for people.
    pub trouble: Option<String>,
    /// How this device's certificate is; `None` for one that only signs.
    pub certificate: Option<CertificateState>,
}

/// Speaks with the hub. Copies share one session.
#[derive(Clone)]
pub struct Sync {
    pub(super) line: Line,
    session: Arc<Mutex<DeviceSession>>,
    store: PathBuf,
    pub(super) clock: Clock,
    pub(super) driver: Handle,
    state: Arc<watch::Sender<HubState>>,
    /// A push could not reach the hub: the pull that waits there may wait for nothing.
    in_doubt: Arc<Notify>,
    device: DeviceId,
    hub: PublicKey,
    /// Whether the hub was asked how this device stands. Until then nothing is told and nothing learnt.
    stands: Arc<watch::Sender<bool>>,
}

/// Looks at the store. A reader may be used by one at a time only.
pub(super) struct Looks(Mutex<Reader>);

impl Looks {
    pub(super) fn reader(&self) -> MutexGuard<'_, Reader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> Result<Outbox, StoreError> {
        self.reader().outbox_as_read(u32::try_from(BATCH_MAX).unwrap_or(u32::MAX))
    }

    pub(super) fn cursor(&self) -> Result<Cursor, StoreError> {
        self.reader().cursor()
    }

    /// Waits until the store shows what the driver was given. Says whether it does in time.
    async fn shows(&self, is_so: impl Fn(&Reader) -> Result<bool, StoreError>) -> Result<bool, StoreError> {
        let started = tokio::time::Instant::now();
        while !is_so(&self.reader())? {
            if started.elapsed() > COMMIT_MAX {
                return Ok(false);
            }
            tokio::time::sleep(COMMIT_LOOK).await;
        }
        Ok(true)
    }
}

impl Sync {
    /// Goes on from what the store holds.
    /// # Errors
    /// When the store cannot be read or no HTTP client can be made.
    pub fn new(
        hub: &HubConfig,
        own: Own,
        key: PrivateKey,
        store: PathBuf,
        clock: Clock,
        driver: Handle,
    ) -> Result<(Self, watch::Receiver<HubState>), TaskError> {
        let reader = Reader::open(&store)?;
        let session = DeviceSession::resume(reader.cursor()?, reader.outbox_epoch()?);
        let public: PublicKey = hub.public_key;
        let identity = hub.identity.clone();
        let certificate = identity.as_ref().map(|identity| CertificateState::of(identity, None));
        let device = own.device.clone();
        let parties = Parties { url: hub.url.clone(), hub: public, own, key, identity };
        let line = Line::new(parties, clock.clone())?.of_a_run();
        let start = HubState { url: Some(hub.url.clone()), since: clock.wall(), certificate, ..HubState::default() };
        let (state, seen) = watch::channel(start);
        let (session, state, in_doubt) = (Arc::new(Mutex::new(session)), Arc::new(state), Arc::default());
        let stands = Arc::new(watch::channel(false).0);
        let sync = Self { line, session, store, clock, driver, state, in_doubt, device, hub: public, stands };
        Ok((sync, seen))
    }

    /// Tells the hub what waits in the outbox, until `stop`.
    /// # Errors
    /// When the driver has ended.
    pub async fn push(self, mut stop: Stop) -> Result<(), TaskError> {
        tokio::select! {
            () = stop.stopped() => Ok(()),
            ended = self.push_loop() => ended,
        }
    }

    /// Learns what is new at the hub, until `stop`.
    /// # Errors
    /// When the driver has ended.
    pub async fn pull(self, mut stop: Stop) -> Result<(), TaskError> {
        // A request that was under way when this loop was restarted is no longer.
        self.session().line_lost();
        tokio::select! {
            () = stop.stopped() => Ok(()),
            ended = self.pull_loop() => ended,
        }
    }

    /// Keeps this device's certificate, in `path`, good until `stop`. `key` signs its exchanges.
    /// # Errors
    /// Never: what fails is told and tried again.
    pub async fn keep_certificate(self, key: PrivateKey, path: PathBuf, stop: Stop) -> Result<(), TaskError> {
        let (clock, at_once) = (self.clock.clone(), self.line.renew.clone());
        let keeper = Keeper { line: self.line.clone(), key, path, clock, at_once };
        let tell = |now| self.state.send_modify(|state| state.certificate = Some(now));
        keeper.run(stop, tell).await
    }

    pub(super) fn session(&self) -> MutexGuard<'_, DeviceSession> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn push_loop(&self) -> Result<(), TaskError> {
        let store = Looks(Mutex::new(Reader::open(&self.store)?));
        let mut grew = self.driver.outbox_grew();
        let mut backoff = Backoff::new();
        let mut stands = self.stands.subscribe();
        // The sender lives as long as this.
        let _ = stands.wait_for(|known| *known).await;
        self.session().push_failed();
        let mut known_damage = BTreeSet::new();
        loop {
            let outbox = store.outbox()?;
            tell_damage(&outbox, &mut known_damage);
            let Outbox { waiting, lost, .. } = outbox;
            let push = self.session().next_push(waiting.into_iter().map(|w| (w.n, w.says)));
            let Some(push) = push else {
                // The look now and then covers a hint that was given between the read and this wait.
                tokio::select! {
                    _ = grew.changed() => {}
                    () = self.clock.sleep(OUTBOX_LOOK_MS) => {}
                }
                continue;
            };
            let first = push.records.first().map_or(0, |(n, _)| *n);
            let last = push.records.last().map_or(0, |(n, _)| *n);
            match self.line.exchange::<_, PushReply>(PUSH_PATH, &push, 0).await {
                Ok(reply) => {
                    self.answered().await?;
                    let (taken, ledger) = {
                        let mut session = self.session();
                        (session.pushed(&reply), session.cursor().epoch)
                    };
                    match taken {
                        Ok(through) => {
                            // One that takes nothing for now is asked less and less often.
                            if through >= first {
                                backoff.reset();
                            }
                            for rejection in &reply.rejected {
                                warn!(
                                    number = rejection.number,
                                    "the hub did not let a record in: {}", rejection.reason
                                );
                            }
                            let PushReply { mut rejected, kept_through, .. } = reply;
                            let changes = store.reader().changes_among(&rejected)?;
                            rejected.extend(passed_over(&lost, through));
                            self.driver
                                .send(Input::Pushed { ledger, through, rejected, changes, kept_through })
                                .await?;
                            self.outbox_moved(&store, through).await?;
                            if through < last {
                                // The hub took less than was sent; asking at once would only repeat it.
                                self.clock.sleep(backoff.next_ms()).await;
                            }
                        }
                        Err(error) => warn!(%error, "the hub's answer to a push does not fit and is dropped"),
                    }
                }
                Err(error) => {
                    self.session().push_failed();
                    self.failed(&error);
                    if error.is_of_the_line() {
                        self.session().push_broke_off();
                        self.in_doubt.notify_waiters();
                    }
                    self.clock.sleep(error.wait_ms().saturating_add(backoff.next_ms())).await;
                }
            }
        }
    }

    /// Waits until what the hub took no longer waits, so that it is not sent twice.
    async fn outbox_moved(&self, store: &Looks, through: u64) -> Result<(), TaskError> {
        store.shows(|reader| Ok(reader.outbox_oldest()?.is_none_or(|n| n > through))).await?;
        Ok(())
    }

    async fn pull_loop(&self) -> Result<(), TaskError> {
        let store = Looks(Mutex::new(Reader::open(&self.store)?));
        let mut backoff = Backoff::new();
        let mut mending = Mending::new(Mender::resume(store.reader().newest_page()?, self.clock.now()));
        if !store.reader().put_aside()?.is_empty() {
            mending.mender.lacks_changes();
        }
        while !*self.stands.borrow() {
            if let Err(error) = self.stand(&store).await? {
                self.failed(&error);
                self.lost().await?;
                self.clock.sleep(error.wait_ms().saturating_add(backoff.next_ms())).await;
            }
        }
        loop {
            let wait_ms = match self.mend_if_due(&mut mending, &store).await? {
                Ok(wait_ms) => wait_ms,
                Err(error) => {
                    self.failed(&error);
                    mending.mender.line_lost();
                    self.lost().await?;
                    self.clock.sleep(error.wait_ms().saturating_add(backoff.next_ms())).await;
                    continue;
                }
            };
            let pull = self.session().next_pull(wait_ms);
            let Some(mut pull) = pull else {
                self.session().line_lost();
                continue;
            };
            let stood = pull.cursor;
            mending.mender.asks_beside(&mut pull);
            let answer = tokio::select! {
                answer = self.line.exchange::<_, PullReply>(PULL_PATH, &pull, pull.wait_ms) => answer,
                // Without an answer the wait would last for most of a minute, and recalls with it.
                () = self.in_doubt.notified() => {
                    self.lost().await?;
                    self.clock.sleep(backoff.next_ms()).await;
                    continue;
                }
            };
            match answer {
                Ok(reply) => {
                    backoff.reset();
                    let pulled = self.session().pulled(reply);
                    match pulled {
                        Ok(Pulled::Items { items, cursor: came, more }) => {
                            let cursor = mending.mender.stands(&stood, came);
                            mending.mender.heard(store.reader().newest_page()?, &items);
                            if !items.is_empty() || cursor != stood {
                                self.driver.send(Input::Feed { items, cursor, more }).await?;
                                if !self.committed(&store, cursor).await? {
                                    continue;
                                }
                            }
                            self.session().committed(cursor, more);
                            mending.mender.has_read(&came);
                        }
                        Ok(Pulled::StartAgain(cursor)) => {
                            let same = cursor.epoch == stood.epoch;
                            let what = if same { "the feed of this device" } else { "the hub's ledger" };
                            info!(epoch = %cursor.epoch, "{what} began anew: starting again in it");
                            mending.begins_again(!same);
                            self.driver.send(Input::StartAgain { cursor }).await?;
                            if !self.committed(&store, cursor).await? {
                                continue;
                            }
                            self.session().committed(cursor, true);
                        }
                        Err(error) => warn!(%error, "the hub's answer to a pull does not fit and is dropped"),
                    }
                    self.answered().await?;
                }
                Err(error) => {
                    self.failed(&error);
                    mending.mender.line_lost();
                    self.lost().await?;
                    self.clock.sleep(error.wait_ms().saturating_add(backoff.next_ms())).await;
                }
            }
        }
    }

    /// Asks the hub how this device stands. A store that was restored begins a new life before anything is told.
    async fn stand(&self, store: &Looks) -> Result<Result<(), ExchangeError>, TaskError> {
        let epoch = store.reader().outbox_epoch()?;
        let standing = match standing::ask(&self.line, epoch).await {
            Ok(standing) => standing,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(standing) = standing
            && standing::outlived(store, &self.device, &self.hub, &standing)?
        {
            warn!("the hub knows more of this device than its store holds: the store was restored from an older copy");
            self.driver.send(Input::Outlived(standing)).await?;
            if !store.shows(|reader| Ok(reader.outbox_epoch()? != epoch)).await? {
                return Ok(Ok(()));
            }
            let (cursor, epoch) = (store.cursor()?, store.reader().outbox_epoch()?);
            *self.session() = DeviceSession::resume(cursor, epoch);
        }
        // What is told from here on may be lost with the line: the store must know first that it can have been told.
        self.driver.send(Input::Stands).await?;
        if store.shows(|reader| Ok(!reader.waits_to_ask()?)).await? {
            self.stands.send_replace(true);
        }
        Ok(Ok(()))
    }

    /// Waits until the store shows `cursor`. Only then is the page known here.
    pub(super) async fn committed(&self, store: &Looks, cursor: Cursor) -> Result<bool, TaskError> {
        let is_committed = store.shows(|reader| Ok(reader.cursor()? == cursor)).await?;
        if !is_committed {
            warn!("a page of the hub's feed was not committed in time and is fetched again");
        }
        Ok(is_committed)
    }

    async fn answered(&self) -> Result<(), TaskError> {
        let now = self.clock.wall();
        let was_connected = self.state.borrow().connected;
        self.state.send_modify(|state| {
            if !state.connected {
                state.since = now;
            }
            state.connected = true;
            state.heard = Some(now);
            state.trouble = None;
        });
        if !was_connected {
            info!("the line to the hub is up");
        }
        let recalls_known = self.session().recalls_known();
        self.driver.send(Input::Line(LineInput::Up { recalls_known })).await?;
        Ok(())
    }

    /// Nothing is known of the line any more: what recalls there are is asked for first.
    async fn lost(&self) -> Result<(), TaskError> {
        self.session().line_lost();
        self.line.try_newest_protocol();
        self.driver.send(Input::Line(LineInput::Lost)).await?;
        Ok(())
    }

    fn failed(&self, error: &ExchangeError) {
        let trouble = error.to_string();
        let now = self.clock.wall();
        let told_before = self.state.borrow().trouble.as_deref() == Some(&trouble);
        if !told_before {
            warn!("no exchange with the hub: {trouble}");
        }
        self.state.send_modify(|state| {
            if state.connected || state.trouble.is_none() {
                state.since = now;
            }
            state.connected = false;
            state.trouble = Some(trouble);
        });
    }
}

/// Says once of each damaged record what becomes of it.
fn tell_damage(outbox: &Outbox, known: &mut BTreeSet<u64>) {
    for n in outbox.mended.iter().filter(|n| known.insert(**n)) {
        warn!(outbox.n = n, "record {n} of the outbox is damaged; what it said is known, and told");
    }
    for n in outbox.stopped_at.iter().filter(|n| known.insert(**n)) {
        error!(
            outbox.n = n,
            "record {n} of the outbox is a decision that is damaged here in every place: nothing behind it is told; put a \
             backup of the store in its place (runbook, Restore from a backup)"
        );
    }
    for n in outbox.lost.iter().filter(|n| known.insert(**n)) {
        error!(outbox.n = n, "record {n} of the outbox is damaged and lost; the hub is told what follows on it");
    }
}

/// Lost records that the hub has passed over: they stay, as what was not let in does, so that a person sees them.
fn passed_over(lost: &[u64], through: u64) -> impl Iterator<Item = Rejection> {
    let reason = "it is damaged in the store of the device and was not told";
    let passed = lost.iter().copied().filter(move |n| *n <= through);
    passed.map(move |number| Rejection { number, reason: reason.to_owned() })
}
