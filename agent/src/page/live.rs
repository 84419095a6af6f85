//! Tells open pages that something changed; they fetch it again.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio_stream::wrappers::WatchStream;

use super::{App, Problem};
use crate::meters::TurnedAway;

/// How often an open page hears something though nothing changed, in real time.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Pages that are told at one time. Further ones are refused and look by themselves, every two seconds.
pub const LIVE_MAX: usize = 32;

/// `GET /api/live`: server-sent events named `changed`, the data says what.
pub async fn live(State(app): State<App>) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Ok(place) = app.live.clone().try_acquire_owned() else {
        app.page.driver.meters().turned_away(TurnedAway::Live);
        return Err(Problem::unavailable(format!(
            "{LIVE_MAX} pages are told of changes already; close one, or ask /api/board from time to time"
        )));
    };
    let changes = stream::unfold(app.page.driver.subscribe(), |mut changes| async move {
        let text = match changes.recv().await {
            Ok(change) => serde_json::to_string(&change).unwrap_or_default(),
            // Some were missed; the page fetches everything anyway.
            Err(RecvError::Lagged(_)) => "{\"what\":\"everything\"}".to_owned(),
            Err(RecvError::Closed) => return None,
        };
        Some((text, changes))
    });
    let broker = WatchStream::new(app.page.broker.clone()).map(|_| "{\"what\":\"broker\"}".to_owned());
    let hub = WatchStream::new(app.page.hub.clone()).map(|_| "{\"what\":\"hub\"}".to_owned());
    let mut stop = app.stop.clone();
    let events = stream::select(changes, stream::select(broker, hub))
        .map(move |text| {
            // Held until the page goes.
            let _place = &place;
            Ok(Event::default().event("changed").data(text))
        })
        // A page that stays open must not keep the agent from stopping.
        .take_until(async move { stop.stopped().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
