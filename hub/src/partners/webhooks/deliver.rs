//! Sends what waits, subscription by subscription: a slow receiver holds back nobody but itself.
//!
//! A try is written down before it is made, with the time of the next one. A crash in between costs a wait, and the
//! receiver knows the event by its id.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use futures::future::join_all;
use gatehouse_common::{
    id::{DocumentId, DocumentKind},
    time::UtcMs,
};
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};
use tracing::{info, warn};

use super::{
    announce::{announce, begin, has_begun},
    nats,
    schedule::{Answered, Next, next, retry_after},
    targets::is_public,
};
use crate::{
    clock::Clock,
    config::{Interest, MailConfig, NatsConfig, NoticeConfig, WebhookConfig},
    partners::mail,
    store::{
        Store, StoreChange, StoreError, Tx,
        webhooks::{HookDelivery, HookEvent},
    },
    tasks::{Stop, TaskError},
};

/// How long a receiver may take, in real time.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long between two looks, in real time.
pub(in crate::partners) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most characters of what went wrong that are kept.
const WHY_MAX: usize = 300;

/// Who is told, in each of the three ways.
#[derive(Debug, Clone, Default)]
pub struct Subscribers {
    /// By HTTP.
    pub hooks: Vec<WebhookConfig>,
    /// Into streams of NATS.
    pub streams: Vec<NatsConfig>,
    /// By letter.
    pub letters: Option<MailConfig>,
}

/// Tells what changes and delivers it, until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn run(store: Store, clock: Clock, to: Subscribers, stop: Stop) -> Result<(), TaskError> {
    let Subscribers { hooks, streams, letters } = to;
    let notices = letters.as_ref().map_or(&[][..], |mail| &mail.notices);
    let by_http = hooks.iter().map(WebhookConfig::interest);
    let into_streams = streams.iter().map(NatsConfig::interest);
    let subscribers = by_http.chain(into_streams).chain(notices.iter().map(NoticeConfig::interest)).collect();
    let telling = tell(store.clone(), clock.clone(), subscribers, stop.clone());
    let sending = join_all(hooks.into_iter().map(|hook| send_to(store.clone(), clock.clone(), hook, stop.clone())));
    let filling = join_all(streams.into_iter().map(|to| nats::send_to(store.clone(), clock.clone(), to, stop.clone())));
    let writing = letters.iter().flat_map(|mail| {
        let (store, clock, stop) = (&store, &clock, &stop);
        mail.notices.iter().map(move |notice| {
            mail::deliver::send_to(store.clone(), clock.clone(), mail.clone(), notice.clone(), stop.clone())
        })
    });
    let (told, sent, filled, written) = tokio::join!(telling, sending, filling, join_all(writing));
    told?;
    for one in sent.into_iter().chain(filled).chain(written) {
        one?;
    }
    Ok(())
}

async fn tell(store: Store, clock: Clock, hooks: Vec<Interest>, mut stop: Stop) -> Result<(), StoreError> {
    let mut changes = store.changes();
    let mut all = true;
    while !stop.is_stopped() {
        let documents = changed(&store, &mut changes, std::mem::take(&mut all)).await?;
        if !documents.is_empty() || !store.read(has_begun).await? {
            let (hooks, now) = (hooks.clone(), clock.wall());
            store
                .write(move |tx| {
                    if !has_begun(tx)? {
                        return begin(tx, &documents);
                    }
                    announce(tx, &hooks, &documents, now).map(|_| ())
                })
                .await?;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.stopped() => {}
        }
    }
    Ok(())
}

/// Documents that changed; all of them at first, and where hints were missed.
async fn changed(
    store: &Store,
    changes: &mut Receiver<StoreChange>,
    mut all: bool,
) -> Result<Vec<DocumentId>, StoreError> {
    let mut found = BTreeSet::new();
    loop {
        match changes.try_recv() {
            Ok(StoreChange::Dispatch(id) | StoreChange::Case(id)) => drop(found.insert(id)),
            Ok(_) => {}
            Err(TryRecvError::Lagged(_)) => all = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    if !all {
        return Ok(found.into_iter().collect());
    }
    store
        .read(|r| {
            let mut all = r.document_ids(DocumentKind::Dispatch)?;
            all.extend(r.document_ids(DocumentKind::Case)?);
            Ok(all)
        })
        .await
}

async fn send_to(store: Store, clock: Clock, hook: WebhookConfig, mut stop: Stop) -> Result<(), StoreError> {
    while !stop.is_stopped() {
        if !once(&store, &clock, &hook).await? {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.stopped() => {}
            }
        }
    }
    Ok(())
}

/// Makes the next try that is due to a subscription. Returns whether there was one.
/// # Errors
/// Only if the store is stopped.
pub async fn once(store: &Store, clock: &Clock, hook: &WebhookConfig) -> Result<bool, StoreError> {
    let (name, now) = (hook.name.to_string(), clock.wall());
    let Some((delivery, event)) = due(store, &name, now, Stays::Always).await? else { return Ok(false) };
    let Some(event) = event else { return Ok(true) };
    let answered = send(hook, &event, now).await;
    settle(store, &name, delivery, answered, clock.wall()).await?;
    Ok(true)
}

/// How long an event is news, beside its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::partners) enum Stays {
    /// A receiver keeps what happened, each change of it.
    Always,
    /// A person acts on how it is: what is no longer so is no news.
    WhileItIsSo,
}

