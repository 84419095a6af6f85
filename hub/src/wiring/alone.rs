//! What only one replica does at a time, as tasks.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    config::{ErpConfig, ErpKind},
    erp::{
        Connector,
        odata::{OData, ODataOptions},
        paced::Paced,
        poll::{self, PollOptions},
        post,
        rest::{Rest, RestOptions},
        tryton::{Tryton, TrytonOptions},
    },
    lease_grants::{self, Grantor},
    scrub,
    store::{
        Store,
        claims::{POST, while_held},
        folding, pruning,
    },
    tasks::{OnError, Stop, TaskError, Tasks},
};

/// Starts a task that runs wherever the claim of its name is held.
pub(super) fn spawn<F, Fut>(tasks: &mut Tasks, store: &Store, name: &'static str, run: F)
where
    F: Fn(Store, Stop) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), TaskError>> + Send,
{
    let store = store.clone();
    tasks.spawn(name, OnError::Restart, move |stop| {
        let (store, run) = (store.clone(), run.clone());
        while_held(store.clone(), name, stop, move |stop| run(store.clone(), stop))
    });
}

/// What keeps the store as it should be. A device that was silent for `away_after_ms` keeps no feed back.
pub(super) fn upkeep(tasks: &mut Tasks, store: &Store, clock: &Clock, away_after_ms: i64) {
    spawn(tasks, store, "folding", folding::run);
    let time = clock.clone();
    spawn(tasks, store, "scrub", move |store, stop| scrub::run(store, time.clone(), stop));
    let time = clock.clone();
    spawn(tasks, store, "pruning", move |store, stop| pruning::run(store, time.clone(), away_after_ms, stop));
}

/// What speaks with the ERP.
/// # Errors
/// If it cannot be spoken with as configured.
pub(super) fn erp(
    tasks: &mut Tasks,
    erp: &ErpConfig,
    store: &Store,
    clock: &Clock,
    grantor: Grantor,
) -> anyhow::Result<()> {
    let connector: Arc<dyn Connector> = Arc::new(Paced::new(connector(erp)?, erp.calls_per_minute));
    let options = PollOptions { every_ms: erp.poll_ms, ..PollOptions::default() };
    let (to, time) = (connector.clone(), clock.clone());
    spawn(tasks, store, "poll", move |store, stop| poll::run(store, to.clone(), time.clone(), options, stop));
    let (to, time, options) = (connector.clone(), clock.clone(), erp.posting);
    spawn(tasks, store, POST, move |store, stop| post::run(store, to.clone(), time.clone(), options, stop));
    let time = clock.clone();
    spawn(tasks, store, "leases", move |store, stop| {
        lease_grants::run(store, connector.clone(), time.clone(), grantor.clone(), stop)
    });
    Ok(())
}

fn connector(erp: &ErpConfig) -> anyhow::Result<Arc<dyn Connector>> {
    match &erp.kind {
        ErpKind::Rest { url, token, answer_within_ms, terms, map } => Ok(Arc::new(Rest::new(RestOptions {
            url: url.clone(),
            token: token.clone(),
            answer_within: Duration::from_millis(*answer_within_ms),
            sites: erp.sites.clone(),
            terms: terms.clone(),
            map: map.as_ref().clone(),
        })?)),
        ErpKind::OData { url, login, csrf, terms, map } => Ok(Arc::new(OData::new(ODataOptions {
            url: url.clone(),
            login: login.clone(),
            csrf: *csrf,
            sites: erp.sites.clone(),
            terms: terms.clone(),
            map: map.as_ref().clone(),
        })?)),
        ErpKind::Tryton { url, database, user, password, terms } => Ok(Arc::new(Tryton::new(TrytonOptions {
            url: url.clone(),
            database: database.clone(),
            user: user.clone(),
            password: password.clone(),
            sites: erp.sites.clone(),
            terms: terms.clone(),
        })?)),
    }
}
