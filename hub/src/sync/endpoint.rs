//! The sync exchange over HTTP.
//!
//! In: a signed frame. Out: a signed frame, after the commit. A pull with nothing new waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::{Bytes, HttpBody},
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{
        HeaderValue, StatusCode, Uri,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gatehouse_common::{
    id::DeviceId,
    seal::PrivateKey,
    sync::{
        Pull, Push, PushReply, Repair, Stand, Upward, decode, encode_as,
        exchange::{HELLO_PATH, PULL_PATH, PUSH_PATH, REPAIR_PATH, STANDING_PATH, on_the_slowest_line},
        protocol_of,
        session::BATCH_MAX,
        version::FRAME_MAX_BYTES,
    },
    time::UtcMs,
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{debug, error};

use super::{
    admission::{Admission, Gate},
    crowd::Crowd,
    news::News,
    pull,
    push::{self, Taken},
    refusal::Refusal,
    repair::{self, handle_repair},
    signed::{Claim, sign_reply},
    standing,
};
use crate::{
    clock::Clock,
    listen::{Caller, From, caller},
    store::{Device, Store, StoreError},
};

/// Longest that a pull is kept waiting, in milliseconds of the hub's clock.
const WAIT_MAX_MS: u32 = 60_000;

/// A device that only asks is noted as heard not more often than this, in milliseconds of the hub's clock.
const HEARD_STEP_MS: i64 = 10_000;

/// Records of a push that are written at once: whoever comes meanwhile waits for these, not for the whole push.
const PART: usize = 96;

/// Records of a push that are written first, and then as long as anything of it was refused: harm takes longer to look
/// at, and is written down as well.
const PROBE: usize = 8;

/// A push that is in hand for so long, in real time, is answered with what of it is taken by then: a device gives up
/// after 20 s and would send all of it again.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);

/// Longest that the body of a request may take to come, in real time, on top of what its length takes on a line of 16 kbit/s.
/// An agent gives up after 20 s and as much, so of those who wait for an answer none is cut off.
const BODY_MAX: Duration = Duration::from_secs(30);

/// What is refused is paid for like so many bytes: looking at it and keeping it aside costs more than taking it in, and
/// who sends nothing else is to be told to come back before others notice.
const REFUSED_BYTES: usize = 64 * 1024;

/// How long a push waits for each of its records that was refused before more of it is taken, in real time, and the
/// longest that it waits in all. What is refused is written down, and a disk that writes without pause makes the honest
/// wait: who sends it waits instead.
const REFUSED_WAIT: Duration = Duration::from_millis(20);
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(5);

/// What the exchange needs. Copies share it.
#[derive(Clone)]
pub struct SyncState {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    clock: Clock,
    key: PrivateKey,
    gate: Gate,
    news: News,
    crowd: Crowd,
    /// When each device was last noted as heard.
    heard: Mutex<BTreeMap<DeviceId, UtcMs>>,
}

impl SyncState {
    /// The exchange over `store`, signed with the hub's `key`, for whom `admission` lets in; `news` wakes who waits.
    #[must_use]
    pub fn new(store: Store, clock: Clock, key: PrivateKey, admission: Admission, news: News) -> Self {
        let gate = Gate::new(store.clone(), clock.clone(), admission);
        let (crowd, heard) = (Crowd::default(), Mutex::default());
        Self { shared: Arc::new(Shared { store, clock, key, gate, news, crowd, heard }) }
    }
}

/// The routes of the exchange, at the paths of [`gatehouse_common::sync::exchange`].
pub fn router(state: SyncState) -> Router {
    Router::new()
        .route(PUSH_PATH, post(exchange_route))
        .route(PULL_PATH, post(exchange_route))
        .route(STANDING_PATH, post(exchange_route))
        .route(REPAIR_PATH, post(exchange_route))
        .route(HELLO_PATH, get(hello_route))
        .layer(DefaultBodyLimit::max(FRAME_MAX_BYTES))
        .with_state(state)
}

impl Shared {
    /// Who sent a request, what it claims, and its body.
    async fn admit(
        &self,
        path: &str,
        request: Request,
        caller: Option<&Caller>,
    ) -> Result<(Device, Claim, Bytes), Refusal> {
        let claim = Claim::read(request.headers()).map_err(Refusal::Unknown)?;
        self.gate.may_send(&claim, caller).await?;
        let body = whole(request, BODY_MAX).await?;
        let device = self.gate.admit(path, &claim, &body, caller).await?;
        Ok((device, claim, body))
    }

    fn signed(&self, claim: &Claim, status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response {
        let now = self.clock.wall();
        let signature = sign_reply(&self.key, &claim.device, &claim.nonce, status.as_u16(), &body, now);
        let mut response = (status, body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in signature {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Answers in the protocol in which was asked.
    async fn answer<T: Serialize>(
        &self,
        device: &Device,
        claim: &Claim,
        protocol: u8,
        reply: Result<T, Refusal>,
    ) -> Response {
        let framed = reply.and_then(|reply| encode_as(protocol, &reply).map_err(|e| Refusal::BadFrame(e.to_string())));
        let refusal = match framed {
            Ok(frame) => {
                self.gate.pay(device, frame.len());
                return self.signed(claim, StatusCode::OK, "application/octet-stream", frame);
            }
            Err(refusal) => refusal,
        };
        if let Refusal::BadFrame(why) = &refusal {
            self.gate.pay(device, REFUSED_BYTES);
            self.gate.refusals.told(claim.device.as_str(), "frame", why).await;
        }
        if let Refusal::Later(e) = &refusal {
            error!(device.id = %claim.device, error = %e, "exchange with {} was not done: {e}", claim.device);
        }
        let body = refusal.body().to_string().into_bytes();
        let mut response = self.signed(claim, refusal.status().0, "application/problem+json", body);
        if let Some(seconds) = refusal.retry_after_s() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    async fn push(&self, device: &Device, body: Bytes) -> Result<PushReply, Refusal> {
        let begun = Instant::now();
        let _alone = self.crowd.alone(&device.device).map_err(Refusal::InHand)?;
        // As long as it waits, it waits packed.
        let mut place = self.crowd.place_for_bytes(body.len()).await.map_err(Refusal::Crowded)?;
        let push: Push = read(body)?;
        if push.records.len() > BATCH_MAX {
            // Each record may cost more than its bytes: the writer serves everyone.
            return Err(Refusal::BadFrame(format!("push has more than {BATCH_MAX} records")));
        }
        if place.is_none() {
            place = self.crowd.place(push.records.len()).await.map_err(Refusal::Crowded)?;
        }
        let begins_at = push.records.first().map_or(0, |(number, _)| *number);
        let (of, mut left) = ((push.outbox_epoch, begins_at), push.records.into_iter());
        let mut taken = self.push_part(device, of, left.by_ref().take(PROBE).collect()).await?;
        let mut reply = taken.reply;
        let (mut refused, mut waited) = (taken.refused, Duration::ZERO);
        // What was sent back is told again from there, and nothing behind it may be taken before.
        while left.len() > 0 && taken.goes_on && begun.elapsed() < ANSWER_WITHIN {
            let size = if refused == 0 { PART } else { PROBE };
            if size == PROBE {
                // So small a part needs no place, and others are not to wait for one meanwhile.
                place = None;
            }
            waited += wait_for(taken.refused, waited).await;
            taken = self.push_part(device, of, left.by_ref().take(size).collect()).await?;
            refused += taken.refused;
            if !taken.goes_on {
                break;
            }
            reply.rejected.extend(taken.reply.rejected);
            (reply.taken_through, reply.kept_through) = (taken.reply.taken_through, taken.reply.kept_through);
        }
        drop(place);
        self.gate.pay(device, refused * REFUSED_BYTES);
        wait_for(taken.refused, waited).await;
        Ok(reply)
    }

    /// A part of a push, committed; of the whole, the life of the outbox and the first number are given. If a later part
    /// fails, the device sends all again, and this changes nothing then.
    async fn push_part(
        &self,
        device: &Device,
        (outbox_epoch, begins_at): (u64, u64),
        records: Vec<(u64, Upward)>,
    ) -> Result<Taken, Refusal> {
        let push = Push { outbox_epoch, records };
        let (name, key, now) = (device.device.clone(), self.key.clone(), self.clock.now());
        self.store.write(move |tx| push::take(tx, &key, &name, &push, begins_at, &now)).await.map_err(Refusal::of)
    }

    async fn standing(&self, device: &Device, body: Bytes) -> Result<impl Serialize + use<>, Refusal> {
        let asked: Stand = read(body)?;
        let (name, key, now) = (device.device.clone(), self.key.clone(), self.clock.wall());
        self.store.read(move |r| standing::standing(r, &key, &name, &asked, now)).await.map_err(Refusal::of)
    }

    async fn repair(&self, device: &Device, body: Bytes) -> Result<impl Serialize + use<>, Refusal> {
        let asked: Repair = read(body)?;
        repair::fits(&asked).map_err(Refusal::BadFrame)?;
        let (name, key, now) = (device.device.clone(), self.key.clone(), self.clock.now());
        let (store, work) = (self.store.clone(), move |store: &Store| handle_repair(store, &key, &name, asked, &now));
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|_| Refusal::Later(StoreError::Stopped))?.map_err(Refusal::of)
    }

    /// A depot where nothing happens has nothing to push, and yet it is there.
    async fn note_heard(&self, device: &DeviceId, asked: &Pull, compares: bool) {
        let now = self.clock.wall();
        {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.get(device).is_some_and(|at| (0..HEARD_STEP_MS).contains(&now.since(*at))) {
                return;
            }
            heard.insert(device.clone(), now);
        }
        let (name, cursor) = (device.clone(), asked.cursor);
        // A recall has to get through even while the disk is full, so this may fail.
        if let Err(e) = self.store.write(move |tx| tx.device_reads(&name, &cursor, compares, now)).await {
            debug!(device.id = %device, error = %e, "{device} could not be noted as heard: {e}");
        }
    }

    async fn pull(&self, device: &Device, protocol: u8, body: Bytes) -> Result<impl Serialize + use<>, Refusal> {
        let asked: Pull = read(body)?;
        let attests = protocol >= 2;
        self.note_heard(&device.device, &asked, attests).await;
        // Listening before the first look, so that nothing falls in between.
        let waiting = self.news.of(device.scopes());
        let wait = self.clock.sleep(u64::from(asked.wait_ms.min(WAIT_MAX_MS)));
        let cut = self.gate.revocations.cut(&device.device);
        tokio::pin!(wait, cut);
        loop {
            let (store, name, pull) = (self.store.clone(), device.device.clone(), asked.clone());
            let (key, run, now) = (self.key.clone(), store.actor().epoch, self.clock.wall());
            let attest = attests.then_some(pull::Attest { key, run, now });
            let reply = tokio::task::spawn_blocking(move || pull::answer(&store, &name, &pull, attest.as_ref()))
                .await
                .map_err(|_| Refusal::Later(StoreError::Stopped))?
                .map_err(Refusal::of)?;
            if asked.recalls_only || asked.wait_ms == 0 || pull::has_news(&reply) {
                return Ok(reply);
            }
            tokio::select! {
                () = &mut wait => return Ok(reply),
                () = &mut cut => return Err(Refusal::Forbidden("this device was cut off".to_owned())),
                () = waiting.news() => debug!(device.id = %device.device, "something is new"),
            }
        }
    }
}

/// The body of a request, if it comes whole and in time.
async fn whole(request: Request, within: Duration) -> Result<Bytes, Refusal> {
    // One that does not say how long it is gets no more time for it.
    let length = request.body().size_hint().exact().unwrap_or(0).min(FRAME_MAX_BYTES as u64);
    let within = within.saturating_add(on_the_slowest_line(length));
    match tokio::time::timeout(within, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err(Refusal::Unread(rejection.status(), rejection.body_text())),
        Err(_) => {
            let why = format!("the body did not come whole within {} s; send less at once", within.as_secs());
            Err(Refusal::Unread(StatusCode::REQUEST_TIMEOUT, why))
        }
    }
}

/// Waits for what was refused; gives how long.
async fn wait_for(refused: usize, waited: Duration) -> Duration {
    let wait = refused_wait(refused, waited);
    tokio::time::sleep(wait).await;
    wait
}

fn refused_wait(refused: usize, waited: Duration) -> Duration {
    let all = REFUSED_WAIT.saturating_mul(u32::try_from(refused).unwrap_or(u32::MAX));
    all.min(REFUSED_WAIT_MAX.saturating_sub(waited))
}

/// What a frame says; its bytes are let go of, since who asked may wait for long.
fn read<T: DeserializeOwned>(frame: Bytes) -> Result<T, Refusal> {
    decode(&frame).map_err(|e| Refusal::BadFrame(e.to_string()))
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Push,
    Pull,
    Standing,
    Repair,
}

impl Asked {
    fn at(path: &str) -> Option<Self> {
        match path {
            PUSH_PATH => Some(Self::Push),
            PULL_PATH => Some(Self::Pull),
            STANDING_PATH => Some(Self::Standing),
            REPAIR_PATH => Some(Self::Repair),
            _ => None,
        }
    }
}

/// Who asks is admitted first; then the path says what is asked.
///
/// Address, headers and body are all parts of one buffer of the connection: none is kept while a pull waits, or each of
/// those that wait would keep its 8 kB. The request with its headers is gone once its body is read.
async fn exchange_route(State(state): State<SyncState>, uri: Uri, from: From, request: Request) -> Response {
    let shared = &state.shared;
    let (device, claim, body) = match shared.admit(uri.path(), request, caller(&from)).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let (asked, protocol) = (Asked::at(uri.path()), protocol_of(&body));
    drop((uri, from));
    match asked {
        Some(Asked::Push) => shared.answer(&device, &claim, protocol, shared.push(&device, body).await).await,
        Some(Asked::Pull) => shared.answer(&device, &claim, protocol, shared.pull(&device, protocol, body).await).await,
        Some(Asked::Standing) => shared.answer(&device, &claim, protocol, shared.standing(&device, body).await).await,
        Some(Asked::Repair) => shared.answer(&device, &claim, protocol, shared.repair(&device, body).await).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What the hub says of itself to whoever asks.
#[derive(Debug, Serialize)]
struct Hello {
    name: DeviceId,
    public_key: String,
    time: UtcMs,
}

async fn hello_route(State(state): State<SyncState>) -> Response {
    let shared = &state.shared;
    let hello = Hello {
        name: shared.store.actor().device.clone(),
        public_key: shared.key.public().to_string(),
        time: shared.clock.wall(),
    };
    Json(hello).into_response()
}

#[cfg(test)]
mod tests;
