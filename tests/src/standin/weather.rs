//! Weather over a stand-in ERP: what befalls its callers, drawn by chance from a seed.
//!
//! In: requests. Out: the same requests at the ERP, but for those that are refused, come late, fail or are lost, and
//! answers of which some never arrive. Nothing befalls `/admin` and `/healthz`. Some postings strike: they are applied,
//! and whoever sent them is to be killed before the answer leaves.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::wire::{Cut, Problem};

/// Longer than any caller waits.
const FOR_EVER: Duration = Duration::from_secs(60);
const BODY_MAX: usize = 1 << 20;

/// How likely what is, in thousandths of postings where nothing else is said.
#[derive(Debug, Clone, Copy)]
pub struct Chances {
    /// It is applied, and no answer comes.
    pub hangs_after: u32,
    /// It is applied, and the connection is reset.
    pub resets_after: u32,
    /// It is applied, and answered 502.
    pub fails_after: u32,
    /// It is not applied, and answered 503.
    pub fails_before: u32,
    /// It is not applied, and the connection is reset.
    pub resets_before: u32,
    /// It is applied only [`Self::late_ms`] later, when its sender has given up.
    pub late: u32,
    /// How much later, in milliseconds.
    pub late_ms: u64,
    /// It is applied, and the answer takes up to [`Self::slow_ms`].
    pub slow: u32,
    /// How long, in milliseconds.
    pub slow_ms: u64,
    /// Thousandths of reads that are answered 503, and as many whose connection is reset.
    pub reads: u32,
    /// Thousandths of orders of which every posting is refused.
    pub refused: u32,
    /// Whether a posting that was applied cannot be found: what a hub does that has no way to ask.
    pub is_blind: bool,
}

impl Default for Chances {
    /// Of ten postings three are applied without an answer in time, and two more meet something else.
    fn default() -> Self {
        Self {
            hangs_after: 300,
            resets_after: 40,
            fails_after: 40,
            fails_before: 40,
            resets_before: 40,
            late: 10,
            late_ms: 1_200,
            slow: 60,
            slow_ms: 250,
            reads: 15,
            refused: 10,
            is_blind: false,
        }
    }
}

/// What befalls one posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Befalls {
    Nothing,
    HangsAfter,
    ResetsAfter,
    FailsAfter,
    FailsBefore,
    ResetsBefore,
    Late,
    Slow,
}

/// The weather, shared by all doors of one ERP.
#[derive(Debug, Clone)]
pub struct Weather(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    chances: Chances,
    dice: Mutex<StdRng>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    under_way: Vec<AtomicU64>,
    is_armed: AtomicBool,
    strikes: UnboundedSender<usize>,
}

impl Weather {
    /// Weather over `doors` doors, and where a strike is told: the door whose caller is to be killed.
    #[must_use]
    pub fn new(chances: Chances, seed: u64, doors: usize) -> (Self, UnboundedReceiver<usize>) {
        let (strikes, told) = unbounded_channel();
        let shared = Shared {
            chances,
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            counts: Mutex::default(),
            under_way: (0..doors).map(|_| AtomicU64::new(0)).collect(),
            is_armed: AtomicBool::new(false),
            strikes,
        };
        (Self(Arc::new(shared)), told)
    }

    /// The ERP's answers as they are seen through a door.
    #[must_use]
    pub fn over(&self, router: Router, door: usize) -> Router {
        router.layer(middleware::from_fn_with_state((self.clone(), door), befall))
    }

    /// The next posting that is applied strikes.
    pub fn arm(&self) {
        self.0.is_armed.store(true, Ordering::SeqCst);
    }

    /// None strikes until armed again. Else the last posting of all, sent seldom, would be struck nearly each time.
    pub fn disarm(&self) {
        self.0.is_armed.store(false, Ordering::SeqCst);
    }

    /// How many postings have come in at a door and are not answered.
    #[must_use]
    pub fn under_way(&self, door: usize) -> u64 {
        self.0.under_way.get(door).map_or(0, |n| n.load(Ordering::SeqCst))
    }

    /// How often what befell.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the ERP refuses everything about an order.
    #[must_use]
    pub fn refuses(&self, order: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        order.hash(&mut hasher);
        hasher.finish() % 1000 < u64::from(self.0.chances.refused)
    }

