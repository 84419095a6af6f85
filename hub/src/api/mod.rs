//! The hub's API: everything that people's pages and other systems ask or change.
//!
//! In: HTTP requests. Out: JSON, or a problem that says what is wrong, where, and what to do.
//! Everything under `/v1` needs a login or a token; every change leaves an audit entry in the same
//! commit. It is described by [`openapi`] and kept as `hub/openapi.json`.

mod cancelling;
mod cases;
mod dispatches;
mod documents;
mod edi;
mod events;
mod exports;
mod fleet;
mod lift;
mod live;
mod metrics;
pub mod openapi;
mod positions;
pub mod problem;
mod queue;
mod quota;
mod recon;
mod request;
mod status;
#[cfg(test)]
mod tests;
mod webhooks;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{MethodRouter, get, post},
};
use gatehouse_common::{
    id::{ActorName, DeviceId},
    seal::PublicKey,
    time::UtcMs,
};
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore};
use utoipa::ToSchema;

pub use problem::Problem;
pub use status::Counts;

use crate::{
    auth::Gatekeeper,
    clock::Clock,
    config::{NatsConfig, PartnerConfig, WebhookConfig},
    core::reconcile::ReconPolicy,
    exports::held::Exports,
    store::{AuditEntry, Store},
    tasks::Stop,
};

/// What every request may need. Copies share it.
#[derive(Clone)]
pub struct Api {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) keeper: Gatekeeper,
    pub(crate) about: Arc<About>,
    pub(crate) partners: Arc<Vec<PartnerConfig>>,
    pub(crate) hooks: Arc<Vec<WebhookConfig>>,
    pub(crate) streams: Arc<Vec<NatsConfig>>,
    pub(crate) policy: ReconPolicy,
    pub(crate) exports: Arc<Exports>,
    /// Held by whoever writes an export.
    exporting: Arc<Mutex<()>>,
    quotas: Arc<quota::Quotas>,
    stop: Stop,
    listeners: Arc<Semaphore>,
    readiness: Arc<Mutex<Option<(Instant, status::Readiness)>>>,
}

/// What the hub says of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Its name.
    pub name: DeviceId,
    /// Its public key.
    pub public_key: PublicKey,
    /// Which kind of ERP it speaks with.
    pub erp: Option<&'static str>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    /// In words.
    done: String,
}

impl Api {
    /// An API over `store`; its live pages end when `stop` is told.
    #[must_use]
    pub fn new(store: Store, clock: Clock, keeper: Gatekeeper, about: About, stop: Stop) -> Self {
        Self {
            store,
            clock,
            keeper,
            about: Arc::new(about),
            partners: Arc::default(),
            hooks: Arc::default(),
            streams: Arc::default(),
            policy: ReconPolicy::default(),
            exports: Arc::default(),
            exporting: Arc::default(),
            quotas: Arc::default(),
            stop,
            listeners: Arc::new(Semaphore::new(live::LISTENERS_MAX)),
            readiness: Arc::default(),
        }
    }
}

impl Api {
    /// The same with these partners, who may leave files, and these subscriptions.
    #[must_use]
    pub fn with_partners(
        self,
        partners: Vec<PartnerConfig>,
        hooks: Vec<WebhookConfig>,
        streams: Vec<NatsConfig>,
    ) -> Self {
        Self { partners: Arc::new(partners), hooks: Arc::new(hooks), streams: Arc::new(streams), ..self }
    }
}

impl Api {
    /// The same under this policy for choices.
    #[must_use]
    pub fn with_policy(self, policy: ReconPolicy) -> Self {
        Self { policy, ..self }
    }
}

/// Every route of the API.
pub fn router(api: Api) -> Router {
    routes().into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route)).with_state(api)
}

