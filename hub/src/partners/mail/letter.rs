//! What a letter says: a template with the event's words in its places.

use gatehouse_common::{order::Order, time::UtcMs};
use lettre::{
    Message,
    message::{Mailbox, header::ContentType},
};
use serde_json::Value;

use crate::{
    config::{MailConfig, NoticeConfig},
    exports::rfc3339,
    store::webhooks::HookEvent,
};

/// The places that a template may have.
pub const PLACES: [&str; 17] = [
    "event",
    "order",
    "site",
    "state",
    "vehicle",
    "carrier",
    "type",
    "subject",
    "severity",
    "owner",
    "summary",
    "dispatch",
    "case",
    "planned_departure",
    "departed_at",
    "delivered_at",
    "customer",
];

/// The first place of a template that is none of [`PLACES`].
#[must_use]
pub fn unknown_place(template: &str) -> Option<&str> {
    let named = template.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    named.into_iter().find(|name| !PLACES.contains(name))
}

/// The text of a template. What an event does not say is left out.
fn filled(template: &str, event: &HookEvent, data: &Value, order: Option<&Order>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            text.push('{');
            rest = after;
            continue;
        };
        text.push_str(&word(name, event, data, order));
        rest = after;
    }
    text + rest
}

fn word(name: &str, event: &HookEvent, data: &Value, order: Option<&Order>) -> String {
    let said = |field: &str| match data.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    match name {
        "event" => event.kind.clone(),
        "customer" => order.map(|order| order.customer.name.clone()).unwrap_or_default(),
        "planned_departure" | "departed_at" | "delivered_at" => {
            data.get(format!("{name}_ms")).and_then(Value::as_i64).map(|at| rfc3339(UtcMs(at))).unwrap_or_default()
        }
        other => said(other),
    }
}

/// Who gets a letter about an event.
#[must_use]
pub fn readers(mail: &MailConfig, notice: &NoticeConfig, order: Option<&Order>) -> Vec<Mailbox> {
    let mut readers = notice.to.clone();
    let of_customer = order.filter(|_| notice.to_customer).and_then(|order| mail.customers.get(&order.customer.id));
    for address in of_customer.into_iter().flatten() {
        if !readers.contains(address) {
            readers.push(address.clone());
        }
    }
    readers
}

/// The letter of a notice about an event. Its id is the event's, so that who gets it twice can tell.
/// # Errors
/// What is wrong with it, for people.
pub fn write(
    mail: &MailConfig,
    notice: &NoticeConfig,
    event: &HookEvent,
    order: Option<&Order>,
    to: &[Mailbox],
) -> Result<Message, String> {
    let body: Value = serde_json::from_str(&event.body).map_err(|e| format!("the event cannot be read: {e}"))?;
    let data = &body["data"];
    // A subject is one line, whatever a case's summary holds.
    let subject = filled(&notice.subject, event, data, order);
    let subject: String = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let host = mail.from.email.domain();
    let mut letter = Message::builder()
        .from(mail.from.clone())
        .subject(subject)
        .message_id(Some(format!("<{}.{}@{host}>", event.id, notice.name)))
        .header(ContentType::TEXT_PLAIN);
    for reader in to {
        letter = letter.to(reader.clone());
    }
    letter.body(filled(&notice.body, event, data, order)).map_err(|e| e.to_string())
}