    fn count(&self, what: &'static str) {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    fn draw(&self, below: u64) -> u64 {
        self.0.dice.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..below.max(1))
    }

    fn draw_posting(&self) -> (Befalls, &'static str) {
        let c = &self.0.chances;
        let mut left = self.draw(1000);
        for (chance, befalls, name) in [
            (c.hangs_after, Befalls::HangsAfter, "applied_and_never_answered"),
            (c.resets_after, Befalls::ResetsAfter, "applied_and_reset"),
            (c.fails_after, Befalls::FailsAfter, "applied_and_answered_502"),
            (c.fails_before, Befalls::FailsBefore, "not_applied_and_answered_503"),
            (c.resets_before, Befalls::ResetsBefore, "not_applied_and_reset"),
            (c.late, Befalls::Late, "applied_after_the_sender_gave_up"),
            (c.slow, Befalls::Slow, "answered_slowly"),
        ] {
            match left.checked_sub(chance.into()) {
                None => return (befalls, name),
                Some(rest) => left = rest,
            }
        }
        (Befalls::Nothing, "answered")
    }
}

/// A posting that is under way until it is answered or its sender is gone.
struct UnderWay<'a>(&'a AtomicU64);

impl<'a> UnderWay<'a> {
    fn at(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn failed(status: StatusCode) -> Response {
    Problem::of(status, "bad weather").into_response()
}

async fn befall(
    State((weather, door)): State<(Weather, usize)>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    if path == "/healthz" || path.starts_with("/admin/") {
        return next.run(request).await;
    }
    if request.method() != Method::POST {
        let (drawn, reads) = (weather.draw(1000), u64::from(weather.0.chances.reads));
        if drawn < reads {
            weather.count("reads_answered_503");
            return failed(StatusCode::SERVICE_UNAVAILABLE);
        }
        if drawn < 2 * reads {
            weather.count("reads_reset");
            return cut.instead_of_an_answer();
        }
        if weather.0.chances.is_blind && path == "/effects" {
            weather.count("asked_of_the_blind");
            return axum::Json(json!({ "effects": [] })).into_response();
        }
        return next.run(request).await;
    }
    let under_way = weather.0.under_way.get(door).map(UnderWay::at);
    let response = posting(&weather, door, &cut, request, next).await;
    drop(under_way);
    response
}

async fn posting(weather: &Weather, door: usize, cut: &Cut, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_MAX).await else { return failed(StatusCode::BAD_REQUEST) };
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if said["order"].as_str().is_some_and(|order| weather.refuses(order)) {
        weather.count("refused");
        return Problem::malformed("order", "belongs to a period that is closed").into_response();
    }
    let request = Request::from_parts(parts, Body::from(bytes));
    let (befalls, name) = weather.draw_posting();
    weather.count(name);
    match befalls {
        Befalls::FailsBefore => return failed(StatusCode::SERVICE_UNAVAILABLE),
        Befalls::ResetsBefore => return cut.instead_of_an_answer(),
        Befalls::Late => {
            // A task of its own: who gives up waiting does not take the posting back.
            let late = Duration::from_millis(weather.0.chances.late_ms);
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                next.run(request).await;
            });
            tokio::time::sleep(FOR_EVER).await;
            return cut.instead_of_an_answer();
        }
        _ => {}
    }
    let response = next.run(request).await;
    if weather.0.is_armed.swap(false, Ordering::SeqCst) {
        weather.count("strikes");
        let _ = weather.0.strikes.send(door);
        tokio::time::sleep(FOR_EVER).await;
        return cut.instead_of_an_answer();
    }
    match befalls {
        Befalls::HangsAfter => {
            tokio::time::sleep(FOR_EVER).await;
            cut.instead_of_an_answer()
        }
        Befalls::ResetsAfter => cut.instead_of_an_answer(),
        Befalls::FailsAfter => failed(StatusCode::BAD_GATEWAY),
        Befalls::Slow => {
            tokio::time::sleep(Duration::from_millis(weather.draw(weather.0.chances.slow_ms))).await;
            response
        }
        _ => response,
    }
}
