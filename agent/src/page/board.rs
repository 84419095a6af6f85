//! What the page shows, as JSON.

use axum::{
    Json,
    extract::{Path, State},
};
use gatehouse_common::{
    id::{DocumentId, VehicleId},
    time::UtcMs,
};
use serde::Serialize;

use super::{App, Problem};
use crate::{
    intake::mqtt::BrokerState,
    meters::Holdup,
    store::{BoardRow, CaseRow, DispatchRow, QuarantineRow, Status, Stored},
    sync::HubState,
};

/// Readings on the board.
const READINGS: u32 = 40;
/// Rows of quarantine on the board.
const QUARANTINE_ON_BOARD: u32 = 20;
/// Rows of quarantine on its own.
const QUARANTINE: u32 = 500;

/// How the agent and its lines are.
#[derive(Serialize)]
pub struct Now {
    /// The clock's time: ages count up to here.
    now: UtcMs,
    /// Start and speed of a pretend clock.
    clock: Option<String>,
    /// The depot's name.
    site_name: String,
    /// The vehicle it rides in: goods are handed over at its page.
    vehicle: Option<VehicleId>,
    /// The program's version.
    version: &'static str,
    /// The line to the broker.
    broker: BrokerState,
    /// The line to the hub.
    hub: HubState,
    /// Why nothing is acknowledged to the broker now, if so: the store does not take it.
    stuck: Option<&'static str>,
    /// Rows of the store that do not match their checksum, and those that were put aside and are not whole again.
    damaged: Vec<String>,
    /// Whether a document waits too long for changes that have not come.
    waits_too_long: bool,
    /// Counters, lease, sources, what is not yet reported, which documents wait.
    status: Status,
}

/// Everything on the first screen.
#[derive(Serialize)]
pub struct Board {
    #[serde(flatten)]
    now: Now,
    /// Dispatches, planned departures first to last.
    dispatches: Vec<BoardRow>,
    /// Every case.
    cases: Vec<CaseRow>,
    /// What devices sent last, newest first.
    readings: Vec<Stored>,
    /// What could not be used, newest first.
    quarantine: Vec<QuarantineRow>,
}

fn now(app: &App, status: Status) -> Now {
    let now = app.page.clock.wall();
    Now {
        now,
        clock: app.page.clock.describe(),
        site_name: app.page.site_name.clone(),
        vehicle: app.page.vehicle.clone(),
        version: env!("CARGO_PKG_VERSION"),
        broker: app.page.broker.borrow().clone(),
        hub: app.page.hub.borrow().clone(),
        stuck: stuck(app.page.driver.meters().holdup()),
        damaged: [app.page.damaged.borrow().clone(), status.put_aside.clone()].concat(),
        waits_too_long: status.waits_too_long(now),
        status,
    }
}

fn stuck(holdup: Holdup) -> Option<&'static str> {
    match holdup {
        Holdup::None => None,
        Holdup::Full => Some("the disk is full, or the store's budget used up"),
        Holdup::Busy => Some("something else holds the store"),
    }
}

/// `GET /api/board`
pub async fn board(State(app): State<App>) -> Result<Json<Board>, Problem> {
    let (status, dispatches, cases, readings, quarantine) = app
        .look(|store| {
            Ok((
                store.status()?,
                store.board()?,
                store.cases()?,
                store.readings(READINGS)?,
                store.quarantine(QUARANTINE_ON_BOARD)?,
            ))
        })
        .await?;
    Ok(Json(Board { now: now(&app, status), dispatches, cases, readings, quarantine }))
}

/// `GET /api/status`
pub async fn status(State(app): State<App>) -> Result<Json<Now>, Problem> {
    let status = app.look(|store| store.status()).await?;
    Ok(Json(now(&app, status)))
}

/// `GET /api/dispatches/{id}`
pub async fn dispatch(State(app): State<App>, Path(id): Path<String>) -> Result<Json<DispatchRow>, Problem> {
    let document = document_id(&id)?;
    let found = app.look(move |store| store.dispatch(document)).await?;
    found.map(Json).ok_or_else(|| Problem::not_found(format!("there is no dispatch {id} here")))
}

/// `GET /api/cases`
pub async fn cases(State(app): State<App>) -> Result<Json<Vec<CaseRow>>, Problem> {
    app.look(|store| store.cases()).await.map(Json)
}

/// `GET /api/cases/{id}`
pub async fn case(State(app): State<App>, Path(id): Path<String>) -> Result<Json<CaseRow>, Problem> {
    let document = document_id(&id)?;
    let found = app.look(move |store| store.case(document)).await?;
    found.map(Json).ok_or_else(|| Problem::not_found(format!("there is no case {id} here")))
}

/// `GET /api/quarantine`
pub async fn quarantine(State(app): State<App>) -> Result<Json<Vec<QuarantineRow>>, Problem> {
    app.look(|store| store.quarantine(QUARANTINE)).await.map(Json)
}

/// The document that a path names.
pub fn document_id(text: &str) -> Result<DocumentId, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found(format!("{text:?} names no document: 32 hexadecimal digits are expected")))
}