/// The routes as a list, so that a test can hold the description against it.
fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/v1/dispatches", get(dispatches::list)),
        ("/v1/dispatches/{id}", get(dispatches::one)),
        ("/v1/dispatches/{id}/document", get(documents::of_dispatch)),
        ("/v1/dispatches/{id}/cancellation/accept", post(cancelling::accept)),
        ("/v1/dispatches/{id}/cancellation/decline", post(cancelling::decline)),
        ("/v1/dispatches/{id}/lift", post(lift::lift)),
        ("/v1/dispatches/{id}/lift/confirm", post(lift::confirm)),
        ("/v1/dispatches/{id}/lift/refuse", post(lift::refuse)),
        ("/v1/cases", get(cases::list)),
        ("/v1/cases/{id}", get(cases::one)),
        ("/v1/cases/{id}/document", get(documents::of_case)),
        ("/v1/cases/{id}/move", post(cases::move_to)),
        ("/v1/recon", get(recon::list)),
        ("/v1/recon/figures", get(recon::figures)),
        ("/v1/recon/{decision}", get(recon::one)),
        ("/v1/recon/{decision}/choice", post(recon::choose)),
        ("/v1/recon/{decision}/confirm", post(recon::confirm)),
        ("/v1/recon/{decision}/refuse", post(recon::refuse)),
        ("/v1/dead-letters", get(queue::dead_letters)),
        ("/v1/dead-letters/{id}/replay", post(queue::replay)),
        ("/v1/dead-letters/{id}/booked", post(queue::booked)),
        ("/v1/dead-letters/{id}/correct", post(queue::correct)),
        ("/v1/quarantine", get(queue::quarantine)),
        ("/v1/devices", get(fleet::devices)),
        ("/v1/leases", get(fleet::leases)),
        ("/v1/sources", get(fleet::sources)),
        ("/v1/ownership", get(fleet::ownership)),
        ("/v1/status", get(status::status)),
        ("/v1/live", get(live::live)),
        ("/v1/events", post(events::take)),
        ("/v1/events/schemas", get(events::schemas)),
        ("/v1/events/schemas/{type}", get(events::schema)),
        ("/v1/events/dead", get(events::dead)),
        ("/v1/events/dead/{n}/replay", post(events::replay)),
        ("/v1/positions/traccar", post(positions::traccar)),
        ("/v1/positions/owntracks", post(positions::owntracks)),
        ("/v1/edi", get(edi::list).post(edi::leave)),
        ("/v1/edi/{shipment}", get(edi::of_shipment)),
        ("/v1/edi/{shipment}/answer", post(edi::answer)),
        ("/v1/webhooks", get(webhooks::list)),
        ("/v1/webhooks/{name}/replay", post(webhooks::replay)),
        ("/v1/exports/{form}", get(exports::take)),
        ("/openapi.json", get(openapi::serve)),
        ("/metrics", get(metrics::metrics)),
        ("/healthz", get(status::healthz)),
        ("/readyz", get(status::readyz)),
    ]
}

/// What is the same for everything that a browser may reach: no guessing of types, no framing, problems for what is not
/// there.
pub fn around(router: Router) -> Router {
    with_problems(router).layer(middleware::from_fn(headers))
}

/// Problems for what is not there. Enough where devices alone come: what a browser is told is no use to them, and would be
/// more than most answers say, over lines that are paid for by the byte.
pub fn with_problems(router: Router) -> Router {
    router.fallback(nothing_here).method_not_allowed_fallback(wrong_method)
}

async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // An answer that a page showed to one person must not be shown to the next from a cache.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

async fn nothing_here(request: Request) -> Problem {
    Problem::not_found(format!("there is nothing at {}; /openapi.json lists what there is", request.uri().path()))
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("{} is not for {}; /openapi.json lists what is", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Not with this method", detail)
}

/// An entry for the audit.
pub(super) fn entry(at: UtcMs, actor: &ActorName, action: &str, subject: &str, detail: &str) -> AuditEntry {
    AuditEntry {
        at,
        actor: actor.to_string(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
    }
}
