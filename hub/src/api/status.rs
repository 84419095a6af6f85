//! How the hub is: for people, for balancers, for whoever asks whether it lives.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use gatehouse_common::{document::WAITING_MAX_MS, fact::Source, time::UtcMs};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    problem::Problem,
    request::{Query, Reading},
};
use crate::store::{Reader, StoreError};

/// How long one answer about the store's health holds, in real time.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long the store may take to commit before the hub counts as not ready, in real time.
const COMMIT_MAX: Duration = Duration::from_secs(5);
/// How long the ERP may be silent before the hub says so, in milliseconds of its clock.
const ERP_SILENCE_MAX_MS: i64 = 300_000;

/// How much there is of what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Counts {
    /// Devices that may speak.
    pub devices: u64,
    /// Decisions that depots told of.
    pub decisions: u64,
    /// Recon items by outcome; those without one are `open`.
    pub recon: BTreeMap<String, u64>,
    /// Postings by state: `queued`, `in_doubt`, `applied`, `dead`, `withdrawn`.
    pub postings: BTreeMap<String, u64>,
    /// Leases that ran out long ago and of which their depots have stated nothing: they wait for a person.
    pub leases_unreported: u64,
    /// Rows of the store that are damaged and not whole again, by table.
    pub damaged: BTreeMap<String, u64>,
    /// Things that were not let in.
    pub quarantined: u64,
    /// Documents whose view is behind.
    pub unfolded: u64,
    /// Documents that have changes whose past has not come in.
    pub waiting: u64,
}

impl Counts {
    /// Counts.
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn read(r: &Reader<'_>) -> Result<Self, StoreError> {
        let named = |(name, n): (String, u64)| (if name.is_empty() { "open".to_owned() } else { name }, n);
        Ok(Self {
            devices: r.devices()?.len() as u64,
            decisions: r.decision_count()?,
            recon: r.recon_counts()?.into_iter().map(named).collect(),
            postings: r.posting_counts()?.into_iter().collect(),
            leases_unreported: r.leases_unreported()?,
            damaged: r.damaged_counts()?.into_iter().collect(),
            quarantined: r.quarantine_count()?,
            unfolded: r.behind_count()?,
            waiting: r.waiting()?.0,
        })
    }
}

/// How the hub is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// The hub's name.
    hub: String,
    /// Its program's version.
    version: String,
    /// Its public key.
    public_key: String,
    /// Its clock, in UTC milliseconds.
    #[schema(value_type = i64)]
    now: UtcMs,
    /// Where a pretend clock started and how fast it runs; none for a real clock.
    clock: Option<String>,
    /// Which kind of ERP it speaks with.
    erp: Option<String>,
    /// How much there is of what.
    counts: Counts,
    /// Who asks, and in which role.
    you: You,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct You {
    name: String,
    /// The role; none for a program.
    role: Option<String>,
}

/// How the hub is, and who asks.
#[utoipa::path(get, path = "/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub(super) async fn status(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<Status>, Problem> {
    query.finish()?;
    let counts = api.store.read(Counts::read).await?;
    let role = match &who {
        crate::auth::Principal::Operator { role, .. } => Some(role.as_str().to_owned()),
        crate::auth::Principal::Program { .. } => None,
    };
    Ok(Json(Status {
        hub: api.about.name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        public_key: api.about.public_key.to_string(),
        now: api.clock.wall(),
        clock: api.clock.describe(),
        erp: api.about.erp.map(ToOwned::to_owned),
        counts,
        you: You { name: who.name().to_string(), role },
    }))
}

/// Whether the hub lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    ok: bool,
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "status", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { ok: true })
}

/// Whether the hub can work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether depots can be served.
    ready: bool,
    /// Each thing it needs, and how that is.
    checks: Vec<Check>,
}

/// One thing the hub needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// What.
    name: String,
    /// Whether it is well.
    ok: bool,
    /// Whether the hub is not ready without it.
    vital: bool,
    /// For people.
    detail: String,
}

/// Whether the hub can work: its store can be written. A silent ERP is told and does not stop the depots.
#[utoipa::path(get, path = "/readyz", tag = "status", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    let mut kept = api.readiness.lock().await;
    // Nobody needs a login for this, so nobody shall be able to make the disk busy with it.
    let fresh = kept.as_ref().filter(|(at, _)| at.elapsed() < CHECK_EVERY).map(|(_, readiness)| readiness.clone());
    let readiness = match fresh {
        Some(readiness) => readiness,
        None => {
            let readiness = check(&api).await;
            *kept = Some((Instant::now(), readiness.clone()));
            readiness
        }
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn check(api: &Api) -> Readiness {
    let now = api.clock.wall().0.to_string();
    let write = api.store.write(move |tx| tx.set_cursor("readyz", &now));
    let (ok, detail) = match tokio::time::timeout(COMMIT_MAX, write).await {
        Ok(Ok(())) => (true, "a write was committed".to_owned()),
        Ok(Err(_)) => (false, "a write was not committed; the log says why".to_owned()),
        Err(_) => (false, format!("a write was not committed within {} s", COMMIT_MAX.as_secs())),
    };
    let mut checks = vec![Check { name: "store".to_owned(), ok, vital: true, detail }];
    if api.about.erp.is_some() {
        let heard = api.store.read(|r| r.sources()).await.ok().and_then(|sources| sources.get(&Source::Erp).copied());
        let age = heard.map(|at| api.clock.wall().since(at).max(0));
        let detail = match age {
            None => "never heard".to_owned(),
            Some(age) => format!("heard {} s ago", age / 1000),
        };
        let ok = age.is_some_and(|age| age <= ERP_SILENCE_MAX_MS);
        checks.push(Check { name: "erp".to_owned(), ok, vital: false, detail });
    }
    if let Ok(waiting) = api.store.read(|r| r.waiting()).await {
        checks.push(documents(waiting, api.clock.wall()));
    }
    if let Ok(damaged) = api.store.read(|r| r.damaged_counts()).await {
        let detail = match damaged.iter().map(|(_, n)| n).sum::<u64>() {
            0 => "no row of the store is damaged".to_owned(),
            n => format!("{n} rows of the store are damaged and not whole again; the log names them"),
        };
        checks.push(Check { name: "ground".to_owned(), ok: damaged.is_empty(), vital: false, detail });
    }
    Readiness { ready: checks.iter().all(|check| check.ok || !check.vital), checks }
}

/// Whether no document waits too long for the past of a change; how many do, and since when the first of them.
fn documents((count, oldest): (u64, Option<UtcMs>), now: UtcMs) -> Check {
    let age = oldest.map_or(0, |since| now.since(since).max(0));
    let detail = match count {
        0 => "no document waits for the past of a change".to_owned(),
        n => format!("{n} documents wait for the past of a change, the longest for {} s", age / 1000),
    };
    Check { name: "documents".to_owned(), ok: age <= WAITING_MAX_MS, vital: false, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_waits_is_told_once_what_is_on_its_way_had_time_to_come_and_keeps_nobody_from_being_served() {
        let (since, max) = (UtcMs(5_000), WAITING_MAX_MS);
        for (waited, ok) in [(0, true), (max, true), (max + 1, false), (-60_000, true)] {
            let check = documents((3, Some(since)), since.plus(waited));
            assert_eq!((check.ok, check.vital), (ok, false), "{waited}");
            assert!(check.detail.starts_with("3 documents wait"), "{}", check.detail);
        }
        assert!(documents((0, None), UtcMs(i64::MAX)).ok);
    }
}
