//! Devices with their lag, leases with their use, sources with their ages.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use gatehouse_common::{fact::Source, time::UtcMs};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    problem::Problem,
    request::{Page, Paging, Query, Reading},
};
use crate::{
    core::{
        leases::LeaseRow,
        ownership::{OWNED, Owned},
    },
    store::{Certificate, DeviceState, Reader},
};

/// A device with its lag.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceItem {
    /// Name, kind, public key, scopes, when it last spoke and what it then said of itself.
    #[schema(value_type = Object)]
    #[serde(flatten)]
    state: DeviceState,
    /// Milliseconds since it last spoke; none if it never did.
    silent_ms: Option<i64>,
    /// Whether it speaks with the hub: it asks what is new at least each half minute while it can.
    connected: bool,
    /// Its newest certificate; none while it only signs.
    #[schema(value_type = Option<Object>)]
    certificate: Option<Certificate>,
}

/// Longest silence of a device that counts as connected, in milliseconds of the hub's clock.
const CONNECTED_MAX_MS: i64 = 90_000;

/// Devices that may speak, by name.
#[utoipa::path(get, path = "/v1/devices", tag = "fleet", params(Paging),
    responses((status = 200, body = Page<DeviceItem>)))]
pub(super) async fn devices(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<Page<DeviceItem>>, Problem> {
    let paging = query.paging()?;
    let now = api.clock.wall();
    let mut devices = api.store.read(|r| r.devices()).await?;
    devices.retain(|state| state.device.sites.iter().any(|site| who.sees(site)));
    let Page { items, next } = paging.cut(devices, |state| (0, state.device.device.to_string()))?;
    let with_certificate = move |state: DeviceState, r: &Reader<'_>| {
        let certificate = r.certificates_of(&state.device.device)?.into_iter().next();
        Ok((state, certificate))
    };
    let items: Vec<(DeviceState, Option<Certificate>)> =
        api.store.read(move |r| items.into_iter().map(|state| with_certificate(state, r)).collect()).await?;
    let item = |(state, certificate): (DeviceState, Option<Certificate>)| {
        let silent_ms = state.seen.map(|seen| now.since(seen).max(0));
        let connected = silent_ms.is_some_and(|silent| silent <= CONNECTED_MAX_MS);
        DeviceItem { state, silent_ms, connected, certificate }
    };
    Ok(Json(Page { items: items.into_iter().map(item).collect(), next }))
}

/// One part of the list of leases.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeasePage {
    /// What was granted, what has become of it and what of it is used.
    #[schema(value_type = Vec<Object>)]
    items: Vec<LeaseRow>,
    /// Give this as `after` for the next part; none at the end.
    next: Option<String>,
}

/// Leases, the newest first.
#[utoipa::path(get, path = "/v1/leases", tag = "fleet", params(Paging), responses((status = 200, body = LeasePage)))]
pub(super) async fn leases(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<LeasePage>, Problem> {
    let paging = query.paging()?;
    let mut leases = api.store.read(|r| r.leases()).await?;
    leases.retain(|row| who.sees(&row.lease.site));
    let Page { items, next } = paging.cut(leases, |row| (-row.lease.granted_at.0, row.lease.id.to_string()))?;
    Ok(Json(LeasePage { items, next }))
}

/// How fresh a source is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceItem {
    /// `erp`, `wms`, `tms`, `depot`, `vehicle` or `hub`.
    #[schema(value_type = String)]
    source: Source,
    /// When it was last heard, in UTC milliseconds.
    #[schema(value_type = i64)]
    at: UtcMs,
    /// Milliseconds since then.
    age_ms: i64,
}

/// The systems that facts come from, with the age of each.
#[utoipa::path(get, path = "/v1/sources", tag = "fleet", responses((status = 200, body = Page<SourceItem>)))]
pub(super) async fn sources(
    State(api): State<Api>,
    Reading(_): Reading,
    query: Query,
) -> Result<Json<Page<SourceItem>>, Problem> {
    query.finish()?;
    let now = api.clock.wall();
    let sources: BTreeMap<Source, UtcMs> = api.store.read(|r| r.sources()).await?;
    let item = |(source, at): (Source, UtcMs)| SourceItem { source, at, age_ms: now.since(at).max(0) };
    Ok(Json(Page { items: sources.into_iter().map(item).collect(), next: None }))
}

/// Which system owns which field, and what the hub writes there. What another system says of a field is refused.
#[utoipa::path(get, path = "/v1/ownership", tag = "fleet", responses((status = 200, body = Page<Owned>)))]
pub(super) async fn ownership(Reading(_): Reading, query: Query) -> Result<Json<Page<Owned>>, Problem> {
    query.finish()?;
    Ok(Json(Page { items: OWNED.to_vec(), next: None }))
}
