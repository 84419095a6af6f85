//! Into a stream of NATS: each event is one CloudEvent under a subject of its type, done once the stream acknowledged it.
//!
//! The stream drops what comes again under its `Nats-Msg-Id` within a window, two minutes unless its owner says otherwise.
//! A lost acknowledgement may be found out later than that, by a hub that was away itself. So whoever tried before asks the
//! stream first. A server that is away costs no try: what waits goes on waiting.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions,
    connection::State,
    datetime::from_nanos,
    header,
    jetstream::{
        self, Context,
        consumer::{AckPolicy, DeliverPolicy, pull},
        message::PublishMessage,
    },
};
use futures::StreamExt;
use gatehouse_common::time::UtcMs;
use tracing::{info, warn};

use super::{
    deliver::{LOOK_EVERY, Stays, due, settle},
    envelope::{Envelope, STRUCTURED},
    schedule::Answered,
};
use crate::{
    clock::Clock,
    config::{NatsConfig, NatsLogin},
    store::{Store, StoreError, webhooks::HookEvent},
    tasks::Stop,
};

/// How long the server may take for one answer, in real time.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How far the server's clock may be behind the hub's, in milliseconds: so much earlier a lost event is looked for.
const BEHIND_MAX_MS: i64 = 3_600_000;
/// How many messages are looked at in one go.
const LOOK_AT: usize = 256;

/// A line to a server, kept for as long as it holds.
pub struct Line {
    client: Client,
    streams: Context,
}

/// Tells a stream until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn send_to(store: Store, clock: Clock, to: NatsConfig, mut stop: Stop) -> Result<(), StoreError> {
    let (mut line, mut is_told) = (None, false);
    while !stop.is_stopped() {
        let went = once(&store, &clock, &to, &mut line).await?;
        match &went {
            Err(why) if !is_told => {
                warn!(hook = %to.interest().name, "NATS at {} is away: {why}; what waits is kept", to.url);
                is_told = true;
            }
            Ok(_) if is_told => {
                info!(hook = %to.interest().name, "NATS at {} is there again", to.url);
                is_told = false;
            }
            _ => {}
        }
        if went != Ok(true) {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.stopped() => {}
            }
        }
    }
    Ok(())
}

/// Makes the next try that is due to a stream, over a line that is made where there is none. Returns whether there was one,
/// or why the server cannot be reached.
/// # Errors
/// Only if the store is stopped.
pub async fn once(
    store: &Store,
    clock: &Clock,
    to: &NatsConfig,
    line: &mut Option<Line>,
) -> Result<Result<bool, String>, StoreError> {
    // Before anything is taken from the queue: what cannot be sent is not tried.
    let open = match line.take().filter(|line| line.client.connection_state() == State::Connected) {
        Some(open) => open,
        None => match connect(to).await {
            Ok(open) => open,
            Err(why) => return Ok(Err(why)),
        },
    };
    let (name, now) = (to.interest().name, clock.wall());
    let Some((delivery, event)) = due(store, &name, now, Stays::Always).await? else {
        *line = Some(open);
        return Ok(Ok(false));
    };
    let Some(event) = event else {
        *line = Some(open);
        return Ok(Ok(true));
    };
    // A delivery that a person wants again counts from one, and still says what went wrong before.
    let may_be_there = delivery.attempts > 1 || !delivery.last_error.is_empty();
    let answered = match open.tell(to, &event, may_be_there).await {
        Ok(()) => {
            *line = Some(open);
            Answered::Taken
        }
        // The line goes with it, so that nothing that was not acknowledged waits in it and is sent later.
        Err(why) => Answered::Refused { why, wait_ms: None },
    };
    settle(store, &name, delivery, answered, clock.wall()).await?;
    Ok(Ok(true))
}

async fn connect(to: &NatsConfig) -> Result<Line, String> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let options = ConnectOptions::new()
        .name("gatehouse-hub")
        .connection_timeout(TIMEOUT)
        .request_timeout(Some(TIMEOUT))
        // Only the server that was named is spoken to, and it is this room that connects again.
        .ignore_discovered_servers()
        .max_reconnects(1)
        .require_tls(to.url.scheme() == "tls");
    let options = match &to.login {
        NatsLogin::None => options,
        NatsLogin::Credentials(text) => options.credentials(text.reveal()).map_err(|error| error.to_string())?,
        NatsLogin::Token(token) => options.token(token.reveal().to_owned()),
        NatsLogin::Password(user, password) => options.user_and_password(user.clone(), password.reveal().to_owned()),
    };
    let options = match &to.authority_file {
        Some(file) => options.add_root_certificates(file.clone()),
        None => options,
    };
    let connecting = tokio::time::timeout(TIMEOUT, options.connect(to.url.as_str()));
    let client = connecting.await.map_err(|_| "no answer in time".to_owned())?.map_err(|error| whole(&error))?;
    let mut streams = jetstream::new(client.clone());
    streams.set_timeout(TIMEOUT);
    Ok(Line { client, streams })
}

impl Line {
    /// Puts an event into its stream, unless it is there. Returns once the stream has it.
    async fn tell(&self, to: &NatsConfig, event: &HookEvent, may_be_there: bool) -> Result<(), String> {
        let subject = format!("{}.{}", to.subject, event.kind);
        if may_be_there && self.has(&subject, event).await? {
            return Ok(());
        }
        let (_, body) =
            Envelope::Structured.wrap(event).map_err(|error| format!("what is kept is no event: {error}"))?;
        let message = PublishMessage::build().message_id(&event.id).header("Content-Type", STRUCTURED);
        let sent = self.streams.send_publish(subject, message.payload(body.into())).await;
        sent.map_err(|error| whole(&error))?.await.map_err(|error| whole(&error))?;
        Ok(())
    }

    /// Whether the stream of a subject holds an event. Reads headers only, from somewhat before the event was noted.
    async fn has(&self, subject: &str, event: &HookEvent) -> Result<bool, String> {
        let stream = self.streams.stream_by_subject(subject).await.map_err(|error| whole(&error))?;
        let stream = self.streams.get_stream_no_info(stream).await.map_err(|error| whole(&error))?;
        let UtcMs(from) = event.at.plus(-BEHIND_MAX_MS);
        let start_time = from_nanos(i128::from(from) * 1_000_000).map_err(|error| error.to_string())?;
        let reader = stream.create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartTime { start_time },
            ack_policy: AckPolicy::None,
            filter_subject: subject.to_owned(),
            headers_only: true,
            inactive_threshold: TIMEOUT,
            memory_storage: true,
            ..pull::Config::default()
        });
        let reader = reader.await.map_err(|error| whole(&error))?;
        loop {
            let mut messages = reader.fetch().max_messages(LOOK_AT).messages().await.map_err(|error| whole(&error))?;
            let mut is_last = true;
            while let Some(message) = messages.next().await {
                let message = message.map_err(|error| error.to_string())?;
                let id = message.headers.as_ref().and_then(|headers| headers.get(header::NATS_MESSAGE_ID));
                if id.is_some_and(|id| id.as_str() == event.id) {
                    return Ok(true);
                }
                is_last = message.info().map_err(|error| error.to_string())?.pending == 0;
            }
            if is_last {
                return Ok(false);
            }
        }
    }
}

/// An error with its causes: the outermost alone says little.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut said: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        if said.last().is_none_or(|before| !before.contains(&cause)) {
            said.push(cause);
        }
    }
    said.join(": ")
}
