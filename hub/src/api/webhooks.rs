//! Subscriptions: how they stand, what could not be delivered, and trying it again.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use gatehouse_common::time::UtcMs;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api, Done,
    problem::Problem,
    request::{Body, Person, Place, Query, Reading},
};
use crate::{
    auth::roles::Act,
    config::{Interest, NatsConfig, WebhookConfig},
    store::webhooks::HookDelivery,
};

/// One subscription. Its key is shown to nobody.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hook {
    /// Its name.
    name: String,
    /// The host that it goes to; the path may hold a secret.
    host: String,
    /// `standard-webhooks`, `cloudevents-structured` or `cloudevents-binary` by HTTP; `nats` into a stream.
    envelope: &'static str,
    /// Which types, all if none.
    types: Vec<String>,
    /// Of which depots, all if none.
    sites: Vec<String>,
    /// What a receiver verifies `v1a` with; none for a shared secret.
    public_key: Option<String>,
    /// When the receiver ended it with 410, in UTC milliseconds.
    #[schema(value_type = Option<i64>)]
    ended_at: Option<UtcMs>,
    /// Deliveries by state: `waiting`, `delivered`, `stale`, `dead`; what is over for 90 days is gone.
    deliveries: BTreeMap<String, u64>,
}

impl Hook {
    fn by_http(hook: &WebhookConfig) -> Self {
        let (host, envelope) = (hook.url.host_str(), hook.envelope.as_str());
        Self { public_key: hook.key.public(), ..Self::to(host, envelope, hook.interest()) }
    }

    fn into_stream(stream: &NatsConfig) -> Self {
        Self::to(stream.url.host_str(), "nats", stream.interest())
    }

    fn to(host: Option<&str>, envelope: &'static str, interest: Interest) -> Self {
        Self {
            name: interest.name,
            host: host.unwrap_or_default().to_owned(),
            envelope,
            types: interest.types.into_iter().collect(),
            sites: interest.sites.iter().map(ToString::to_string).collect(),
            public_key: None,
            ended_at: None,
            deliveries: BTreeMap::new(),
        }
    }
}

/// Subscriptions, and deliveries that wait for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct HookPage {
    /// Each one.
    items: Vec<Hook>,
    /// Parked or too late, the latest 500.
    #[schema(value_type = Vec<Object>)]
    dead: Vec<HookDelivery>,
}

/// Subscriptions and their dead letters.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", responses((status = 200, body = HookPage)))]
pub(super) async fn list(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<HookPage>, Problem> {
    query.finish()?;
    if !who.sees_all() {
        return Err(Problem::forbidden("subscriptions are of all depots; this needs someone who sees all"));
    }
    let by_http = api.hooks.iter().map(Hook::by_http);
    let mut items: Vec<Hook> = by_http.chain(api.streams.iter().map(Hook::into_stream)).collect();
    let page = api.store.read(move |r| {
        for hook in &mut items {
            hook.ended_at = r.hook_ended(&hook.name)?.map(|(at, _)| at);
            hook.deliveries = r.hook_counts(&hook.name)?.into_iter().collect();
        }
        Ok(HookPage { items, dead: r.hook_dead()? })
    });
    Ok(Json(page.await?))
}

/// What a replay or a resumption needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct HookBody {
    /// Which event to deliver again; left out, the subscription is taken up again after a 410.
    event: Option<String>,
    /// What was put right, in 8 to 2000 characters.
    reason: String,
}

/// Try a parked delivery again under the same id, or take up a subscription that its receiver ended.
#[utoipa::path(post, path = "/v1/webhooks/{name}/replay", tag = "webhooks", params(("name" = String, Path)),
    request_body = HookBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn replay(
    State(api): State<Api>,
    person: Person,
    Place(name): Place,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let event = body.text_if_given("event");
    let reason = body.only_reason()?;
    person.must_be_allowed(Act::Replay)?;
    let now = api.clock.wall();
    let done = api.store.write(move |tx| {
        let what = match &event {
            Some(event) => {
                tx.replay_hook(event, &name, now)?;
                format!("delivery of {event} to {name}")
            }
            None => {
                tx.resume_hook(&name)?;
                format!("subscription {name}")
            }
        };
        tx.audit(&super::entry(now, &person.name, "webhook replayed", &what, &reason))?;
        Ok(Done { done: format!("{what} is tried again") })
    });
    Ok(Json(done.await?))
}
