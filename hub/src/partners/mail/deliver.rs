//! Hands letters to the server, notice by notice.
//!
//! A try is written down before it is made, as for webhooks. A letter that the server took and whose answer was lost is
//! handed over again under the same id.

use std::time::Duration;

use gatehouse_common::{id::OrderId, order::Order};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use serde_json::Value;

use super::letter;
use crate::{
    clock::Clock,
    config::{MailConfig, MailTls, NoticeConfig},
    partners::webhooks::{
        deliver::{self, LOOK_EVERY, Stays},
        schedule::Answered,
    },
    store::{Store, StoreError, webhooks::HookEvent},
    tasks::Stop,
};

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(30);

type Server = AsyncSmtpTransport<Tokio1Executor>;

/// Hands over the letters of one notice until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn send_to(
    store: Store,
    clock: Clock,
    mail: MailConfig,
    notice: NoticeConfig,
    mut stop: Stop,
) -> Result<(), StoreError> {
    while !stop.is_stopped() {
        if !once(&store, &clock, &mail, &notice).await? {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.stopped() => {}
            }
        }
    }
    Ok(())
}

/// Makes the next try that is due. Returns whether there was one.
/// # Errors
/// Only if the store is stopped.
pub async fn once(store: &Store, clock: &Clock, mail: &MailConfig, notice: &NoticeConfig) -> Result<bool, StoreError> {
    let (name, now) = (notice.interest().name, clock.wall());
    let Some((delivery, event)) = deliver::due(store, &name, now, Stays::WhileItIsSo).await? else {
        return Ok(false);
    };
    let Some(event) = event else { return Ok(true) };
    let answered = send(store, mail, notice, &event).await?;
    deliver::settle(store, &name, delivery, answered, clock.wall()).await?;
    Ok(true)
}

async fn order_of(store: &Store, event: &HookEvent) -> Result<Option<Order>, StoreError> {
    let body: Value = serde_json::from_str(&event.body)?;
    let order = body["data"]["order"].as_str().and_then(|order| OrderId::new(order).ok());
    let Some(order) = order else { return Ok(None) };
    store.read(move |r| r.order(&order)).await
}

async fn send(
    store: &Store,
    mail: &MailConfig,
    notice: &NoticeConfig,
    event: &HookEvent,
) -> Result<Answered, StoreError> {
    let order = order_of(store, event).await?;
    let to = letter::readers(mail, notice, order.as_ref());
    if to.is_empty() {
        // A customer of whom no address is known: nobody to write to, and no failure.
        return Ok(Answered::Taken);
    }
    let refused = |why: String| Ok(Answered::Refused { why, wait_ms: None });
    let message = match letter::write(mail, notice, event, order.as_ref(), &to) {
        Ok(message) => message,
        Err(why) => return refused(why),
    };
    let server = match server(mail) {
        Ok(server) => server,
        Err(error) => return refused(error.to_string()),
    };
    match server.send(message).await {
        Ok(_) => Ok(Answered::Taken),
        Err(error) => refused(error.to_string()),
    }
}

fn server(mail: &MailConfig) -> Result<Server, lettre::transport::smtp::Error> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let tls = match mail.tls {
        MailTls::Implicit => Tls::Wrapper(TlsParameters::new(mail.host.clone())?),
        MailTls::Starttls => Tls::Required(TlsParameters::new(mail.host.clone())?),
        MailTls::None => Tls::None,
    };
    let mut server = Server::builder_dangerous(mail.host.clone()).port(mail.port).tls(tls).timeout(Some(TIMEOUT));
    if let Some((user, password)) = &mail.login {
        server = server.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
    }
    Ok(server.build())
}