/// The next delivery to a subscriber that is due, with the time of the try after it committed; without an event if it is
/// not news any more.
pub(in crate::partners) async fn due(
    store: &Store,
    name: &str,
    now: UtcMs,
    stays: Stays,
) -> Result<Option<(HookDelivery, Option<HookEvent>)>, StoreError> {
    let name = name.to_owned();
    store
        .write(move |tx| {
            if tx.hook_ended(&name)?.is_some() {
                return Ok(None);
            }
            let Some((mut delivery, event)) = tx.hook_due(&name, now)? else { return Ok(None) };
            let is_so = if stays == Stays::WhileItIsSo { changed_meanwhile(tx, &event)? } else { None };
            // Whoever acts on news acts wrongly on old news.
            let old = (now > event.expires).then(|| format!("it was news until {}", event.expires));
            if let Some(why) = old.or(is_so) {
                delivery.state = "stale".to_owned();
                delivery.last_error = why;
                // A person has from now on to replay it, however long it waited.
                delivery.next_try = now;
                tx.keep_hook_delivery(&delivery)?;
                return Ok(Some((delivery, None)));
            }
            delivery.attempts = delivery.attempts.saturating_add(1);
            delivery.next_try = match next(&unanswered(), delivery.attempts, 0) {
                Next::Again(wait) => now.plus(wait),
                _ => now.plus(60_000),
            };
            tx.keep_hook_delivery(&delivery)?;
            Ok(Some((delivery, Some(event))))
        })
        .await
}

/// What its subject is now, if that is not what an event says.
fn changed_meanwhile(tx: &Tx<'_>, event: &HookEvent) -> Result<Option<String>, StoreError> {
    let body: Value = serde_json::from_str(&event.body)?;
    let named = |kind: &str| Some(format!("{kind}/{}", body["data"][kind].as_str()?));
    let Some(subject) = named("dispatch").or_else(|| named("case")) else { return Ok(None) };
    let told = tx.hook_told(&subject)?.filter(|(state, _)| *state != event.kind);
    Ok(told.map(|(state, _)| format!("meanwhile it is {state}")))
}

fn unanswered() -> Answered {
    Answered::Refused { why: "nothing was answered".to_owned(), wait_ms: None }
}

/// Keeps what came of a try.
pub(in crate::partners) async fn settle(
    store: &Store,
    name: &str,
    mut delivery: HookDelivery,
    answered: Answered,
    now: UtcMs,
) -> Result<(), StoreError> {
    let name = name.to_owned();
    let chance = rand::random_range(0..1000);
    let then = next(&answered, delivery.attempts, chance);
    if let Answered::Refused { why, .. } = &answered {
        delivery.last_error = why.chars().take(WHY_MAX).collect();
    }
    match then {
        Next::Done => {
            delivery.state = "delivered".to_owned();
            delivery.last_error.clear();
        }
        Next::Again(wait) => delivery.next_try = now.plus(wait),
        Next::Park => {
            delivery.state = "dead".to_owned();
            warn!(hook = %name, event = %delivery.event, "{name} did not take {} in {} tries: {}",
                delivery.event, delivery.attempts, delivery.last_error);
        }
        Next::Disable => {
            info!(hook = %name, "{name} answered 410 and is told nothing more");
            delivery.state = "dead".to_owned();
            delivery.last_error = "410: it wants nothing more".to_owned();
        }
    }
    store
        .write(move |tx| {
            tx.keep_hook_delivery(&delivery)?;
            if then == Next::Disable {
                tx.end_hook(&name, "it answered 410", now)?;
            }
            Ok(())
        })
        .await
}

async fn send(hook: &WebhookConfig, event: &HookEvent, now: UtcMs) -> Answered {
    let refused = |why: String| Answered::Refused { why, wait_ms: None };
    let client = match client(hook).await {
        Ok(client) => client,
        Err(why) => return refused(why),
    };
    // The time of the try, so that a receiver can tell an old request that somebody sends again from a late one of ours.
    let timestamp = now.0.div_euclid(1000);
    let (headers, body) = match hook.envelope.wrap(event) {
        Ok(wrapped) => wrapped,
        Err(error) => return refused(format!("what is kept is no event: {error}")),
    };
    let request = client
        .post(hook.url.clone())
        .header("webhook-id", &event.id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", hook.key.sign(&event.id, timestamp, body.as_bytes()));
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    match request.body(body).send().await {
        // The address may hold a secret in its path, so it stays out of what is kept.
        Err(error) => refused(error.without_url().to_string()),
        Ok(answer) if answer.status().is_success() => Answered::Taken,
        Ok(answer) if answer.status() == reqwest::StatusCode::GONE => Answered::Gone,
        Ok(answer) => {
            let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let wait_ms = after.and_then(|value| retry_after(value, now.0));
            Answered::Refused { why: format!("answered {}", answer.status()), wait_ms }
        }
    }
}

/// A client that reaches the addresses that were looked at and no other, whatever the name means a moment later.
async fn client(hook: &WebhookConfig) -> Result<reqwest::Client, String> {
    let host = hook.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = hook.url.port_or_known_default().unwrap_or(443);
    let found = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host.as_str(), port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(format!("{host} cannot be found: {error}")),
        Err(_) => return Err(format!("{host} cannot be found in time")),
    };
    if !hook.private
        && let Some(inner) = addresses.iter().find(|address| !is_public(address.ip()))
    {
        return Err(format!(
            "{host} is {}, which is no public address; set private = true if that is meant",
            inner.ip()
        ));
    }
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .resolve_to_addrs(&host, &addresses)
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}
