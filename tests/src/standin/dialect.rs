//! The same ERP under other names: other paths, other fields, other words, amounts with a point, lines by tens.
//!
//! Whoever reads and writes it must be told all of that by configuration.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    books::{Customer, Effect, Order, Status},
    erp::Erp,
    wire::{Fields, Problem, json_body},
};

/// Words for what a posting does, ours last.
const MOVES: [(&str, &str); 7] = [
    ("PICK", "release"),
    ("UNPICK", "void_release"),
    ("601", "goods_issue"),
    ("BILL", "invoice"),
    ("653", "return"),
    ("CHANGE", "order_change"),
    ("CLAIM", "credit_note"),
];
const FIELDS: [(&str, &str); 8] = [
    ("doc", "order"),
    ("ext_ref", "reference"),
    ("note", "text"),
    ("booked_at", "at"),
    ("state", "status"),
    ("rev", "revision"),
    ("units", "quantity"),
    ("worth", "amount_minor"),
];

/// What it answers.
pub(super) fn router() -> Router<Erp> {
    Router::new()
        .route("/v2/deliveries", get(deliveries))
        .route("/v2/deliveries/{id}", get(delivery))
        .route("/v2/partners", get(partners))
        .route("/v2/partners/{id}", get(partner))
        .route("/v2/levels", get(levels))
        .route("/v2/bookings", get(bookings).post(book))
}

fn amount(minor: i64) -> String {
    format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, minor.abs() / 100, minor.abs() % 100)
}

fn delivery_of(order: &Order) -> Value {
    let item = |line: &super::books::Line| {
        json!({ "pos": u32::from(line.line) * 10, "material": { "no": line.product }, "qty": format!("{}.000", line.quantity),
                "net": amount(line.unit_price_minor), "grams": 700 })
    };
    json!({
        "no": order.id, "rev": order.revision, "plant": order.site, "partner": { "no": order.customer.id, "name": order.customer.name },
        "cur": order.currency, "truck": order.vehicle, "haulier": order.carrier, "ramp": order.door, "adr": true,
        "day": order.planned_departure.to_string(), "until": order.window_end.to_string(),
        "cutoff": order.window_end.to_string(), "gone": if order.status == Status::Cancelled { "X" } else { "" },
        "items": order.lines.iter().map(item).collect::<Vec<_>>(),
    })
}

fn partner_of(customer: &Customer) -> Value {
    json!({ "no": customer.id, "block": if customer.credit.on_hold { "01" } else { "" },
            "limit": amount(customer.credit.limit_minor), "owes": amount(customer.credit.exposure_minor) })
}

fn booking_of(effect: &Effect) -> Value {
    json!({ "ext_ref": effect.reference, "id": format!("B{:06}", effect.seq) })
}

fn from(query: &BTreeMap<String, String>) -> Result<(u64, usize), Problem> {
    let number = |name: &str, usual: u64| match query.get(name) {
        Some(text) => text.parse().map_err(|_| Problem::malformed(name, "is no number")),
        None => Ok(usual),
    };
    Ok((number("after", 0)?, usize::try_from(number("top", 100)?).unwrap_or(100)))
}

async fn deliveries(
    State(erp): State<Erp>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let (after, top) = from(&query)?;
    Ok(erp.look(|books| {
        let page: Vec<&Order> = books.orders_since(after).take(top).collect();
        let next = page.last().map_or(after, |order| order.revision);
        let rows: Vec<Value> = page.into_iter().map(delivery_of).collect();
        Json(json!({ "rows": rows, "next": next.to_string() }))
    }))
}

async fn delivery(State(erp): State<Erp>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (tag, body) =
        erp.look(|books| books.order(&id).map(|order| (format!("\"{}\"", order.revision), delivery_of(order))))?;
    Ok(([(header::ETAG, tag)], Json(body)).into_response())
}

async fn partners(
    State(erp): State<Erp>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let (after, top) = from(&query)?;
    Ok(erp.look(|books| {
        let page: Vec<&Customer> = books.customers_since(after).take(top).collect();
        let next = page.last().map_or(after, |customer| customer.revision);
        let rows: Vec<Value> = page.into_iter().map(partner_of).collect();
        Json(json!({ "rows": rows, "next": next.to_string() }))
    }))
}

async fn partner(State(erp): State<Erp>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    erp.look(|books| books.customer(&id).map(|customer| Json(partner_of(customer))))
}

async fn levels(State(erp): State<Erp>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let plant = query.get("plant").cloned().unwrap_or_default();
    erp.look(|books| {
        let row = |(product, available): (&String, i64)| json!({ "plant": plant, "no": product, "free": format!("{available}.000") });
        Json(json!({ "rows": books.stock(&plant).map(row).collect::<Vec<_>>() }))
    })
}

async fn bookings(State(erp): State<Erp>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let reference = query.get("ext_ref").cloned().unwrap_or_default();
    erp.look(|books| Json(json!({ "rows": books.effects_of(&reference).map(booking_of).collect::<Vec<_>>() })))
}

/// Reads a booking into the words of the stand-in.
fn in_our_words(booking: Value) -> Value {
    let Value::Object(fields) = booking else { return booking };
    let ours = fields.into_iter().map(|(name, value)| match (name.as_str(), value.as_str()) {
        ("move", Some(word)) => {
            let known = MOVES.iter().find(|(theirs, _)| *theirs == word);
            ("kind".to_owned(), json!(known.map_or(word, |(_, ours)| ours)))
        }
        // Our own words are unknown here.
        ("kind" | "order" | "reference" | "quantity", _) => (format!("unknown {name}"), value),
        _ => (FIELDS.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| (*ours).to_owned()), value),
    });
    Value::Object(ours.collect())
}

async fn book(State(erp): State<Erp>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    erp.post(&headers, Fields::of_value(in_our_words(json_body(&body)?), "")?)
}
